"""The two vector kernels of a rollout, written as LLVM vectors because compilers do not derive them from plain loops.

`perceive` looks up the weights of BLOCK cells' neighbours in tables that fit registers and adds them up. A processor
looks up either 16-bit integers, which are the weights, or bytes. As bytes a weight is d0 + 16 * d1 + 256 * d2 with d0
and d1 from 0 to 15: nine digits add up to 135 at most, so that each of the three sums is one addition of bytes, and d2
is needed modulo 256 only, because the whole sum has 16 bits.

`dense` computes both dense layers and the best state of GROUP cells, a few vectors at a time:

    1. the hidden units, two 16-bit integers in a 32-bit lane, stay in registers or on the stack;
    2. for each state the logits, by eight products of pairs; they are stored, and their maximum is kept;
    3. for each state again, 2**16 + state is added where the logit is within reach of the maximum. If one state is, the
       sum holds it; otherwise noise decides the cell, which `cpu_kernels` settles from the stored logits.

Both compute exact integers: `tests/test_identity.py` compares every variant with the definition. Not covered: the
choice of instructions (`vectors`), the definition of the arithmetic (`definition`), the loop over steps
(`cpu_kernels`).
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ncagen.sources.nca.rules import HIDDEN_UNITS, PERCEPTION_CHANNELS
from ncagen.sources.nca.vectors import (
    BLOCK,
    BYTES,
    ENTRIES,
    ENTRY_BITS,
    GROUP,
    I8,
    I16,
    I32,
    I64,
    LANES,
    LOOKED_UP,
    TABLE,
    VECTORS,
    WORDS,
    bit_mask,
    everywhere,
    larger,
    load,
    look_up,
    multiply_add,
    splat,
    store,
)

DIGITS = 1 if ENTRY_BITS == 16 else 3
_COUNT = 2**16  # what a state within reach adds to the sum of step 3, besides its number; these add up to 32,640


def _arguments(context, builder, signature, args):
    """Returns array arguments as pointers to their data, scalars unchanged."""
    return [
        context.make_array(kind)(context, builder, arg).data if isinstance(kind, types.Array) else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]


def _neighbours(builder, torus, at_first, at_last, width, cell):
    """Yields the states of the nine neighbours of BLOCK cells, row by row."""
    one = ir.Constant(I64, 1)
    here = builder.add(cell, ir.Constant(I64, BLOCK))
    for row in range(3):
        at = builder.add(here, builder.mul(width, ir.Constant(I64, row)))
        before, after = builder.sub(at, one), builder.add(at, one)
        yield builder.select(
            at_first,
            load(builder, torus, builder.add(before, width), BYTES),
            load(builder, torus, before, BYTES),
        )
        yield load(builder, torus, at, BYTES)
        yield builder.select(
            at_last,
            load(builder, torus, builder.sub(after, width), BYTES),
            load(builder, torus, after, BYTES),
        )


def _interleave(builder, a, b, lane: int):
    """Interleaves two vectors within each `lane` elements. Returns what comes from the lower half of lanes, and from
    the upper: within 16 bytes these are single instructions."""
    count, half = a.type.count, lane // 2
    masks = (
        [start + part + i // 2 + i % 2 * count for start in range(0, count, lane) for i in range(lane)]
        for part in (0, half)
    )
    return [builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), mask)) for mask in masks]


def _store_words(builder, sums, first, second, cell):
    """Stores the sums of four channels, each LOOKED_UP of 16 bits, as pairs."""
    for channels, target in ((sums[:2], first), (sums[2:], second)):
        for half, pairs in enumerate(_interleave(builder, *channels, BLOCK)):
            store(builder, pairs, target, builder.add(cell, ir.Constant(I64, half * BLOCK // 2)))


def _store_bytes(builder, sums, first, second, cell):
    """Stores four channels, each the sums of its three digits, as pairs. A half-lane is 8 cells of 32."""
    none, words = everywhere(0, BYTES), ir.VectorType(I16, BLOCK // 2)
    channels = []
    for ones, sixteens, rest in sums:
        outer = _interleave(builder, ones, rest, 16)
        inner = _interleave(builder, sixteens, none, 16)
        channels.append(
            [
                builder.add(
                    builder.bitcast(a, words), builder.shl(builder.bitcast(b, words), everywhere(4, words))
                )
                for a, b in zip(outer, inner, strict=True)
            ]
        )
    for (low, high), target in ((channels[:2], first), (channels[2:], second)):
        for part in range(2):
            for quarter, pairs in enumerate(_interleave(builder, low[part], high[part], 8)):
                for lane in range(2):  # cells 0 to 15 and 16 to 31
                    lanes = ir.Constant(ir.VectorType(I32, 8), [lane * 8 + i for i in range(8)])
                    at = ir.Constant(I64, lane * 16 + part * 8 + quarter * 4)
                    store(builder, builder.shuffle_vector(pairs, pairs, lanes), target, builder.add(cell, at))


def _perceive(parts: int):
    """Makes the function `perceive` for tables of `parts` registers."""

    @intrinsic
    def perceive(typing, tables, torus, first_column, last_column, width, cell, first, second):
        """Perception of BLOCK cells by table look-up in registers.

        tables: uint8 or uint16 [9, 4, digit, part, ENTRIES], by position and channel. torus: uint8, BLOCK cells of
        padding and then the grid with its wrapped rows, so that the upper neighbour of cell i has index BLOCK + i.
        first_column, last_column: int8[cell], -1 where a cell is the first or the last of its row, whose neighbour is
        at the other end of the row. Writes first: int32[cell], channels 0 and 1 as a pair of 16-bit halves, and
        second: channels 2 and 3.
        """
        signature = types.void(tables, torus, first_column, last_column, width, cell, first, second)

        def generate(context, builder, signature, args):
            tables, torus, first_column, last_column, width, cell, first, second = _arguments(
                context, builder, signature, args
            )
            none = everywhere(0, BYTES)
            at_first, at_last = (
                builder.icmp_signed("<", load(builder, column, cell, BYTES), none)
                for column in (first_column, last_column)
            )
            sums = [[everywhere(0, LOOKED_UP)] * DIGITS for _ in range(PERCEPTION_CHANNELS)]
            places = iter(range(0, 9 * PERCEPTION_CHANNELS * DIGITS * parts * ENTRIES, ENTRIES))
            for states in _neighbours(builder, torus, at_first, at_last, width, cell):
                found = look_up(builder, states, parts)
                for channel in sums:
                    for digit in range(DIGITS):
                        table = [load(builder, tables, ir.Constant(I64, next(places)), TABLE) for _ in range(parts)]
                        channel[digit] = builder.add(channel[digit], found(table))
            if DIGITS == 1:
                _store_words(builder, [channel for (channel,) in sums], first, second, cell)
            else:
                _store_bytes(builder, sums, first, second, cell)
            return context.get_dummy_value()

        return signature, generate

    return perceive


perceive, perceive_two = _perceive(1), _perceive(2)


def _weight(builder, pointer, index):
    return splat(builder, builder.load(builder.gep(pointer, [index])))


def _hidden(builder, first, second, hidden, cells):
    """Step 1. cells: the first cell of each vector. Returns the units in pairs: eight for each vector."""
    inputs = [[load(builder, p, cell, WORDS) for p in (first, second)] for cell in cells]
    halves = ir.VectorType(I16, 2 * LANES)
    sixteen, high = everywhere(16), everywhere(-(1 << 16))
    pairs = [[] for _ in cells]
    for unit in range(0, HIDDEN_UNITS, 2):
        weights = [_weight(builder, hidden, ir.Constant(I64, 2 * unit + i)) for i in range(4)]
        for (a, b), found in zip(inputs, pairs, strict=True):
            even, odd = (
                multiply_add(builder, multiply_add(builder, everywhere(0), a, w0), b, w1)
                for w0, w1 in (weights[:2], weights[2:])
            )
            # HIDDEN_SHIFT is 16: a unit is the upper half of its sum.
            both = builder.or_(builder.lshr(even, sixteen), builder.and_(odd, high))
            positive = larger(builder, builder.bitcast(both, halves), everywhere(0, halves))
            found.append(builder.bitcast(positive, WORDS))
    return pairs


@intrinsic
def dense(typing, first, second, hidden, output, states, bias, reach, grid, cell, logits, group):
    """Computes the two dense layers and the best state of GROUP cells.

    first, second: int32[cell], the perception as pairs of 16-bit halves. hidden: int32[16, 2] and output:
    int32[state, 8], weights as such pairs. bias: int32, added to the logit of the state that `grid`: uint8[cell]
    holds. reach: int32, 0 or more. Writes logits: int32[group, state, GROUP] of that group, and to `grid` the best
    state. Returns a bit mask of the cells with further states within `reach` of the best, whose state is undefined.
    """
    signature = types.uint64(first, second, hidden, output, states, bias, reach, grid, cell, logits, group)

    def generate(context, builder, signature, args):
        first, second, hidden, output, states, bias, reach, grid, cell, logits, group = _arguments(
            context, builder, signature, args
        )
        cells = [builder.add(cell, ir.Constant(I64, v * LANES)) for v in range(VECTORS)]
        pairs = _hidden(builder, first, second, hidden, cells)
        current = [builder.zext(load(builder, grid, at, ir.VectorType(I8, LANES)), WORDS) for at in cells]
        biases = splat(builder, bias)
        logits = builder.gep(logits, [builder.mul(builder.mul(group, states), ir.Constant(I64, GROUP))])
        best = [cgutils.alloca_once_value(builder, everywhere(-(2**31))) for _ in cells]
        with cgutils.for_range(builder, states) as loop:
            state = splat(builder, builder.trunc(loop.index, I32))
            sums = [
                builder.select(builder.icmp_unsigned("==", each, state), biases, everywhere(0)) for each in current
            ]
            for i in range(HIDDEN_UNITS // 2):
                at = builder.add(builder.mul(loop.index, ir.Constant(I64, HIDDEN_UNITS // 2)), ir.Constant(I64, i))
                weight = _weight(builder, output, at)
                sums = [multiply_add(builder, total, found[i], weight) for total, found in zip(sums, pairs, strict=True)]
            at = builder.mul(loop.index, ir.Constant(I64, GROUP))
            for v in range(VECTORS):
                store(builder, sums[v], logits, builder.add(at, ir.Constant(I64, v * LANES)))
                builder.store(larger(builder, sums[v], builder.load(best[v])), best[v])
        reaches = splat(builder, reach)
        least = [builder.sub(builder.load(each), reaches) for each in best]
        within = [cgutils.alloca_once_value(builder, everywhere(0)) for _ in cells]
        counted = cgutils.alloca_once_value(builder, everywhere(_COUNT))
        with cgutils.for_range(builder, states) as loop:
            at = builder.mul(loop.index, ir.Constant(I64, GROUP))
            number = builder.load(counted)
            for v in range(VECTORS):
                logit = load(builder, logits, builder.add(at, ir.Constant(I64, v * LANES)), WORDS)
                adds = builder.select(builder.icmp_signed(">", least[v], logit), everywhere(0), number)
                builder.store(builder.add(builder.load(within[v]), adds), within[v])
            builder.store(builder.add(number, everywhere(1)), counted)
        mask = ir.Constant(I64, 0)
        for v in range(VECTORS):
            found = builder.load(within[v])
            store(builder, builder.trunc(found, ir.VectorType(I8, LANES)), grid, cells[v])
            several = bit_mask(builder, builder.icmp_signed(">=", found, everywhere(2 * _COUNT)))
            mask = builder.or_(mask, builder.shl(several, ir.Constant(I64, v * LANES)))
        return mask

    return signature, generate
