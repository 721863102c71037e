"""The vector kernels of a rollout, written as LLVM vectors because compilers do not derive them from plain loops.

A step runs them one after the other on the whole grid: short chains of dependent instructions, next to those of other
cells. What each computes, and why so:

`shift` copies the grid and its left and right neighbours with wrapped rows, so that `perceive` only loads.

`perceive` looks up the weights of BLOCK cells' neighbours in tables that fit registers and adds them up. A processor
looks up either 16-bit integers, which are the weights, or bytes: then a weight has two tables. Of the high bytes only
the sum modulo 256 is needed, which one addition of bytes keeps. The sums of low bytes need more bits. Seen as 16-bit
integers, two neighbouring cells add up to even + 256 * odd; the odd ones are added up once more on their own. Without
look-ups in registers (PARTS is 0) it must not be called.

`hidden_units` computes the hidden layer, two units as the 16-bit halves of an integer.

`best_states` computes the logits of GROUP cells, which are VECTORS vectors: for each state eight products of pairs. It
stores the logit; then it replaces the low byte by 255 - state, and keeps the largest and the second largest of these
numbers. The largest names the state with the largest logit, the lower of equals, unless the two are close: then noise,
or the low bytes, may decide the cell, which `cpu_kernels` settles from the stored logits. With weights relative to
those of state 0 that state's logit is 0 and need not be computed.

All compute exact integers: `tests/test_identity.py` compares every variant with the definition. Not covered: the choice
of instructions (`vectors`), the definition of the arithmetic (`definition`), the loop over steps (`cpu_kernels`).
"""

from itertools import islice

from llvmlite import ir

from ncagen.kernels import arguments, cgutils, intrinsic, types
from ncagen.sources.nca.rules import HIDDEN_UNITS, PERCEPTION_CHANNELS
from ncagen.sources.nca.vectors import (
    BLOCK,
    BYTES,
    COPIES,
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
    high_halves,
    larger,
    load,
    look_up,
    multiply_add,
    replace_low_byte,
    smaller,
    splat,
    start_products,
    store,
    total,
)

DIGITS = 16 // ENTRY_BITS  # tables of a weight
CHANNELS = 4 // DIGITS  # that `perceive` adds up at a time: as many as fit the registers
_HALVES = ir.VectorType(I16, BLOCK // 2)
# By how much more than two logits the numbers that stand for them differ at most: low bytes were replaced in both.
INEXACT = 2 * 255


@intrinsic
def shift(typing, grid, first_column, last_column, width, cell, place, before, here, after):
    """Copies BLOCK cells of the grid, from `cell`, to three grids with wrapped rows, from `place`.

    grid: uint8[cell], with a row of padding before it and BLOCK cells behind it. first_column, last_column:
    int8[cell], -1 where a cell is the first or the last of its row. Writes before, here and after, each uint8: the
    left neighbour of each cell, the cell, and the right neighbour, which may be at the other end of the row.
    """
    signature = types.void(grid, first_column, last_column, width, cell, place, before, here, after)

    def generate(context, builder, signature, args):
        grid, first_column, last_column, width, cell, place, before, here, after = arguments(
            context, builder, signature, args
        )

        def ends(column):
            return builder.icmp_signed("<", load(builder, column, cell, BYTES), everywhere(0, BYTES))

        one = ir.Constant(I64, 1)
        left, right = builder.sub(cell, one), builder.add(cell, one)
        for target, at, other, column in (
            (before, left, builder.add(left, width), first_column),
            (after, right, builder.sub(right, width), last_column),
        ):
            wrapped = load(builder, grid, other, BYTES)
            store(builder, builder.select(ends(column), wrapped, load(builder, grid, at, BYTES)), target, place)
        store(builder, load(builder, grid, cell, BYTES), here, place)
        return context.get_dummy_value()

    return signature, generate


def _neighbours(builder, grids, width, cell):
    """Yields the states of the nine neighbours of BLOCK cells, row by row. grids: as of `perceive`."""
    for row in range(3):
        for grid in grids:
            yield load(builder, grid, builder.add(cell, builder.mul(width, ir.Constant(I64, row))), BYTES)


def _interleave(builder, a, b, lane: int):
    """Interleaves two vectors within each `lane` elements. Returns what comes from the lower half of lanes, and from
    the upper: within 16 bytes these are single instructions."""
    count, half = a.type.count, lane // 2
    masks = (
        [start + part + i // 2 + i % 2 * count for start in range(0, count, lane) for i in range(lane)]
        for part in (0, half)
    )
    return [builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, count), mask)) for mask in masks]


def _word_sums(builder, tables, neighbours, parts):
    """Adds up 16-bit weights. Returns the sums of each channel: 16-bit integers of the BLOCK cells."""
    sums = [everywhere(0, LOOKED_UP)] * CHANNELS
    for states in neighbours:
        found = look_up(builder, states, parts)
        sums = [builder.add(total, found(list(islice(tables, parts)))) for total in sums]
    return sums


def _byte_sums(builder, tables, neighbours, parts):
    """Adds up weights of two bytes. Returns the sums of each channel: those of the even and of the odd cells."""
    sums = [[everywhere(0, _HALVES), everywhere(0, _HALVES), everywhere(0, BYTES)] for _ in range(CHANNELS)]
    eight = everywhere(8, _HALVES)
    for states in neighbours:
        found = look_up(builder, states, parts)
        for channel in sums:
            low = builder.bitcast(found(list(islice(tables, parts))), _HALVES)
            channel[0] = builder.add(channel[0], low)
            channel[1] = builder.add(channel[1], builder.lshr(low, eight))
            channel[2] = builder.add(channel[2], found(list(islice(tables, parts))))
    joined = []
    for both, odd, high in sums:
        high = builder.bitcast(high, _HALVES)
        even = builder.add(both, builder.shl(builder.sub(high, odd), eight))
        joined.append((even, builder.add(odd, builder.and_(high, everywhere(-256, _HALVES)))))
    return joined


def _store_words(builder, low, high, target, cell):
    """Stores two channels of `_word_sums` as pairs."""
    for half, pairs in enumerate(_interleave(builder, low, high, BLOCK)):
        store(builder, pairs, target, builder.add(cell, ir.Constant(I64, half * BLOCK // 2)))


def _store_bytes(builder, low, high, target, cell):
    """Stores two channels of `_byte_sums` as pairs. The interleaving is within 16 bytes, so a vector has cells from
    each half of the block."""
    words = ir.VectorType(I32, BLOCK // 4)
    even, odd = (_interleave(builder, low[i], high[i], 8) for i in range(2))
    for part in range(2):
        pairs = (builder.bitcast(each[part], words) for each in (even, odd))
        for quarter, four in enumerate(_interleave(builder, *pairs, 4)):
            for half in range(2):
                lanes = ir.Constant(ir.VectorType(I32, 4), [half * 4 + i for i in range(4)])
                at = ir.Constant(I64, half * 16 + part * 8 + quarter * 4)
                store(builder, builder.shuffle_vector(four, four, lanes), target, builder.add(cell, at))


def _perceive(parts: int):
    """Makes the function `perceive` for tables of `parts` registers."""

    @intrinsic
    def perceive(typing, tables, before, here, after, width, cell, first, second):
        """Perception of BLOCK cells, by table look-up in registers.

        tables: uint8 or int16 [pass, 9, channel, digit, part, ENTRIES], by position; of bytes the low ones first. A
        pass has CHANNELS channels. before, here, after: uint8, of `shift`, such that the upper neighbours of cell i
        have index i. Writes first: int32[cell], channels 0 and 1 as 16-bit halves, and second: channels 2 and 3.
        """
        signature = types.void(tables, before, here, after, width, cell, first, second)

        def generate(context, builder, signature, args):
            tables, before, here, after, width, cell, first, second = arguments(context, builder, signature, args)
            count = 9 * PERCEPTION_CHANNELS * DIGITS * parts
            loaded = (load(builder, tables, ir.Constant(I64, i * ENTRIES), TABLE) for i in range(count))
            add_up, put = (_word_sums, _store_words) if DIGITS == 1 else (_byte_sums, _store_bytes)
            targets = iter((first, second))
            for _ in range(PERCEPTION_CHANNELS // CHANNELS):
                neighbours = _neighbours(builder, (before, here, after), width, cell)
                sums = add_up(builder, loaded, neighbours, parts)
                for low, high in zip(sums[::2], sums[1::2], strict=True):
                    put(builder, low, high, next(targets), cell)
            return context.get_dummy_value()

        return signature, generate

    return perceive


perceive, perceive_two = _perceive(1), _perceive(2)


def _weight(builder, pointer, index, copies: int = 1):
    """Loads a number into every lane, from one or from LANES copies of it."""
    if copies == 1:
        return splat(builder, builder.load(builder.gep(pointer, [index])))
    return load(builder, pointer, builder.mul(index, ir.Constant(I64, copies)), WORDS)


@intrinsic
def spread(typing, source, count, target):
    """Copies `count` integers into LANES lanes each. source: int32[count]. Writes target: int32[count, LANES]."""
    signature = types.void(source, count, target)

    def generate(context, builder, signature, args):
        source, count, target = arguments(context, builder, signature, args)
        with cgutils.for_range(builder, count) as loop:
            copies = _weight(builder, source, loop.index)
            store(builder, copies, target, builder.mul(loop.index, ir.Constant(loop.index.type, LANES)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def hidden_units(typing, first, second, weights, cell, units):
    """Computes the hidden units of LANES cells.

    first, second: int32[cell], the perception as pairs of 16-bit halves. weights: int32[16, 2, COPIES] of such pairs.
    Writes units: int32[cell // LANES, 8, LANES], two in each integer.
    """
    signature = types.void(first, second, weights, cell, units)

    def generate(context, builder, signature, args):
        first, second, weights, cell, units = arguments(context, builder, signature, args)
        a, b = (load(builder, p, cell, WORDS) for p in (first, second))
        halves = ir.VectorType(I16, 2 * LANES)
        nothing = start_products(everywhere(0))
        target = builder.mul(cell, ir.Constant(I64, HIDDEN_UNITS // 2))
        for pair in range(HIDDEN_UNITS // 2):
            w = [_weight(builder, weights, ir.Constant(I64, 4 * pair + i), COPIES) for i in range(4)]
            even, odd = (
                total(builder, multiply_add(builder, multiply_add(builder, nothing, a, w[i]), b, w[i + 1]))
                for i in (0, 2)
            )
            both = high_halves(builder, even, odd)  # HIDDEN_SHIFT is 16: a unit is the upper half of its sum.
            positive = larger(builder, builder.bitcast(both, halves), everywhere(0, halves))
            store(builder, positive, units, builder.add(target, ir.Constant(I64, pair * LANES)))
        return context.get_dummy_value()

    return signature, generate


def _best_states(copies: int):
    """Makes the function `best_states` for weights in `copies` copies: 1, or LANES, which saves an instruction each."""

    @intrinsic
    def best_states(typing, units, output, start, states, bias, reach, grid, cell, numbers, logits, at):
        """Computes the logits and the best state of GROUP cells.

        units: as of `hidden_units`. output: int32[state, 8, copies], weights as pairs. start: 1 where they are relative
        to those of state 0, whose logit is 0 then, 0 elsewhere. bias: int32, added to the logit of the state that
        `grid`: uint8[cell] holds. reach: int32, what noise decides, and INEXACT. numbers: int32[state, copies], 255 -
        state. Writes to `grid` the best state, and the logits to logits: int32[cell // GROUP, state, GROUP], where this
        group begins with cell `at`. Returns a bit mask of the cells whose best states are close, and whose state may be
        another.
        """
        signature = types.uint64(units, output, start, states, bias, reach, grid, cell, numbers, logits, at)

        def generate(context, builder, signature, args):
            units, output, start, states, bias, reach, grid, cell, numbers, logits, at = arguments(
                context, builder, signature, args
            )
            cells = [builder.add(cell, ir.Constant(I64, v * LANES)) for v in range(VECTORS)]
            source = builder.mul(cell, ir.Constant(I64, HIDDEN_UNITS // 2))
            pairs = [
                [
                    load(builder, units, builder.add(source, ir.Constant(I64, (v * 8 + i) * LANES)), WORDS)
                    for i in range(HIDDEN_UNITS // 2)
                ]
                for v in range(VECTORS)
            ]
            current = [builder.zext(load(builder, grid, at, ir.VectorType(I8, LANES)), WORDS) for at in cells]
            biases = splat(builder, bias)
            logits = builder.gep(logits, [builder.mul(at, states)])

            def biased(state):
                state = splat(builder, builder.trunc(state, I32))
                return [
                    builder.select(builder.icmp_unsigned("==", each, state), biases, everywhere(0)) for each in current
                ]

            none, zero = everywhere(-(2**31)), ir.Constant(I64, 0)
            best, second_best = ([cgutils.alloca_once_value(builder, none) for _ in cells] for _ in range(2))
            relative = builder.icmp_unsigned("!=", start, zero)
            for v, logit in enumerate(biased(zero)):
                store(builder, logit, logits, ir.Constant(I64, v * LANES))
                named = replace_low_byte(builder, logit, _weight(builder, numbers, zero, copies))
                builder.store(builder.select(relative, named, none), best[v])
            with cgutils.for_range(builder, states, start=start) as loop:
                sums = [start_products(first) for first in biased(loop.index)]
                for i in range(HIDDEN_UNITS // 2):
                    at = builder.add(builder.mul(loop.index, ir.Constant(I64, HIDDEN_UNITS // 2)), ir.Constant(I64, i))
                    weight = _weight(builder, output, at, copies)
                    sums = [
                        multiply_add(builder, each, found[i], weight) for each, found in zip(sums, pairs, strict=True)
                    ]
                sums = [total(builder, each) for each in sums]
                number = _weight(builder, numbers, loop.index, copies)
                at = builder.mul(loop.index, ir.Constant(I64, GROUP))
                for v in range(VECTORS):
                    store(builder, sums[v], logits, builder.add(at, ir.Constant(I64, v * LANES)))
                    named = replace_low_byte(builder, sums[v], number)
                    top = builder.load(best[v])
                    builder.store(larger(builder, top, named), best[v])
                    builder.store(
                        larger(builder, builder.load(second_best[v]), smaller(builder, top, named)), second_best[v]
                    )
            mask = ir.Constant(I64, 0)
            for v in range(VECTORS):
                top = builder.load(best[v])
                store(builder, builder.trunc(builder.not_(top), ir.VectorType(I8, LANES)), grid, cells[v])
                distance = builder.sub(top, builder.load(second_best[v]))
                close = bit_mask(builder, builder.icmp_unsigned("<=", distance, splat(builder, reach)))
                mask = builder.or_(mask, builder.shl(close, ir.Constant(I64, v * LANES)))
            return mask

        return signature, generate

    return best_states


best_states, best_states_copied = _best_states(1), _best_states(LANES)
