"""Compares the gzip lengths that this machine computes with known ones: a part of every source's self-check."""

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths

AGAIN = "or delete the __pycache__ folders of ncagen and install ncagen[build] anew"

# Alphabets of the known tokens, and their lengths by madler's zlib at level 9, which tests/test_selfcheck.py computes.
ALPHABETS = (1, 2, 3, 10, 100, 1000, 10_000, 60_000)
KNOWN_TOKENS = 360
KNOWN_LENGTHS = (32, 104, 155, 227, 348, 527, 635, 691)


def known_lengths(dtype: str) -> bool:
    """Whether the known tokens have their lengths. dtype: uint16 or uint32, that of the rows to be scored."""
    return np.array_equal(token_gzip_lengths(known_tokens().astype(dtype)), KNOWN_LENGTHS)


def known_tokens() -> np.ndarray:
    """Returns a row of tokens for each alphabet: uint16[row, token]. The second half mostly repeats the first."""
    numbers = np.arange(len(ALPHABETS), dtype=np.uint64)
    words = philox.words(0, philox.STREAMS["pilot"], philox.START_CELLS, numbers, KNOWN_TOKENS)
    known = words % np.array(ALPHABETS, np.uint16)[:, None]
    half = KNOWN_TOKENS // 2
    known[:, half:] = np.where(words[:, half:] % 8 == 0, known[:, half:], known[:, :half])
    return known
