"""The kernels of bracket words, compiled by numba: rows as `definition` defines them.

They allocate nothing and check nothing: `make` makes arrays of the right shapes. The hot loop has indices of uint64,
since numba adds the wrap-around of negative ones to others. Arrays in several signatures:

    limits   int64[8]: k, most tokens of a word, fewest, least depth, most depth, and whether shuffle, uniform, cut
    state    int64[4]: seed, stream, candidate, and whether a draw of the row was not decided by 64 bits
    words    uint16[kind, position], the first words of draws; uint16[8], further words of one draw
    odds     as `counts.Tables`: first, closing, group, following, slot, thresholds. Without uniform, thresholds[0, 0]
             is that of open_probability
    stack    int64[depth + 2], types of the open brackets where they nest, the first at 1
    types    order, places, opened: int64[type], types by falling number of open brackets, the place of each type, its
             open brackets; more: int64[depth + 2], how many types have at least so many open brackets
"""

import numpy as np

from ncagen.kernels import inlined, kernel
from ncagen.philox_kernels import draw, philox_block

MOVE, TYPE, LENGTH = range(3)
KINDS = 3
SEED, STREAM, CANDIDATE, UNDECIDED = range(4)
_48 = np.uint64(48)
_16 = np.uint64(16)
_LOW = np.uint64(0xFFFF)


@inlined
def _further(kind, position, index, words, state):
    """Returns further word `index` of a draw: uint64."""
    purpose = KINDS * (position + 1) + kind
    philox_block(state[SEED], state[STREAM], purpose, state[CANDIDATE], index >> 3, words[1], 0)
    return np.uint64(words[1][index & 7])


@kernel
def _rejected(bound, kind, position, words, state):
    """Draws a number below bound, with the draw's further words: int64."""
    wide, index = np.uint64(bound), 0
    least = np.uint64(65536) % wide
    product = _further(kind, position, index, words, state) * wide
    while product & _LOW < least:
        index += 1
        product = _further(kind, position, index, words, state) * wide
    return np.int64(product >> _16)


@inlined
def _below(bound, kind, position, words, state):
    """Draws a number below bound, as `definition.Draw.below`: int64."""
    wide = np.uint64(bound)
    product = np.uint64(words[0][kind, np.uint64(position)]) * wide
    # What is compared first is never less than the remainder, which takes a division.
    if product & _LOW < wide and product & _LOW < np.uint64(65536) % wide:
        return _rejected(bound, kind, position, words, state)
    return np.int64(product >> _16)


@kernel
def _tied(at, thresholds, first, count, position, words, state):
    """Completes `_choose` where the first word is the beginning of a threshold: with 64 bits."""
    drawn = np.uint64(words[0][MOVE, position])
    for index in range(3):
        drawn = drawn << _16 | _further(MOVE, position, index, words, state)
    while at < count and thresholds[first + at] < drawn:
        at += 1
    if at < count and thresholds[first + at] == drawn:
        state[UNDECIDED] = 1
    return at


@inlined
def _choose(thresholds, first, count, position, words, state):
    """Draws how many of thresholds[first : first + count] are reached, as `definition.Draw.choose`: int64."""
    drawn = np.uint64(words[0][MOVE, position])
    at = 0
    while at < count and thresholds[first + at] >> _48 < drawn:
        at += 1
    if at < count and thresholds[first + at] >> _48 == drawn:
        return _tied(at, thresholds, first, count, position, words, state)
    return at


@inlined
def _may(left, depth, reached, limits):
    """Whether a bracket may be opened, and whether one may be closed, with `left` tokens left.

    The bounds do not depend on the depth, so a processor has them ready when it knows the depth.
    """
    least, most, cut = limits[3], limits[4], limits[7]
    high = most if cut else min(most, left - 1)
    low = 0 if reached else max(0, least * (1 if cut else 2) + 1 - left)
    return depth < high, depth > low


@inlined
def _move(number, left, can_open, can_close, odds, position, words, state):
    """Draws a move of a state with `uniform`: its index."""
    first, closing, _, _, slot, thresholds = odds
    begin = first[number] if can_open else closing[number]
    end = first[number + 1] if can_close else closing[number]
    if end - begin == 1:
        return begin
    return begin + _choose(
        thresholds[left], slot[number] + begin - first[number], end - begin - 1, position, words, state
    )


@inlined
def _opens(can_open, can_close, thresholds, position, words, state):
    """Draws whether to open a bracket."""
    drawn, top = np.uint64(words[0][MOVE, np.uint64(position)]), thresholds[0, 0] >> _48
    if can_open & can_close & (drawn == top):
        return _tied(0, thresholds[0], 0, 1, position, words, state) == 0
    return can_open & ((drawn < top) | (not can_close))


@kernel
def nested_word(tokens, begin, length, limits, odds, stack, words, state):
    """Writes a word of nesting brackets to tokens[begin : begin + length]. tokens: uint16[token], of a row."""
    k, least, uniform = limits[0], limits[3], limits[6]
    following, closing, thresholds = odds[3], odds[1], odds[5]
    depth, number, reached = 0, 0, least == 1
    for position in range(begin, begin + length):
        left = begin + length - position
        can_open, can_close = _may(left, depth, reached, limits)
        if uniform:
            move = _move(number, left, can_open, can_close, odds, position, words, state)
            opens = move < closing[number]
            number = following[move]
        else:
            opens = _opens(can_open, can_close, thresholds, position, words, state)
        # Both cases are computed, and one is selected: half of the branches would be mispredicted.
        kind, closed = _below(k, TYPE, position, words, state), k + stack[np.uint64(depth)]
        tokens[np.uint64(position)] = kind if opens else closed
        stack[np.uint64(depth + 1)] = kind
        depth += 1 if opens else -1
        reached = reached | (depth == least)


@inlined
def _swap(kind, to, order, places):
    """Exchanges a type with the one at place `to`. kind: uint64."""
    to = np.uint64(to)
    other, place = np.uint64(order[to]), np.uint64(places[kind])
    order[place], order[to] = other, kind
    places[other], places[kind] = place, to


@kernel
def interleaved_word(tokens, begin, length, limits, odds, types, words, state):
    """Writes a word of interleaving brackets to tokens[begin : begin + length]. tokens: uint16[token], of a row."""
    order, places, opened, more = types
    k, least, uniform = limits[0], limits[3], limits[6]
    _, closing, groups, following, _, thresholds = odds
    depth, number, reached = 0, 0, least == 1
    for position in range(begin, begin + length):
        left = begin + length - position
        can_open, can_close = _may(left, depth, reached, limits)
        if uniform:
            move = _move(number, left, can_open, can_close, odds, position, words, state)
            opens = move < closing[number]
            number, group = following[move], groups[move]
            start, size = more[group + 1], more[group] - more[group + 1]
        else:
            opens = _opens(can_open, can_close, thresholds, position, words, state)
            start, size = 0, k if opens else more[1]
        drawn = _below(size, TYPE, position, words, state)
        found = order[np.uint64(start + drawn)]
        kind = drawn if opens and not uniform else found
        tokens[np.uint64(position)] = kind if opens else k + kind
        # A type that opens goes to the beginning of its group, one that closes to the end, into the next group.
        at = np.uint64(kind)
        now = opened[at]
        level = np.uint64(now + 1 if opens else now)
        _swap(at, more[level] - (0 if opens else 1), order, places)
        step = 1 if opens else -1
        more[level] += step
        opened[at] = now + step
        depth += step
        reached = reached | (depth == least)


@inlined
def _word(tokens, begin, length, limits, odds, stack, types, words, state):
    if limits[5]:
        interleaved_word(tokens, begin, length, limits, odds, types, words, state)
    else:
        nested_word(tokens, begin, length, limits, odds, stack, words, state)


@kernel
def _begin(key, candidate, limits, size, types, words, state):
    """Draws the first words of a row, and closes all types."""
    order, places, opened, more = types
    state[SEED], state[STREAM], state[CANDIDATE], state[UNDECIDED] = key[0], key[1], candidate, 0
    for kind in range(KINDS if limits[1] > limits[2] else LENGTH):
        draw(key[0], key[1], kind, candidate, size, words[0][kind])
    for kind in range(len(order) if limits[5] else 0):
        order[kind], places[kind], opened[kind] = kind, kind, 0
    more[:] = 0
    more[0] = len(order)


@kernel
def rows(key, candidates, limits, odds, stack, types, words, state, out, undecided):
    """Writes rows to out: uint16[row, token], and to undecided: bool[row]. key: int64[2], seed and stream."""
    k, longest, shortest, least, cut = limits[0], limits[1], limits[2], limits[3], limits[7]
    size = out.shape[1]
    for row in range(len(candidates)):
        _begin(key, candidates[row], limits, size, types, words, state)
        at = 0
        if cut:
            _word(out[row], 0, size, limits, odds, stack, types, words, state)
            at = size
        while size - at > 2 * least:
            length = longest
            if longest > shortest:
                length = shortest + 2 * _below((longest - shortest) // 2 + 1, LENGTH, at, words, state)
            length = min(length, (size - at - 1) // 2 * 2)
            _word(out[row], at, length, limits, odds, stack, types, words, state)
            at += length + 1
            out[row, at - 1] = 2 * k
        while at < size:
            out[row, at] = 2 * k
            at += 1
        undecided[row] = state[UNDECIDED] != 0
