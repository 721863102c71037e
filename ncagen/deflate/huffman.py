"""Computes the exact number of bits that zlib's deflate needs for given symbol counts.

A deflate block (RFC 1951) holds literals, lengths and distances in one of three ways: stored, with the fixed code, or
with a dynamic code, whose code lengths are stored first, themselves run-length and Huffman coded. Every Huffman code of
given counts is equally short, but *which* symbol gets which length determines how well the lengths compress. So ties
must be resolved as in zlib's `trees.c`: a binary heap ordered by (count, depth), built and drained in zlib's order. The
rules are those of `build_tree`, `gen_bitlen`, `scan_tree`, `build_bl_tree` and `_tr_flush_block`, the same in every
zlib from 1.2.12 to 1.3.x.

Not covered: producing the bits, zlib's Z_FIXED and Z_HUFFMAN_ONLY strategies, level 0.
"""

import numpy as np

from ncagen.deflate.masks import BYTES, equal_to_next
from ncagen.kernels import inlined, kernel, trailing_zeros

LITERALS = 286  # literals 0..255, end of block 256, lengths 257..285
DISTANCES = 30
DISTANCE = 288  # where the distance symbols start in an array of counts
SYMBOLS = DISTANCE + 32  # entries of an array of counts
END_OF_BLOCK = 256

# Heap entries are count << 15 | depth << 10 | node. A block has at most 16384 symbols, so a count has 15 bits and a
# tree is at most 21 deep (Fibonacci counts are the worst); there are at most 2 * 286 - 1 nodes.
_COUNT = 15
_NODE = np.uint32(1023)
_DEPTH = np.uint32(31 << 10)
_NONE = np.uint32(0xFFFFFFFF)
_ONE = np.uint64(1)  # an unsigned index is not checked for being negative


def _symbol_tables():
    """RFC 1951, 3.2.5 and 3.2.6: extra bits and fixed code lengths, laid out as an array of counts."""
    extra = np.zeros(SYMBOLS, np.int32)
    fixed = np.zeros(SYMBOLS, np.int32)
    for code in range(8, 28):
        extra[257 + code] = code // 4 - 1
    for code in range(4, DISTANCES):
        extra[DISTANCE + code] = code // 2 - 1
    fixed[:144], fixed[144:256], fixed[256:280], fixed[280:LITERALS] = 8, 9, 7, 8
    fixed[DISTANCE : DISTANCE + DISTANCES] = 5
    return extra, fixed


EXTRA_BITS, FIXED_BITS = _symbol_tables()
_LENGTHS_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)


def tree_scratch():
    """Makes one thread's arrays: heap, merged nodes, code lengths, runs, codes per length, copies of the runs."""
    return (
        np.zeros(1024, np.uint32),
        np.zeros(1024, np.int16),
        np.zeros(1024, np.uint8),
        np.zeros(32, np.int32),
        np.zeros(64, np.int64),
        np.zeros((4, 16), np.int32),
    )


@inlined
def _sift(heap, k, levels):
    """`pqdownheap`: restores the heap below k, which has `levels` levels, without a branch.

    Slots past the end hold _NONE. Once the entry is in its slot, the loop carries the entries below it instead; they
    return to their slots, because they are already in order.
    """
    k = np.uint64(k)
    entry = heap[k]
    for _ in range(levels):
        left = k + k
        a, b = heap[left], heap[left + _ONE]
        right = b <= (a | _NODE)
        child = b if right else a
        stop = entry <= (child | _NODE)
        heap[k] = entry if stop else child
        entry = child if stop else entry
        k = left + np.uint64(right)
    heap[k] = entry


@kernel
def _fill_heap(counts, first, size, heap):
    """Lists the symbols that occur, for a heap. Returns (how many, highest symbol, how many were added)."""
    used, made_up = 0, 0
    for s in range(size):
        count = counts[(first + s) & 511]
        heap[(used + 1) & 1023] = np.uint32(count << _COUNT | s)
        used += count != 0
    top = np.int64(heap[used & 1023] & _NODE) if used > 0 else -1
    while used < 2:  # the format needs at least two codes; bits of the added ones are not counted
        symbol = 0
        if top < 2:
            top += 1
            symbol = top
        used += 1
        made_up += 1
        heap[used] = np.uint32(1 << _COUNT | symbol)
    return used, top, made_up


@kernel
def _merge(heap, used, size, merged):
    """Joins the two rarest subtrees until one is left. Returns (nodes merged, bits all symbols take).

    merged gets zlib's order: the two children of node `size`, then those of `size` + 1, and so on.
    """
    levels = 0
    while used >> (levels + 1) != 0:
        levels += 1
    for k in range(used + 1, 2 << levels):
        heap[k & 1023] = _NONE
    for k in range(used // 2, 0, -1):
        below = levels
        while k >> (levels - below + 1) != 0:
            below -= 1
        _sift(heap, k, below)
    bits, nodes = 0, 0
    while used >= 2:
        a = heap[1]
        heap[1] = heap[used & 1023]
        heap[used & 1023] = _NONE
        used -= 1
        levels -= used >> levels == 0
        _sift(heap, 1, levels)
        b = heap[1]
        merged[nodes & 1023], merged[(nodes + 1) & 1023] = a & _NODE, b & _NODE
        count = (a >> np.uint32(_COUNT)) + (b >> np.uint32(_COUNT))
        bits += count
        depth = max(a & _DEPTH, b & _DEPTH) + np.uint32(1024)
        heap[1] = np.uint32(count << _COUNT | depth | (size + nodes // 2))
        nodes += 2
        _sift(heap, 1, levels)
    return nodes, bits


@kernel
def _limit(counts, first, size, longest, merged, nodes, lengths, of_length):
    """`gen_bitlen` where a code would be longer than allowed. Returns the bits all symbols take."""
    for n in range(longest + 1):
        of_length[n] = 0
    overflow = 0
    for j in range(nodes - 1, -1, -1):
        length = lengths[(size + (j >> 1)) & 1023] + 1
        if length > longest:
            length = longest
            overflow += 1
        lengths[merged[j]] = length
        if merged[j] < size:
            of_length[length] += 1
    while overflow > 0:  # a leaf moves down and one that is too deep becomes its sibling
        length = longest - 1
        while of_length[length] == 0:
            length -= 1
        of_length[length] -= 1
        of_length[length + 1] += 2
        of_length[longest] -= 1
        overflow -= 2
    bits = 0
    length = longest
    for j in range(nodes):  # the rarest symbols get the longest codes
        if merged[j] < size:
            while of_length[length] == 0:
                length -= 1
            of_length[length] -= 1
            lengths[merged[j]] = length
            bits += counts[first + merged[j]] * length
    return bits


@kernel
def code_lengths(counts, first, size, longest, scratch):
    """Gives counts[first : first + size] their code lengths. Returns (highest symbol, bits all symbols take).

    The lengths are left in scratch[2]; extra bits are not counted.
    """
    heap, merged, lengths, _, of_length, _ = scratch
    for s in range(LITERALS):
        lengths[s] = 0
    used, top, made_up = _fill_heap(counts, first, size, heap)
    nodes, bits = _merge(heap, used, size, merged)
    deepest = 0
    lengths[(size + (nodes >> 1) - 1) & 1023] = 0  # the root
    for j in range(nodes - 1, -1, -1):
        length = lengths[(size + (j >> 1)) & 1023] + 1
        lengths[merged[j] & 1023] = length
        deepest = max(deepest, length)
    if deepest > longest:  # then no symbol was added
        return top, _limit(counts, first, size, longest, merged, nodes, lengths, of_length)
    return top, bits - made_up


@inlined
def _repeat(length, run, runs):
    """Replaces a run of three or more equal lengths, each counted as itself, by the symbols that repeat a length."""
    if length == 0:
        runs[0] -= run
        runs[18] += run // 138
        left = run % 138
        if left > 10:
            runs[18] += 1
        elif left > 2:
            runs[17] += 1
        else:
            runs[0] += left
    else:
        left = run - 1  # the length itself comes first, then repeats of 3..6
        runs[length] -= left
        runs[16] += left // 6
        left %= 6
        if left > 2:
            runs[16] += 1
        else:
            runs[length] += left


@kernel
def _count_runs(lengths, top, runs, copies):
    """`scan_tree`: counts the symbols (0..15 a length, 16..18 repeats) that describe lengths[0..top].

    First every length is counted as itself, in several copies: a processor waits for a count that was written a few
    cycles ago. Most lengths are no run of three; the runs are found from masks of equal neighbours.
    """
    lengths[top + 1], lengths[top + 2] = 254, 255  # end every run
    copies[:, :] = 0
    for s in range(np.uint64(top + 1)):
        copies[s & np.uint64(3), np.uint64(lengths[s])] += 1
    for length in range(16):
        runs[length] += copies[0, length] + copies[1, length] + copies[2, length] + copies[3, length]
    last = np.uint64(0)  # whether the length before this block equals its first one
    for block in range(0, top + 1, BYTES):
        same = equal_to_next(lengths, np.uint64(block))
        starts = same & equal_to_next(lengths, np.uint64(block + 1)) & ~(same << _ONE | last)
        last = same >> np.uint64(63)
        while starts != 0:
            s = block + trailing_zeros(starts)
            starts &= starts - _ONE
            if s > top:  # what stands after the two that end every run means nothing
                break
            end = s + 1 + trailing_zeros(~(same >> np.uint64(s - block)))
            while end >= block + BYTES and lengths[end] == lengths[s]:
                end += 1
            _repeat(lengths[s], end - s, runs)


@kernel
def dynamic_bits(counts, scratch):
    """Counts the bits of a block's symbols and trees with a dynamic code, without extra bits and the first three."""
    lengths, runs, copies = scratch[2], scratch[3], scratch[5]
    for s in range(19):
        runs[s] = 0
    top, bits = code_lengths(counts, 0, LITERALS, 15, scratch)
    _count_runs(lengths, top, runs, copies)
    top, more = code_lengths(counts, DISTANCE, DISTANCES, 15, scratch)
    bits += more
    _count_runs(lengths, top, runs, copies)
    _, more = code_lengths(runs, 0, 19, 7, scratch)
    bits += more + 2 * runs[16] + 3 * runs[17] + 7 * runs[18]
    last = 18
    while last >= 3 and lengths[_LENGTHS_ORDER[last]] == 0:
        last -= 1
    return bits + 3 * (last + 1) + 14


@kernel
def extra_and_fixed_bits(counts):
    """(extra bits, bits of everything under the fixed code) of a block with these counts."""
    extra, fixed = np.int32(0), np.int32(0)
    for s in range(SYMBOLS):
        extra += np.int32(counts[s] * EXTRA_BITS[s])
        fixed += np.int32(counts[s] * FIXED_BITS[s])
    return np.int64(extra), np.int64(extra + fixed)


@kernel
def after_block(counts, stored, at, scratch):
    """`_tr_flush_block`: the bit after a block of `stored` bytes that starts at bit `at`.

    counts int32[SYMBOLS] includes the end of the block. A block that is stored never has more than 27,305
    bytes, so that neither zlib's limit of 65,535 nor its window (stored bytes must still be in it) needs a
    rule here: in the fixed code a literal has at most 1 bit more than stored, and a match at least 2 bits
    less (the longer, the less), so storing wins only if literals outnumber matches 2 to 1, among at most
    16,383 symbols.
    """
    extra, fixed = extra_and_fixed_bits(counts)
    dynamic = extra + dynamic_bits(counts, scratch)
    fixed_bytes, dynamic_bytes = (fixed + 10) >> 3, (dynamic + 10) >> 3
    if stored + 4 <= min(fixed_bytes, dynamic_bytes):
        return ((at + 10) & -8) + 32 + 8 * stored
    return at + 3 + (fixed if fixed_bytes <= dynamic_bytes else dynamic)


@kernel
def stream_bits(counts, ends, blocks, scratch):
    """Bits of a whole deflate stream: counts int32[block, SYMBOLS], ends int64[block] in bytes."""
    at, start = 0, 0
    for block in range(blocks):
        at = after_block(counts[block], ends[block] - start, at, scratch)
        start = ends[block]
    return at
