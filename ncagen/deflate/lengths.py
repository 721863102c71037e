"""Computes the exact length of a row of data after gzip at level 9, without any zlib.

The length is that of madler's zlib (1.2.12 to 1.3.x; memLevel 8, 32 KB window), which compressed the published data.
zlib-ng, libdeflate and others compress differently, so Python's zlib gives another length where it is built on one of
them. In a gzip member (RFC 1952) of 10 + 8 bytes around the deflate stream, this is `len(zlib.compress(data, 9)) + 12`.

`lz77.py` finds the matches, `token_parse.py` those of most rows of tokens, `huffman.py` counts the bits. Every function
here may be called from several threads at once; the kernels release the GIL. Not covered: the compressed bytes, other
levels.
"""

import threading

import numpy as np

from ncagen.deflate import huffman, lz77, token_parse
from ncagen.kernels import inlined, kernel

OVERHEAD = 18  # bytes of a gzip header and trailer

_thread = threading.local()


@kernel
def _long_bits(data, head, prev, counts, ends, trees):
    blocks = lz77.parse_faithful(data, head, prev, counts, ends)
    return huffman.stream_bits(counts, ends, blocks, trees)


@kernel
def _short_length(counts, n, at_least, trees):
    """Computes the gzip length of n <= SHORT bytes from their counts of symbols, or 0 if it is proven below at_least.

    Let m be the bytes of the block with the shorter of the fixed and the dynamic code. deflate needs m bytes, or n + 5
    if n + 4 <= m. That never falls as m grows, and m is at most the size with the fixed code, which therefore bounds
    the length before any tree is built.
    """
    if at_least > 0:
        _, fixed = huffman.extra_and_fixed_bits(counts)
        most = (fixed + 10) >> 3
        if OVERHEAD + (n + 5 if n + 4 <= most else most) < at_least:
            return 0
    return OVERHEAD + ((huffman.after_block(counts, n, 0, trees) + 7) >> 3)


@inlined
def _four_words(words, at, first, second, third):
    """Writes the words that start within one token, from it and the two after it."""
    both = np.uint64(first) | np.uint64(second) << np.uint64(32)
    words[at] = both
    words[at + np.uint64(1)] = both >> np.uint64(8) | np.uint64(third) << np.uint64(56)
    words[at + np.uint64(2)] = both >> np.uint64(16) | np.uint64(third) << np.uint64(48)
    words[at + np.uint64(3)] = both >> np.uint64(24) | np.uint64(third) << np.uint64(40)


@kernel
def _words_of_tokens(tokens, row, words):
    """Writes the bytes of tokens[row] as little-endian int32, in the form of `lz77.words_of_bytes`."""
    count = np.uint64(tokens.shape[1])
    if count > np.uint64(1):
        for t in range(np.uint64(0), count - np.uint64(2)):
            at = np.uint64(4) * t
            _four_words(words, at, tokens[row, t], tokens[row, t + np.uint64(1)], tokens[row, t + np.uint64(2)])
        at = np.uint64(4) * count - np.uint64(8)
        _four_words(words, at, tokens[row, count - np.uint64(2)], tokens[row, count - np.uint64(1)], 0)
    if count > np.uint64(0):
        _four_words(words, np.uint64(4) * count - np.uint64(4), tokens[row, count - np.uint64(1)], 0, 0)


@kernel
def _score_tokens(tokens, at_least, out, words, links, heads, counts, token_scratch, trees):
    n = 4 * tokens.shape[1]
    fits = 0 < n <= 4 * token_parse.MOST_TOKENS
    for row in range(len(tokens)):
        _words_of_tokens(tokens, row, words)
        if not fits or not token_parse.parse_tokens(tokens, row, words, token_scratch, counts):
            lz77.parse_short(words, n, links, heads, counts)
        out[row] = _short_length(counts, n, at_least, trees)


@kernel
def _score_bytes(data, out, words, links, heads, counts, trees):
    for row in range(len(data)):
        lz77.words_of_bytes(data[row], words)
        lz77.parse_short(words, data.shape[1], links, heads, counts)
        out[row] = _short_length(counts, data.shape[1], 0, trees)


def defined_length(data):
    """Returns the gzip length in bytes of data uint8[byte], of any length, by `lz77.parse_faithful`.

    That parser follows zlib step by step. Short rows are scored by a faster one, which gives the same lengths.
    """
    blocks = len(data) // lz77.BLOCK + 1
    head, prev = np.zeros(lz77.WINDOW, np.int32), np.zeros(lz77.WINDOW, np.int32)
    counts, ends = np.zeros((blocks, huffman.SYMBOLS), np.int32), np.zeros(blocks, np.int64)
    bits = _long_bits(data, head, prev, counts, ends, huffman.tree_scratch())
    return OVERHEAD + (bits + 7) // 8


def gzip_length(data):
    """Returns the gzip length in bytes (int) of any bytes-like `data`, of any length."""
    return int(_lengths(np.frombuffer(data, np.uint8)[np.newaxis])[0])


def gzip_lengths(rows):
    """Returns int32[row], the gzip length in bytes of each row of `rows`.

    rows: integers of any width [row, item], whose little-endian bytes are scored, item by item.
    Raises ValueError if rows is not a two-dimensional, C-contiguous array of integers.
    """
    rows = np.asarray(rows)
    if rows.dtype.kind not in "iu":
        raise ValueError(f"rows must be integers, not {rows.dtype}: use rows.astype(...) or rows.view(...) first")
    if rows.ndim != 2:
        raise ValueError(f"rows must have two axes [row, item], not the shape {rows.shape}")
    if not rows.flags.c_contiguous:
        raise ValueError("rows must be C-contiguous: use np.ascontiguousarray(rows) first")
    little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
    return _lengths(np.ndarray((len(rows), rows.shape[1] * rows.itemsize), np.uint8, little))


def _lengths(data):
    """Returns int32[row], the gzip lengths in bytes of data uint8[row, byte]."""
    data = np.require(data, requirements="W")  # numba would compile again for the type of read-only arrays
    if data.shape[1] > lz77.SHORT:
        return np.array([defined_length(row) for row in data], np.int32)
    out = np.empty(len(data), np.int32)
    _score_bytes(data, out, *lz77.short_scratch(), huffman.tree_scratch())
    return out


def _token_scratch(tokens):
    """Returns the arrays to score rows of so many tokens: one set for each thread, for the length that it had last."""
    if getattr(_thread, "tokens", None) != tokens:
        _thread.scratch = *lz77.short_scratch(), token_parse.token_scratch(), huffman.tree_scratch()
        _thread.tokens = tokens
    return _thread.scratch


def token_gzip_lengths(tokens, at_least=0, out=None):
    """Returns int32[row], the gzip length in bytes of each row of tokens, stored as little-endian int32.

    tokens: uint16 or uint32 [row, token], C-contiguous, below 2**31 if an int32 is to hold them.
    at_least: if positive, a row may get 0 in place of its length, where that is proven to be less.
    out: int32[row] to write to and return, or None for a new array.
    Raises ValueError for any other tokens or out.
    """
    if tokens.ndim != 2 or tokens.dtype not in (np.uint16, np.uint32) or not tokens.flags.c_contiguous:
        raise ValueError(
            f"tokens must be a C-contiguous uint16 or uint32 [row, token], not {tokens.dtype} {tokens.shape}"
        )
    if out is None:
        out = np.empty(len(tokens), np.int32)
    elif out.shape != (len(tokens),) or out.dtype != np.int32 or not out.flags.c_contiguous:
        raise ValueError(f"out must be a C-contiguous int32 of shape ({len(tokens)},), not {out.dtype} {out.shape}")
    tokens = np.require(tokens, requirements="W")  # as above
    if 4 * tokens.shape[1] <= lz77.SHORT:
        _score_tokens(tokens, at_least, out, *_token_scratch(tokens.shape[1]))
        return out
    for row in range(len(tokens)):
        out[row] = defined_length(tokens[row].astype("<u4").view(np.uint8))
    return out
