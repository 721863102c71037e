"""The exact length of what gzip makes of a row at level 9, without zlib."""

import numba as nb
import numpy as np

from . import huffman, lz77

OVERHEAD = 18


@nb.njit(nogil=True, cache=True)
def _long_bits(data, head, prev, counts, ends, trees):
    return huffman.stream_bits(counts, ends, lz77.parse_faithful(data, head, prev, counts, ends), trees)


@huffman.jit
def _words_of_tokens(tokens, words):
    word = np.uint64(0)
    for t in range(len(tokens) - 1, -1, -1):
        token = np.uint64(tokens[t])
        i = 4 * t
        words[i + 3] = word << np.uint64(8) | token >> np.uint64(24)
        words[i + 2] = word << np.uint64(16) | token >> np.uint64(16)
        words[i + 1] = word << np.uint64(24) | token >> np.uint64(8)
        word = word << np.uint64(32) | token
        words[i] = word


@huffman.jit
def _short_bits(words, n, links, heads3, heads4, counts, trees):
    if not lz77.parse_short(words, n, links, heads3, heads4, counts):
        return -1
    return huffman.after_block(counts, n, 0, trees)


@nb.njit(nogil=True, cache=True)
def _tok(tokens, out, scratch, trees):
    words, links, heads3, heads4, counts = scratch
    n = 4 * tokens.shape[1]
    for r in range(len(tokens)):
        _words_of_tokens(tokens[r], words)
        out[r] = 18 + ((_short_bits(words, n, links, heads3, heads4, counts, trees) + 7) >> 3)


def long_length(data):
    data = np.frombuffer(data, np.uint8)
    n = len(data)
    blocks = n // lz77.BLOCK + 1
    head, prev = np.zeros(32768, np.int32), np.zeros(32768, np.int32)
    counts, ends = np.zeros((blocks, 320), np.int32), np.zeros(blocks, np.int64)
    return 18 + (_long_bits(data, head, prev, counts, ends, huffman.tree_scratch()) + 7) // 8
