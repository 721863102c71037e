"""The vector primitives that differ by processor: how wide vectors are, and the instructions LLVM does not derive.

`simd` writes the automaton's vector kernels over them. Each function emits LLVM instructions with `builder`:

    multiply_add   two pairs of 16-bit integers per 32-bit lane, multiplied and added to a total. A loop over cells
                   would compile to 32-bit multiplications; every x86-64 has pmaddwd for this, which LLVM fuses with
                   the addition to vpdpwssd where available. Elsewhere a pair's products stay in two lanes (smlal and
                   smlal2 of NEON), and `total` adds them up after the last pair (addp).
    look_up        a function that returns entries of a table in registers by the states of BLOCK cells, without
                   memory look-ups: bytes (vpshufb of AVX2, tbl of NEON) or 16-bit integers (vpermw of AVX-512).
    high_halves    the upper halves of the lanes of two vectors, as pairs.
    bit_mask       the lanes in which a comparison holds, as an integer.

All compute exact integers, so they change the speed and no result. Not covered: what is computed (`simd`).
"""

import platform

from llvmlite import ir

from ncagen import processor
from ncagen.kernels import cgutils

FEATURES = processor.features()
X86 = platform.machine().lower() in ("x86_64", "amd64") and "neon" not in FEATURES
LANES = 16 if "avx512bw" in FEATURES else 8 if "avx2" in FEATURES else 4  # 32-bit integers in a vector
# Vectors of a call of `simd.best_states`. More of them load a weight less often, but need more than 16 registers.
VECTORS = 3 if "avx512bw" in FEATURES else 2 if "neon" in FEATURES else 1
GROUP = VECTORS * LANES  # cells of a call of `simd.best_states`
# Copies of each weight of the hidden layer: as many as lanes where only a whole vector can be an instruction's operand.
COPIES = 1 if "avx512bw" in FEATURES else LANES
BLOCK = 32  # cells of a call of `simd.perceive`
PARTS = 2 if FEATURES else 0  # the most registers of a table; 0 without look-ups in registers
# Bits of the entries of a table, and how many states a register holds. A sum of nine weights has 16 bits: see `simd`.
ENTRY_BITS, ENTRIES = (16, 32) if "avx512bw" in FEATURES else (8, 16)
# States up to which the output weights have copies: they take 16 KiB of the cache then, 32 of the larger ones of ARM.
COPIED = 256 if "neon" in FEATURES else 512 // LANES

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
WORDS = ir.VectorType(I32, LANES)
BYTES = ir.VectorType(I8, BLOCK)
TABLE = ir.VectorType(ir.IntType(ENTRY_BITS), ENTRIES)
LOOKED_UP = ir.VectorType(ir.IntType(ENTRY_BITS), BLOCK)
_PAIRS = ir.VectorType(I16, 2 * LANES)
_PMADDWD = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}


def everywhere(value: int, vector=WORDS):
    """A constant in every lane."""
    return ir.Constant(vector, [value] * vector.count)


def _call(builder, name, result, *args):
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def start_products(first):
    """The sum of `first`, 32-bit integers, and of no products yet: what `multiply_add` adds to."""
    return first if X86 else (first, everywhere(0), everywhere(0))


def multiply_add(builder, products, a, b):
    """Adds per 32-bit lane low(a)*low(b) + high(a)*high(b) over signed 16-bit halves."""
    a, b = builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)
    if X86:
        return builder.add(products, _call(builder, _PMADDWD[LANES], WORDS, a, b))
    first, *sums = products
    for i, lanes in enumerate((range(LANES), range(LANES, 2 * LANES))):
        factors = [_chosen(builder, v, v, lanes) for v in (a, b)]
        sums[i] = builder.add(sums[i], _product(builder, *factors))
    return first, *sums


def _product(builder, a, b):
    if "neon" in FEATURES:  # from the general form LLVM takes the upper halves out of the loop, and has no smlal2
        return _call(builder, "llvm.aarch64.neon.smull.v4i32", WORDS, a, b)
    return builder.mul(builder.sext(a, WORDS), builder.sext(b, WORDS))


def total(builder, products):
    """Converts what `multiply_add` returns to one sum per 32-bit lane."""
    if X86:
        return products
    first, *sums = products
    if "neon" in FEATURES:
        return builder.add(first, _call(builder, "llvm.aarch64.neon.addp.v4i32", WORDS, *sums))
    low, high = (_chosen(builder, *sums, range(half, 2 * LANES, 2)) for half in range(2))
    return builder.add(first, builder.add(low, high))


def high_halves(builder, low, high):
    """Returns per 32-bit lane the upper half of the lane of `low`, and above it that of `high`."""
    if X86:
        return builder.or_(builder.lshr(low, everywhere(16)), builder.and_(high, everywhere(-(1 << 16))))
    low, high = builder.bitcast(low, _PAIRS), builder.bitcast(high, _PAIRS)
    return _chosen(builder, low, high, [i + 1 if i % 2 == 0 else 2 * LANES + i for i in range(2 * LANES)])


def _chosen(builder, a, b, lanes):
    """Returns those lanes of a and b one after the other."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def look_up(builder, states, parts: int):
    """Returns a function from the `parts` registers of a table, each a TABLE, to its entries at the states: LOOKED_UP.

    states: BYTES, below parts * ENTRIES. Entries for other states are undefined.
    """
    if ENTRY_BITS == 16:
        return _look_up_words(builder, builder.zext(states, LOOKED_UP), parts)
    if "neon" in FEATURES:
        return lambda tables: _tbl(builder, tables, states)
    # vpshufb gives 0 where the index has its top bit set: in each part all states but its own get it.
    if parts == 1:
        return lambda tables: _shuffle(builder, tables[0], states)
    low = builder.add(states, everywhere(0x70, BYTES))
    high = builder.sub(states, everywhere(ENTRIES, BYTES))
    return lambda tables: builder.or_(_shuffle(builder, tables[0], low), _shuffle(builder, tables[1], high))


def _look_up_words(builder, states, parts):
    if parts == 1:
        return lambda tables: _call(builder, "llvm.x86.avx512.permvar.hi.512", LOOKED_UP, tables[0], states)
    name = "llvm.x86.avx512.vpermi2var.hi.512"
    return lambda tables: _call(builder, name, LOOKED_UP, tables[0], states, tables[1])


def _tbl(builder, tables, states):
    """Looks up the bytes of one or two registers, which tbl takes as one table, a register of states at a time."""
    name = f"llvm.aarch64.neon.tbl{len(tables)}.v16i8"
    parts = (_chosen(builder, states, states, range(first, first + ENTRIES)) for first in range(0, BLOCK, ENTRIES))
    return _chosen(builder, *(_call(builder, name, TABLE, *tables, part) for part in parts), range(BLOCK))


def _shuffle(builder, table, states):
    twice = ir.Constant(ir.VectorType(I32, BLOCK), [i % ENTRIES for i in range(BLOCK)])
    table = builder.shuffle_vector(table, table, twice)  # one copy for each half of the register
    return _call(builder, "llvm.x86.avx2.pshuf.b", BYTES, table, states)


def bit_mask(builder, holds):
    """Converts the result of a comparison of LANES lanes to an i64, lane 0 in the lowest bit."""
    return builder.zext(builder.bitcast(holds, ir.IntType(LANES)), I64)


def splat(builder, value):
    """A 32-bit integer in every lane."""
    vector = builder.insert_element(ir.Constant(WORDS, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(vector, ir.Constant(WORDS, ir.Undefined), everywhere(0))


def load(builder, pointer, index, vector):
    """Loads a vector of that type from pointer[index]."""
    return builder.load(builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer()), align=1)


def store(builder, value, pointer, index):
    """Stores a vector at pointer[index]."""
    builder.store(value, builder.bitcast(builder.gep(pointer, [index]), value.type.as_pointer()), align=1)


def larger(builder, a, b):
    """The larger of two signed integers, lane by lane."""
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def smaller(builder, a, b):
    """The smaller of two signed integers, lane by lane."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def replace_low_byte(builder, a, b):
    """Replaces the low byte of each 32-bit lane of `a` by b: 0 to 255 in each lane."""
    if FEATURES & {"avx512bw", "neon"}:  # one vpternlogd, or bic and orr
        return builder.or_(builder.and_(a, everywhere(-256)), b)
    count, byte = 4 * LANES, ir.VectorType(I8, 4 * LANES)
    mask = ir.Constant(ir.VectorType(I32, count), [i if i % 4 else count + i for i in range(count)])
    return builder.bitcast(builder.shuffle_vector(builder.bitcast(a, byte), builder.bitcast(b, byte), mask), WORDS)
