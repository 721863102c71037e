"""Counts the symbols of a row of tokens as `lz77.parse_short` does, from the longest match of every position at once.

A row of two-byte tokens is stored as int32: low byte, high byte, 0, 0. With the longest match of every position known,
zlib's lazy parse has no choice left: position i is a literal if it has no match or the next one has a longer one. It
takes no search whose end a processor would have to guess, which is what `parse_short` spends its time on.

Position 4t + p has phase p. Matches between equal phases follow from how far the row agrees from two tokens on, which
`token_columns` computes for all pairs. e bytes from tokens u and t on mean for positions before them

    phase 0 of token t      e bytes, if that is at least a token (no less than 3 bytes are a match)
    phase 3 of token t - 1  1 + e bytes, if e is at least a token
    phase 2 of token t - 1  2 + e bytes, if e is at least 1
    phase 1 of token t - 1  3 + e bytes, if the high bytes of tokens u - 1 and t - 1 are equal

so that the first three have their longest match from the same u, and the fourth from the longest of these u. Matches
between different phases need a token with a zero byte; `_add_shifted` tries all of them.

`parse_tokens` gives up, and leaves the row to `parse_short`, if tokens have more than two bytes, zero bytes or long
matches (which MAX_MATCH could cut) are many, or zlib's limit GOOD_CHAIN might hide a match.
"""

import numpy as np

from ncagen.deflate.huffman import END_OF_BLOCK, SYMBOLS
from ncagen.deflate.lz77 import (
    DISTANCE_SYMBOL,
    GOOD_CHAIN,
    GOOD_MATCH,
    LENGTH_SYMBOL,
    MAX_MATCH,
    extent,
)
from ncagen.deflate.masks import LANES, equal_lanes
from ncagen.deflate.token_columns import AGREE, GROUP, NEAR, columns
from ncagen.kernels import inlined, kernel, trailing_zeros

MOST_TOKENS = NEAR - GROUP  # whose distances fit a key
MOST_SPECIAL, MOST_PAIRS = 48, 250  # tokens with a zero byte, and pairs of positions with different phases

_FIRST = 2 * LANES  # where token 0 stands in arrays of tokens
_LONG = (126 - 2 * GROUP) << AGREE  # a key over this could lead to one of 128 << AGREE a group later
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)

# A match is length << 12 | FARTHEST - distance, so that the larger of two is the one that zlib prefers.
_LENGTH = np.uint32(12)
_FARTHEST = 4095
_COPIES = 4  # of the counts, used in turn: a processor waits for a count that was written a few cycles ago


def _symbols():
    """Symbols of a byte, or of 256 + length; and of FARTHEST - distance, where distance 0 is that of a literal."""
    distance = np.maximum(_FARTHEST - np.arange(_FARTHEST + 1) - 1, 0)
    far = DISTANCE_SYMBOL[np.where(distance < 256, distance, 256 + distance // 128) % 512].astype(np.uint16)
    far[_FARTHEST] = SYMBOLS - 1  # no symbol has this place
    return np.concatenate([np.arange(256, dtype=np.uint16), LENGTH_SYMBOL.astype(np.uint16)]), far


_SYMBOL, _FAR_SYMBOL = _symbols()


def token_scratch():
    """Makes the arrays that one thread needs: low, high, keys, best, special, matches, steps, counts."""
    size = _FIRST + MOST_TOKENS + 2 * LANES
    return (
        *(np.full(size, 256, np.uint16) for _ in range(2)),
        np.zeros(size, np.uint16),
        np.zeros(2 * size, np.uint16),
        np.zeros(MOST_SPECIAL, np.uint16),
        np.zeros(4 * MOST_TOKENS + 8, np.uint32),
        np.zeros(4 * MOST_TOKENS + 8, np.uint16),
        np.zeros((_COPIES, SYMBOLS), np.int32),
    )


@kernel
def _split(tokens, row, low, high):
    """Writes the bytes of tokens[row]; those without a token are over 255. Returns whether two bytes are enough.

    The low byte of token 0 is left out too: position 0 means "none" in zlib, so it is no match.
    """
    count = tokens.shape[1]
    over = tokens[row, 0] >> 16
    for t in range(count):
        token = tokens[row, t]
        over |= token >> 16
        low[_FIRST + t] = token & 255
        high[_FIRST + t] = token >> 8
    for lane in range(LANES):
        low[_FIRST + count + lane] = 257
        high[_FIRST + count + lane] = 257
    low[_FIRST] = 256
    return over == 0


@kernel
def _list_special(count, low, high, special):
    """Lists the tokens with a zero byte. Returns how many there are; those over MOST_SPECIAL are not listed."""
    found = 0
    for block in range(0, count, LANES):
        at = np.uint64(_FIRST + block)
        left = equal_lanes(low, at, np.uint16(0)) | equal_lanes(high, at, np.uint16(0))
        while left != _ZERO:
            if found < MOST_SPECIAL:
                special[found] = block + trailing_zeros(left)
            found += 1
            left &= left - _ONE
    return found


@kernel
def _compute_columns(count, low, high, keys, best):
    """Computes all columns, from the last. Returns False if an agreement is too long for a key."""
    for t in range(count, 1, -GROUP):
        columns(low, high, keys, np.uint64(t), np.uint64(_FIRST), best)
        if t > GROUP and best[2 * (_FIRST + t - GROUP + 1) + 1] > _LONG:
            return False
    best[2 * _FIRST + 2] = best[2 * _FIRST + 3] = 0  # u is at least 1
    return True


@inlined
def _match(key, least, more):
    """The match of `more` bytes beyond those of a key, or 0 if its agreement is below `least`."""
    agree = key >> np.uint32(AGREE)
    length = (agree >> np.uint32(1) << np.uint32(2)) + (agree & np.uint32(1)) + np.uint32(more)
    nearness = np.uint32(_FARTHEST - 4 * NEAR) + ((key & np.uint32(NEAR)) << np.uint32(2))
    return np.uint32(length << _LENGTH | nearness) if agree >= np.uint32(least) else np.uint32(0)


@kernel
def _place(count, best, matches):
    """Writes the longest match, between equal phases, of each position."""
    matches[0] = 0
    for t in range(1, count + 1):
        at, pair = np.uint64(4 * t - 3), np.uint64(2 * (_FIRST + t))
        after, key = np.uint32(best[pair]), np.uint32(best[pair + _ONE])
        matches[at] = _match(after, 0, 3) if after != 0 else np.uint32(0)
        matches[at + _ONE] = _match(key, 1, 2)
        matches[at + _TWO] = _match(key, 2, 1)
        matches[at + _TWO + _ONE] = _match(key, 2, 0)


@inlined
def _add(found, words, n, at, first, matches):
    """Tries positions `at` and first + 4t, whose three bytes are equal, as a match, for each bit t in found."""
    pairs = 0
    while found != _ZERO:
        other = first + 4 * trailing_zeros(found)
        found &= found - _ONE
        here, source = max(at, other), min(at, other)
        length = extent(words, source, here, min(MAX_MATCH, n - here))
        match = np.uint32(length << 12 | _FARTHEST - (here - source))
        here = np.uint64(here)
        matches[here] = max(matches[here], match)
        pairs += 1
    return pairs


@kernel
def _add_shifted(words, count, low, high, special, specials, matches):
    """Tries all matches between different phases. Returns False if they are too many.

    Let l, h be the bytes of a token and l' the low one of the next. The three bytes of the phases are l h 0, h 0 0,
    0 0 l' and 0 l' h'. Those of two different phases are equal if

        0 and 1: h = 0, and l is the other's h        1 and 2: h = 0, and the other's l' = 0
        0 and 2: l = h = 0, and the other's l' = 0    1 and 3: h = 0, and the other's l' = h' = 0
        0 and 3: l = 0, the other's h' = 0 and l' = h    2 and 3: the other's l' = 0, and its h' is l'

    So each of them has a token z with a zero byte; the other position is one of a token t that has a known byte.
    """
    n = 4 * count
    pairs = 0
    for s in range(specials):
        z = np.int64(special[s])
        x, y = low[_FIRST + z], high[_FIRST + z]
        for block in range(0, count, LANES):
            at, t = np.uint64(_FIRST + block), 4 * block
            zero_low = equal_lanes(low, at, np.uint16(0))
            if y == 0:
                same = equal_lanes(high, at, x)
                pairs += _add(same, words, n, 4 * z, t + 1, matches)
                pairs += _add(same & zero_low, words, n, 4 * z - 1, t, matches)
                pairs += _add(zero_low, words, n, 4 * z + 1, t - 2, matches)
            if x == 0:
                pairs += _add(equal_lanes(low, at, y), words, n, 4 * z - 1, t - 2, matches)
            if x == 0 and y == 0:
                pairs += _add(zero_low, words, n, 4 * z, t - 2, matches)
                pairs += _add(equal_lanes(high, at, np.uint16(0)), words, n, 4 * z - 1, t + 1, matches)
        if pairs > MOST_PAIRS:
            return False
    return True


@kernel
def _choose(n, matches, steps):
    """Writes how many bytes zlib takes at each position: a match, or 1. Returns False if GOOD_CHAIN may matter.

    matches[n] is 0. While a match of GOOD_MATCH bytes waits, zlib tries GOOD_CHAIN candidates; those within so many
    bytes are among them.
    """
    hidden = False
    for i in range(np.uint64(n)):
        here, there = matches[i], matches[i + _ONE]
        longer = (there >> _LENGTH) > (here >> _LENGTH)
        far = (there & np.uint32(_FARTHEST)) < np.uint32(_FARTHEST - GOOD_CHAIN)
        hidden |= longer and far and (here >> _LENGTH) >= np.uint32(GOOD_MATCH)
        steps[i] = 1 if longer or here == 0 else here >> _LENGTH
    return not hidden


@kernel
def _count(n, words, matches, steps, copies, counts):
    """Follows the steps from position 0, and counts their symbols without a branch."""
    copies[:, :] = 0
    i, copy = _ZERO, _ZERO
    while i < np.uint64(n):
        length = np.uint64(steps[i])
        literal = _ZERO - ((length - _TWO) >> np.uint64(63))  # all bits or none; a condition would become a branch
        symbol = length + np.uint64(256)
        symbol ^= (symbol ^ words[i] & np.uint64(255)) & literal
        distance = (np.uint64(matches[i]) | literal) & np.uint64(_FARTHEST)
        copies[copy, np.uint64(_SYMBOL[symbol])] += 1
        copies[copy, np.uint64(_FAR_SYMBOL[distance])] += 1
        copy = (copy + _ONE) & np.uint64(_COPIES - 1)
        i += length
    for s in range(SYMBOLS):
        counts[s] = copies[0, s] + copies[1, s] + copies[2, s] + copies[3, s]
    counts[END_OF_BLOCK] = 1
    counts[SYMBOLS - 1] = 0


@kernel
def parse_tokens(tokens, row, words, scratch, counts):
    """Counts the symbols of tokens[row]: uint16 or uint32, of 1 to MOST_TOKENS, whose words are given.

    Returns False, without counts, where it gives up.
    """
    low, high, keys, best, special, matches, steps, copies = scratch
    count = tokens.shape[1]
    if not _split(tokens, row, low, high):
        return False
    specials = _list_special(count, low, high, special)
    if specials > MOST_SPECIAL or not _compute_columns(count, low, high, keys, best):
        return False
    _place(count, best, matches)
    if not _add_shifted(words, count, low, high, special, specials, matches):
        return False
    if not _choose(4 * count, matches, steps):
        return False
    _count(4 * count, words, matches, steps, copies, counts)
    return True
