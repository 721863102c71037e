"""The two vector kernels of a rollout, written as LLVM vectors because compilers do not derive them from plain loops.

`perceive` looks up the perception of a block of cells in tables in registers, `dense` computes the two dense layers and
the best state. Both are written over `vectors`, whose instructions differ by processor, and compute exact integers:
`tests/test_identity.py` compares every variant with the definition. Without look-ups in registers (TABLE is 0)
`perceive` must not be called.

Not covered: the choice of instructions (`vectors`), the arithmetic's definition (`definition`), the loop over steps
(`cpu_kernels`).
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ncagen.sources.nca.rules import HIDDEN_UNITS
from ncagen.sources.nca.vectors import (
    BLOCK,
    BLOCK_OF_I16,
    I16,
    I32,
    I64,
    LANES,
    WORDS,
    bit_mask,
    everywhere,
    larger,
    load,
    look_up_words,
    multiply_add,
    smaller,
    splat,
    store,
)


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
        one = ir.Constant(I64, 1)
        none = ir.Constant(BLOCK_OF_I16, [0] * BLOCK)
        at_first = builder.icmp_signed("<", load(builder, first_column, cell, BLOCK_OF_I16), none)
        at_last = builder.icmp_signed("<", load(builder, last_column, cell, BLOCK_OF_I16), none)
        sums = [None] * 4
        here = builder.add(cell, ir.Constant(I64, BLOCK))
        for row in range(3):
            at = builder.add(here, builder.mul(width, ir.Constant(I64, row)))
            before, after = builder.sub(at, one), builder.add(at, one)
            neighbours = (
                builder.select(
                    at_first,
                    load(builder, torus, builder.add(before, width), BLOCK_OF_I16),
                    load(builder, torus, before, BLOCK_OF_I16),
                ),
                load(builder, torus, at, BLOCK_OF_I16),
                builder.select(
                    at_last,
                    load(builder, torus, builder.sub(after, width), BLOCK_OF_I16),
                    load(builder, torus, after, BLOCK_OF_I16),
                ),
            )
            for column, states in enumerate(neighbours):
                for channel in range(4):
                    place = ir.Constant(I64, ((row * 3 + column) * 4 + channel) * BLOCK)
                    table = load(builder, tables, place, BLOCK_OF_I16)
                    found = look_up_words(builder, table, states)
                    sums[channel] = found if sums[channel] is None else builder.add(sums[channel], found)
        for half in range(2):
            lanes = [half * 16 + lane // 2 + (lane % 2) * BLOCK for lane in range(BLOCK)]
            mask = ir.Constant(ir.VectorType(I32, BLOCK), lanes)
            at = builder.add(cell, ir.Constant(I64, half * 16))
            store(builder, builder.shuffle_vector(sums[0], sums[1], mask), first, at)
            store(builder, builder.shuffle_vector(sums[2], sums[3], mask), second, at)
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
            return splat(builder, builder.load(builder.gep(pointer, [index])))

        a, b = (load(builder, p, cell, WORDS) for p in (first, second))
        units = []
        for unit in range(HIDDEN_UNITS):
            w0, w1 = (weight(hidden, ir.Constant(I64, 2 * unit + i)) for i in range(2))
            x = multiply_add(builder, multiply_add(builder, everywhere(0), a, w0), b, w1)
            units.append(larger(builder, x, everywhere(0)))
        high = everywhere(-(1 << 16))  # HIDDEN_SHIFT is 16: a unit is the upper half of its positive sum
        pairs = [
            builder.or_(builder.lshr(even, everywhere(16)), builder.and_(odd, high))
            for even, odd in zip(units[::2], units[1::2], strict=True)
        ]
        current = builder.zext(load(builder, grid, cell, ir.VectorType(I16, LANES)), WORDS)
        biases = splat(builder, bias)
        lowest = -(2**31)
        best = cgutils.alloca_once_value(builder, everywhere(lowest))
        runner_up = cgutils.alloca_once_value(builder, everywhere(lowest))
        winner = cgutils.alloca_once_value(builder, everywhere(0))
        with cgutils.for_range(builder, states) as loop:
            state = splat(builder, builder.trunc(loop.index, I32))
            logit = builder.select(builder.icmp_unsigned("==", current, state), biases, everywhere(0))
            for i, pair in enumerate(pairs):
                at = builder.add(builder.mul(loop.index, ir.Constant(I64, len(pairs))), ir.Constant(I64, i))
                logit = multiply_add(builder, logit, pair, weight(output, at))
            store(builder, logit, logits, builder.add(builder.mul(loop.index, pitch), cell))
            top = builder.load(best)
            better = builder.icmp_signed(">", logit, top)
            builder.store(builder.select(better, state, builder.load(winner)), winner)
            builder.store(larger(builder, builder.load(runner_up), smaller(builder, top, logit)), runner_up)
            builder.store(larger(builder, logit, top), best)
        store(builder, builder.trunc(builder.load(winner), ir.VectorType(I16, LANES)), grid, cell)
        threshold = builder.sub(builder.load(best), splat(builder, reach))
        close = builder.icmp_signed(">=", builder.load(runner_up), threshold)
        return bit_mask(builder, close)

    return signature, generate
