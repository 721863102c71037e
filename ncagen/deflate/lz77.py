"""Finds the matches of zlib's deflate at level 9, as counts of literals, lengths and distances.

`parse_faithful` follows `deflate_slow` and `longest_match` of zlib's `deflate.c` step by step, for any length; it is
the definition. `parse_short` finds the same matches for inputs of up to SHORT bytes in another way: for them none of
zlib's limits applies except GOOD_CHAIN, so a match is the nearest of the longest, among the positions that zlib tries.

Not covered: other levels and strategies, preset dictionaries, flushes, memLevel other than 8, windows other than 32 KB.
"""

import numpy as np

from ncagen.deflate.huffman import DISTANCE, END_OF_BLOCK, SYMBOLS
from ncagen.kernels import inlined, kernel, trailing_zeros

MIN_MATCH, MAX_MATCH = 3, 258
WINDOW = 32768
MAX_DISTANCE = WINDOW - (MAX_MATCH + MIN_MATCH + 1)
TOO_FAR = 4096  # a match of three bytes at a greater distance is not used
CHAIN = 4096  # candidates that level 9 tries
GOOD_MATCH, GOOD_CHAIN = 32, 1024  # the same, once a match of GOOD_MATCH bytes waits
BLOCK = 16383  # symbols that close a block: lit_bufsize - 1 at memLevel 8
SHORT = 4096  # up to here, chains have at most CHAIN candidates and no match is TOO_FAR

_BITS3, _BITS4, _BITS8 = 12, 13, 14  # of the hash tables of parse_short
_LOW3 = np.uint64(0xFFFFFF)
_HASH8 = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio, Knuth's factor of multiplicative hashing
_HASH3, _HASH4 = _HASH8 << np.uint64(40), _HASH8 << np.uint64(32)  # of the three and four lowest bytes only
_EIGHT = np.uint64(8)
_BYTE, _HASH = np.uint64(255), np.uint64(WINDOW - 1)
_INDEX = SHORT * 2 - 1  # changes no index in use; tells the compiler that it is not negative


def _tables():
    """RFC 1951, 3.2.5: the symbol of a length; that of a distance d, at d - 1 or 256 + (d - 1) // 128."""
    length_symbol = np.zeros(MAX_MATCH + 1, np.int16)
    start = MIN_MATCH
    for code in range(28):
        width = 1 << max(code // 4 - 1, 0)
        length_symbol[start : start + width] = 257 + code
        start += width
    length_symbol[MAX_MATCH] = 285
    distance_symbol = np.zeros(512, np.int16)
    start = 0
    for code in range(30):
        width = 1 << max(code // 2 - 1, 0)
        for d in range(start, start + width, 1 if start < 256 else 128):
            distance_symbol[d if d < 256 else 256 + d // 128] = DISTANCE + code
        start += width
    return length_symbol, distance_symbol


LENGTH_SYMBOL, DISTANCE_SYMBOL = _tables()


@inlined
def _count_match(counts, length, distance):
    d = distance - 1
    counts[LENGTH_SYMBOL[length & 511]] += 1
    counts[DISTANCE_SYMBOL[(d if d < 256 else 256 + (d >> 7)) & 511]] += 1


# --------------------------------------------------------------------------------------------- the definition


@kernel
def _insert(data, i, head, prev):
    """`INSERT_STRING`: puts position i at the head of its chain. Returns the position that was there."""
    h = (np.int64(data[i]) << 10 ^ np.int64(data[i + 1]) << 5 ^ np.int64(data[i + 2])) & (WINDOW - 1)
    candidate = head[h]
    prev[i & (WINDOW - 1)] = candidate
    head[h] = i
    return candidate


@kernel
def _common(data, a, b, most):
    """How many bytes at a and b agree, at most `most`."""
    length = 0
    while length < most and data[a + length] == data[b + length]:
        length += 1
    return length


@kernel
def _longest_match(data, i, candidate, prev, best):
    """`longest_match`: (length, position) of a match at i longer than `best`, else (best, -1)."""
    source = -1
    most = min(MAX_MATCH, len(data) - i)
    chain = GOOD_CHAIN if best >= GOOD_MATCH else CHAIN
    limit = max(i - MAX_DISTANCE, 0)
    while best < most:
        if data[candidate + best] == data[i + best]:
            length = _common(data, candidate, i, most)
            if length > best:
                best, source = length, candidate
        candidate = prev[candidate & (WINDOW - 1)]
        chain -= 1
        if candidate <= limit or chain == 0:  # so only the first candidate can be exactly MAX_DISTANCE away
            break
    return best, source


@kernel
def parse_faithful(data, head, prev, counts, ends):
    """Counts the symbols of each block of data uint8[byte]. Returns the number of blocks.

    head and prev are int32[WINDOW] scratch, counts int32[block, SYMBOLS] and ends int64[block] the result, with room
    for len(data) // BLOCK + 1 blocks: each one's symbols, and the position after its last byte.

    Positions here count from the start of the data; in zlib, from the start of a window of 64 KB that slides by 32 KB.
    The matches are the same: position 0 means "none" in both, and the position that becomes zlib's next 0 is by then
    (`strstart` >= 32,507 after the slide) more than MAX_DISTANCE away, as is all data that slides out of the window.
    """
    n = len(data)
    for h in range(WINDOW):
        head[h] = 0
    counts[:, :] = 0
    block, symbols = 0, 0
    length, source = MIN_MATCH - 1, 0
    pending = False  # whether data[i - 1] is not yet a literal or the start of a match
    i = 0
    while i < n:
        previous_length, previous_source = length, source
        candidate = _insert(data, i, head, prev) if n - i >= MIN_MATCH else 0
        length = MIN_MATCH - 1
        if candidate != 0 and previous_length < MAX_MATCH and i - candidate <= MAX_DISTANCE:
            length, source = _longest_match(data, i, candidate, prev, previous_length)
            if length == MIN_MATCH and i - source > TOO_FAR:
                length = MIN_MATCH - 1
        if previous_length >= MIN_MATCH and length <= previous_length:
            _count_match(counts[block], previous_length, i - 1 - previous_source)
            symbols += 1
            after = i - 1 + previous_length
            for j in range(i + 1, min(after, n - MIN_MATCH + 1)):
                _insert(data, j, head, prev)
            i = after
            pending = False
            length = MIN_MATCH - 1
        else:
            if pending:
                counts[block, data[i - 1]] += 1
                symbols += 1
            pending = True
            if symbols < BLOCK:
                i += 1
        if symbols == BLOCK:  # the pending literal belongs to the next block
            counts[block, END_OF_BLOCK] = 1
            ends[block] = i
            block += 1
            symbols = 0
            i += pending
    if pending:
        counts[block, data[n - 1]] += 1
    counts[block, END_OF_BLOCK] = 1
    ends[block] = n
    return block + 1


# --------------------------------------------------------------------------------------------- short and fast


@kernel
def words_of_bytes(data, words):
    """words[i] = the 8 bytes of data uint8[byte] from i on, little-endian, zeros after the end."""
    word = np.uint64(0)
    for i in range(len(data) - 1, -1, -1):
        word = word << _EIGHT | np.uint64(data[i])
        words[i] = word


@inlined
def _link(words, n, links, heads, factor, shift):
    """Links each position to the last one before it whose word * factor >> shift is the same, or to 0 without one."""
    heads[:] = 0
    for i in range(np.uint64(1), np.uint64(n)):  # 0 means "none" in zlib too, so no match is found at position 0
        hashed = words[i] * factor >> shift
        links[i] = heads[hashed]
        heads[hashed] = i


@kernel
def _link_all(words, n, links, heads):
    """Links positions whose first 3, 4 or 8 bytes hash alike; those without as many bytes are linked to 0."""
    for i in range(max(n - 7, 0), n):
        links[0][i], links[1][i], links[2][i] = 0, 0, 0
    _link(words, max(n - 2, 1), links[0], heads[0], _HASH3, np.uint64(64 - _BITS3))
    _link(words, max(n - 3, 1), links[1], heads[1], _HASH4, np.uint64(64 - _BITS4))
    _link(words, max(n - 7, 1), links[2], heads[2], _HASH8, np.uint64(64 - _BITS8))


@inlined
def extent(words, a, b, most):
    """How many bytes at a and b agree, at most `most`."""
    length = 0
    while length < most:
        differ = words[(a + length) & _INDEX] ^ words[(b + length) & _INDEX]
        if differ != 0:
            length += trailing_zeros(differ) >> 3
            break
        length += 8
    return min(length, most)


@inlined
def _next(links, i):
    return np.int64(links[i & _INDEX])


@inlined
def _same_eight(words, links8, i):
    """The nearest position before i whose eight bytes are those at i, or 0."""
    here = words[i & _INDEX]
    c = _next(links8, i)
    while c != 0 and words[c & _INDEX] != here:
        c = _next(links8, c)
    return c


@inlined
def _of_three_to_seven(words, links, i, most, best):
    """`_longest` where no position before i has its eight bytes: one comparison tells how many are the same."""
    source = 0
    here = words[i & _INDEX]
    bits = max(best * 8 + 7, 31)
    c = _next(links[1], i)
    while c != 0:
        same = trailing_zeros(words[c & _INDEX] ^ here)
        if same > bits:
            best, source = min(same >> 3, most), c
            bits = best * 8 + 7
            if best >= min(most, 7):
                return best, source
        c = _next(links[1], c)
    if best < 3:
        c = _next(links[0], i)
        while c != 0:
            if (words[c & _INDEX] ^ here) & _LOW3 == 0:
                return 3, c
            c = _next(links[0], c)
    return best, source


@inlined
def _of_eight_or_more(words, links8, i, most, best, source, first):
    """`_longest` for best >= 7, or (best, source) if there is no longer match.

    A longer match has bytes best - 7 to best of i. Candidates are the positions with these bytes, not those with the
    first eight bytes of i, which in a run of zeros are nearly all positions of every such run.
    """
    here = words[i & _INDEX]
    skip = best - 7
    end = words[(i + skip) & _INDEX]
    p = _next(links8, i + skip)
    while p >= first + skip:
        c = p - skip
        if (words[c & _INDEX] ^ here) | (words[p & _INDEX] ^ end) == 0:
            length = extent(words, c, i, most)
            if length > best:
                best, source = length, c
                if best >= most:
                    break
                skip = best - 7
                end = words[(i + skip) & _INDEX]
                p = i + skip
        p = _next(links8, p)
    return best, source


@inlined
def _longest(words, links, i, most, best, first):
    """(length, position) of the nearest longest match of more than `best` bytes at i; best < most.

    It starts at `first` or later. first is at least 1, and 1 for best < 7.
    """
    source = 0
    if best < 7:
        source = _same_eight(words, links[2], i)
        if source == 0:
            return _of_three_to_seven(words, links, i, most, best)
        best = extent(words, source, i, most)
        if best >= most:
            return best, source
    return _of_eight_or_more(words, links[2], i, most, best, source, first)


@kernel
def _zlib_hash(word):
    """`UPDATE_HASH` over the three lowest bytes of word."""
    word &= _LOW3
    return (word << np.uint64(10) ^ word >> _EIGHT << np.uint64(5) ^ word >> np.uint64(16)) & _HASH


@kernel
def _first_tried(words, i):
    """The first of the GOOD_CHAIN positions nearest before i that share its hash in zlib; 1 if there are fewer."""
    h = _zlib_hash(words[i])
    members = 0
    for c in range(1, i):
        members += _zlib_hash(words[c]) == h
    c = 1
    while members > GOOD_CHAIN:
        members -= _zlib_hash(words[c]) == h
        c += 1
    return c


@kernel
def _longest_tried(words, links, i, most, best):
    """The same as `_longest`, among the positions that zlib tries while a match of GOOD_MATCH bytes waits."""
    return _longest(words, links, i, most, best, _first_tried(words, i))


@kernel
def parse_short(words, n, links, heads, counts):
    """Counts the symbols of the only block of n <= SHORT bytes in words uint64[byte]."""
    _link_all(words, n, links, heads)
    for s in range(SYMBOLS):
        counts[s] = 0
    counts[END_OF_BLOCK] = 1
    i = 0
    while i < n:
        length, source = _longest(words, links, i, min(MAX_MATCH, n - i), MIN_MATCH - 1, 1)
        if length < MIN_MATCH:
            counts[words[i & _INDEX] & _BYTE] += 1
            i += 1
            continue
        most = min(MAX_MATCH, n - i - 1)
        while length < most:  # lazily: a longer match at the next byte wins
            longer, elsewhere = _longest(words, links, i + 1, most, length, 1)
            if length >= GOOD_MATCH and i + 1 - elsewhere > GOOD_CHAIN and longer > length:
                longer, elsewhere = _longest_tried(words, links, i + 1, most, length)
            if longer <= length:
                break
            counts[words[i & _INDEX] & _BYTE] += 1
            i += 1
            length, source = longer, elsewhere
            most = min(MAX_MATCH, n - i - 1)
        _count_match(counts, length, i - source)
        i += length


def short_scratch():
    """Makes the arrays that one thread needs to parse short inputs: words, links, heads, counts."""
    return (
        np.zeros(2 * SHORT, np.uint64),
        tuple(np.zeros(2 * SHORT, np.uint16) for _ in range(3)),
        tuple(np.zeros(1 << bits, np.uint16) for bits in (_BITS3, _BITS4, _BITS8)),
        np.zeros(SYMBOLS, np.int32),
    )
