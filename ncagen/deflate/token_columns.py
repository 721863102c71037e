"""Compares every token of a row with every earlier one, in vectors: what `token_parse` needs of LLVM.

Let e(u, t) say how far a row agrees from tokens u and t on: twice the number of equal tokens, and 1 more if the low
bytes of the first two different tokens are equal. Column t, the e(u, t) of all u < t, follows from column t + 1:

    e(u, t) = e(u + 1, t + 1) + 2 if tokens u and t are equal, else 1 if their low bytes are equal, else 0

No entry of a column depends on another one of it, so a column is computed without a branch, LANES entries at a time.
An entry is kept as the key e << 9 | NEAR - (t - u): the largest key belongs to the nearest u of the longest agreement.
The second half of a key is the same for e(u, t) and e(u + 1, t + 1), and both stay in one lane: `columns` computes
GROUP columns t, t - 1, ... at once, each one token further down in memory than the one before it, and stores the last.

Not covered: what follows from the columns (`token_parse`), tokens of more than two bytes.
"""

from llvmlite import ir

from ncagen.deflate.masks import LANES, load, pointer, splat
from ncagen.kernels import arguments, cgutils, intrinsic, types

GROUP = 4  # whose largest keys fill 16 bytes
NEAR = 511  # the largest distance in tokens, and a mask of the lower part of a key
AGREE = 9  # where the upper part of a key starts

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))
_VECTOR = ir.VectorType(_I16, LANES)


def _all(value):
    return ir.Constant(_VECTOR, [value] * LANES)


def _number(value):
    return ir.Constant(_I64, value)


def _equal(builder, a, b):
    return builder.icmp_unsigned("==", a, b)


def _larger(builder, a, b):
    return builder.select(builder.icmp_unsigned(">", a, b), a, b)


def _smaller(builder, a, b):
    return builder.select(builder.icmp_unsigned("<", a, b), a, b)


def _group(builder, low, high, key, index, valid, u, targets, best):
    """Computes LANES entries of GROUP columns, of which the first has its first entry at index u of low and high.

    key: the entries one column up. targets: the low and the high bytes of tokens t, t - 1, ..., of the high ones one
    more. best: the largest keys so far. Returns the last column's entries, and the largest keys.
    """
    lows, highs = targets
    found = []
    same_high = builder.and_(valid, _equal(builder, load(builder, high, u, LANES), highs[0]))
    for column in range(GROUP):
        here = builder.sub(u, _number(column))
        same_low = builder.and_(valid, _equal(builder, load(builder, low, here, LANES), lows[column]))
        longer = builder.add(key, _all(2 << AGREE))
        some = builder.select(same_low, builder.add(index, _all(1 << AGREE)), index)
        key = builder.select(builder.and_(same_low, same_high), longer, some)
        before = load(builder, high, builder.sub(here, _number(1)), LANES)
        same_high = builder.and_(valid, _equal(builder, before, highs[column + 1]))  # of the next column too
        found.append(_larger(builder, best[2 * column], key))
        found.append(_larger(builder, best[2 * column + 1], builder.select(same_high, key, _all(0))))
    return key, found


def _halves(builder, a, b, width):
    """Takes entries of a and b in turn, `width` at a time, from the lower halves of their 16 bytes, and the upper."""
    low = [
        sixteen + k // 2 * width + k % 2 * LANES + i
        for sixteen in range(0, LANES, 8)
        for k in range(8 // width)
        for i in range(width)
    ]
    for mask in (low, [lane + 4 for lane in low]):
        yield builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, LANES), mask))


def _largest(builder, vectors):
    """Returns a vector of the largest entry of each of eight vectors, in their order.

    Two vectors become one that has entries of both in turn, until one has entries of all eight in each 16 bytes.
    """
    for width in (1, 2, 4):
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_larger(builder, *_halves(builder, a, b, width)) for a, b in pairs]
    [largest] = vectors
    lanes = LANES
    while lanes > 8:
        lanes //= 2
        halves = (ir.Constant(ir.VectorType(_I32, lanes), [start + i for i in range(lanes)]) for start in (0, lanes))
        largest = _larger(builder, *(builder.shuffle_vector(largest, largest, half) for half in halves))
    return largest


@intrinsic
def columns(typing, low, high, keys, t, first, best):
    """Computes columns t, t - 1, ..., t - GROUP + 1, and the largest key of each.

    low, high: uint16, the bytes of token u at first + u, from LANES below `first` to LANES above the last token, with
    values over 255 where there is none. keys: uint16 of the same shape, column t + 1; column t - GROUP + 1 later.
    Writes best: uint16, at 2 * (first + t) + 1, the largest key; and before it the largest one of those u for which the
    high bytes of tokens u - 1 and t - 1 are equal, or 0 if there is none. low[first] is over 255, so that u is not 0.
    """
    signature = types.void(low, high, keys, t, first, best)

    def generate(context, builder, signature, args):
        low, high, keys, t, first, best = arguments(context, builder, signature, args)
        at = builder.add(first, t)

        def target(array, back):
            return splat(builder, builder.load(builder.gep(array, [builder.sub(at, _number(back))])), LANES)

        targets = [target(low, j) for j in range(GROUP)], [target(high, j) for j in range(GROUP + 1)]
        nearness = splat(builder, builder.trunc(builder.sub(_number(NEAR + 1), t), _I16), LANES)  # of u = 1
        lanes = ir.Constant(_VECTOR, list(range(LANES)))
        index = cgutils.alloca_once_value(builder, builder.add(nearness, lanes))
        tops = [cgutils.alloca_once_value(builder, _all(0)) for _ in range(2 * GROUP)]
        blocks = builder.udiv(builder.add(t, _number(LANES - 2)), _number(LANES))
        with cgutils.for_range(builder, blocks) as loop:
            u = builder.add(builder.mul(loop.index, _number(LANES)), builder.add(first, _number(1)))
            raw = builder.load(index)
            valid = builder.icmp_unsigned("<", raw, _all(NEAR))  # u < t
            key, found = _group(
                builder,
                low,
                high,
                load(builder, keys, builder.add(u, _number(1)), LANES),
                _smaller(builder, raw, _all(NEAR)),
                valid,
                u,
                targets,
                [builder.load(top) for top in tops],
            )
            builder.store(key, pointer(builder, keys, builder.sub(u, _number(GROUP - 1)), LANES), align=1)
            builder.store(builder.add(raw, _all(LANES)), index)
            for top, value in zip(tops, found, strict=True):
                builder.store(value, top)
        largest = _largest(builder, [builder.load(top) for top in reversed(tops)])
        lowest = builder.add(builder.mul(at, _number(2)), _number(2 - len(tops)))
        builder.store(largest, pointer(builder, best, lowest, len(tops)), align=1)
        return context.get_dummy_value()

    return signature, generate
