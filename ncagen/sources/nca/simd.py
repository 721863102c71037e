"""The two vector kernels of a rollout, written as LLVM vectors because compilers do not derive them from plain loops.

A loop over cells compiles to 32-bit multiplications; the automaton's weights and activations fit 16 bits, for which
processors have one instruction that multiplies two pairs and adds them into 32 bits (x86: vpmaddwd; LLVM fuses it with
the addition that follows into vpdpwssd where available). A table of at most 32 states fits one AVX-512 register, so
perception then needs no memory look-ups (vpermw). Both compute exact integers, so they change the speed and no result:
`tests/test_identity.py` compares every variant with the definition. On a processor without these instructions `dense`
uses plain vector arithmetic and `perceive` must not be called (`IN_REGISTERS`).

This module covers instruction selection only. `definition` defines the arithmetic; `cpu_kernels` has the loop.
"""

from llvmlite import ir

from ncagen import processor
from ncagen.kernels import cgutils, intrinsic, types
from ncagen.sources.nca.rules import HIDDEN_UNITS

FEATURES = processor.features()
IN_REGISTERS = "avx512bw" in FEATURES
LANES = 16 if "avx512bw" in FEATURES else 8
BLOCK = 32  # cells for each call of `perceive`, and states in its tables

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))
_WORDS = ir.VectorType(_I32, LANES)
_PAIRS = ir.VectorType(_I16, 2 * LANES)
_TABLE = ir.VectorType(_I16, BLOCK)
_PMADDWD = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}


def _all(value):
    return ir.Constant(_WORDS, [value] * LANES)


def _call(builder, name, result, *args):
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def _multiply_add(builder, total, a, b):
    """Per 32-bit lane: total + low(a)*low(b) + high(a)*high(b) over signed 16-bit halves."""
    if "avx2" in FEATURES:
        a, b = builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)
        return builder.add(total, _call(builder, _PMADDWD[LANES], _WORDS, a, b))
    sixteen = _all(16)
    low_a, low_b = (builder.ashr(builder.shl(v, sixteen), sixteen) for v in (a, b))
    high_a, high_b = (builder.ashr(v, sixteen) for v in (a, b))
    return builder.add(total, builder.add(builder.mul(low_a, low_b), builder.mul(high_a, high_b)))


def _splat(builder, value):
    vector = builder.insert_element(ir.Constant(_WORDS, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(vector, ir.Constant(_WORDS, ir.Undefined), _all(0))


def _load(builder, pointer, index, vector):
    return builder.load(builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer()), align=1)


def _store(builder, value, pointer, index):
    builder.store(value, builder.bitcast(builder.gep(pointer, [index]), value.type.as_pointer()), align=1)


def _larger(builder, a, b):
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def _arguments(context, builder, signature, args):
    """Returns array arguments as pointers to their data, scalars unchanged."""
    return [
        context.make_array(kind)(context, builder, arg).data if isinstance(kind, types.Array) else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]


@intrinsic
def perceive(typing, tables, torus, first_column, last_column, width, cell, first, second):
    """Perception of BLOCK cells by table look-up in registers.

    tables: int16[9, 4, BLOCK], by position, channel and state. torus: uint16, BLOCK cells of padding and then the grid
    with its wrapped rows, so that the upper neighbour of cell i has index BLOCK + i. first_column, last_column:
    int16[cell], -1 where a cell is the first or the last of its row, whose neighbour is at the other end of the row.
    Writes first: int32[cell], channels 0 and 1 as a pair of 16-bit halves, and second: channels 2 and 3.
    """
    signature = types.void(tables, torus, first_column, last_column, width, cell, first, second)

    def generate(context, builder, signature, args):
        tables, torus, first_column, last_column, width, cell, first, second = _arguments(
            context, builder, signature, args
        )
        one = ir.Constant(_I64, 1)
        none = ir.Constant(_TABLE, [0] * BLOCK)
        at_first = builder.icmp_signed("<", _load(builder, first_column, cell, _TABLE), none)
        at_last = builder.icmp_signed("<", _load(builder, last_column, cell, _TABLE), none)
        sums = [None] * 4
        here = builder.add(cell, ir.Constant(_I64, BLOCK))
        for row in range(3):
            at = builder.add(here, builder.mul(width, ir.Constant(_I64, row)))
            before, after = builder.sub(at, one), builder.add(at, one)
            neighbours = (
                builder.select(
                    at_first,
                    _load(builder, torus, builder.add(before, width), _TABLE),
                    _load(builder, torus, before, _TABLE),
                ),
                _load(builder, torus, at, _TABLE),
                builder.select(
                    at_last,
                    _load(builder, torus, builder.sub(after, width), _TABLE),
                    _load(builder, torus, after, _TABLE),
                ),
            )
            for column, states in enumerate(neighbours):
                for channel in range(4):
                    place = ir.Constant(_I64, ((row * 3 + column) * 4 + channel) * BLOCK)
                    table = _load(builder, tables, place, _TABLE)
                    found = _call(builder, "llvm.x86.avx512.permvar.hi.512", _TABLE, table, states)
                    sums[channel] = found if sums[channel] is None else builder.add(sums[channel], found)
        for half in range(2):
            lanes = [half * 16 + lane // 2 + (lane % 2) * BLOCK for lane in range(BLOCK)]
            mask = ir.Constant(ir.VectorType(_I32, BLOCK), lanes)
            at = builder.add(cell, ir.Constant(_I64, half * 16))
            _store(builder, builder.shuffle_vector(sums[0], sums[1], mask), first, at)
            _store(builder, builder.shuffle_vector(sums[2], sums[3], mask), second, at)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def dense(typing, first, second, hidden, output, states, bias, reach, grid, cell, pitch, logits):
    """Computes the two dense layers and the best state of LANES cells.

    first, second: int32[cell], the perception as pairs of 16-bit halves. hidden: int32[16, 2] and output:
    int32[state, 8], weights as such pairs. bias: int32, added to the logit of the state that `grid`: uint16[cell]
    holds. Writes logits: int32[state, pitch] and, to `grid`, the lowest of the best states.
    Returns a bit mask of the cells whose second best logit is within `reach`: int32 of the best.
    """
    signature = types.uint64(first, second, hidden, output, states, bias, reach, grid, cell, pitch, logits)

    def generate(context, builder, signature, args):
        first, second, hidden, output, states, bias, reach, grid, cell, pitch, logits = _arguments(
            context, builder, signature, args
        )

        def weight(pointer, index):
            return _splat(builder, builder.load(builder.gep(pointer, [index])))

        a, b = (_load(builder, p, cell, _WORDS) for p in (first, second))
        units = []
        for unit in range(HIDDEN_UNITS):
            w0, w1 = (weight(hidden, ir.Constant(_I64, 2 * unit + i)) for i in range(2))
            x = _multiply_add(builder, _multiply_add(builder, _all(0), a, w0), b, w1)
            units.append(_larger(builder, x, _all(0)))
        high = _all(-(1 << 16))  # HIDDEN_SHIFT is 16: a unit is the upper half of its positive sum
        pairs = [
            builder.or_(builder.lshr(even, _all(16)), builder.and_(odd, high))
            for even, odd in zip(units[::2], units[1::2], strict=True)
        ]
        current = builder.zext(_load(builder, grid, cell, ir.VectorType(_I16, LANES)), _WORDS)
        biases = _splat(builder, bias)
        lowest = -(2**31)
        best = cgutils.alloca_once_value(builder, _all(lowest))
        runner_up = cgutils.alloca_once_value(builder, _all(lowest))
        winner = cgutils.alloca_once_value(builder, _all(0))
        with cgutils.for_range(builder, states) as loop:
            state = _splat(builder, builder.trunc(loop.index, _I32))
            logit = builder.select(builder.icmp_unsigned("==", current, state), biases, _all(0))
            for i, pair in enumerate(pairs):
                at = builder.add(builder.mul(loop.index, ir.Constant(_I64, len(pairs))), ir.Constant(_I64, i))
                logit = _multiply_add(builder, logit, pair, weight(output, at))
            _store(builder, logit, logits, builder.add(builder.mul(loop.index, pitch), cell))
            top = builder.load(best)
            better = builder.icmp_signed(">", logit, top)
            builder.store(builder.select(better, state, builder.load(winner)), winner)
            builder.store(_larger(builder, builder.load(runner_up), _smaller(builder, top, logit)), runner_up)
            builder.store(_larger(builder, logit, top), best)
        _store(builder, builder.trunc(builder.load(winner), ir.VectorType(_I16, LANES)), grid, cell)
        threshold = builder.sub(builder.load(best), _splat(builder, reach))
        close = builder.icmp_signed(">=", builder.load(runner_up), threshold)
        return builder.zext(builder.bitcast(close, ir.IntType(LANES)), _I64)

    return signature, generate
