"""Compares the parse of rows of tokens with that of their bytes, and with a search of every longest match.

Not covered: lengths of whole rows of each source (`test_score_of_sources.py`).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from ncagen.deflate import lz77, token_parse

# Tokens with and without zero bytes, whose bytes occur in each other's places.
SOME = [0, 1, 5, 255, 256, 257, 0x0500, 0x0105, 0x0501, 0x0505, 0xFF00, 0xFFFF, 9999]
ROWS = st.lists(st.sampled_from(SOME), min_size=1, max_size=90)
REPEATED = st.tuples(ROWS, st.integers(0, 80), st.integers(1, 60)).map(lambda r: r[0] + r[0][r[1] :][: r[2]] + r[0][:9])


def parse_both(row: np.ndarray) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether parse_tokens gave no row up, and int32[SYMBOLS] twice: its counts, and those of parse_short."""
    words, links, heads, counts = lz77.short_scratch()
    lz77.words_of_bytes(row.astype("<u4").view(np.uint8), words)
    lz77.parse_short(words, 4 * len(row), links, heads, counts)
    found = np.full_like(counts, -1)
    scratch = token_parse.token_scratch()
    scratch[2][:] = scratch[3][:] = 65535  # what an earlier row may have left
    return token_parse.parse_tokens(row[np.newaxis], 0, words, scratch, found), found, counts


def compare(tokens: list[int] | np.ndarray) -> bool:
    done, found, counts = parse_both(np.array(tokens, np.uint16))
    if done:
        np.testing.assert_array_equal(found, counts)
    return done


@settings(max_examples=400, deadline=None)
@given(st.one_of(ROWS, REPEATED))
def test_any_row_has_the_symbols_of_its_bytes(tokens):
    compare(tokens)


@pytest.mark.parametrize("alphabet", [3, 40, 300, 3000, 65535])
def test_rows_without_zero_bytes_are_not_given_up(alphabet):
    rng = np.random.default_rng(alphabet)
    values = np.array([v for v in range(65536) if v % 256 and v >= 256])
    for count in (1, 2, 3, 31, 32, 33, 200, 360, token_parse.MOST_TOKENS):
        row = rng.choice(values[:alphabet], count)
        start, length = (int(v) for v in rng.integers(0, 1 + count // 3, 2))
        row[count - length :] = row[start : start + length][:length]
        assert compare(row) or length > 50 or alphabet == 3


def test_rows_with_some_zero_bytes_are_not_given_up():
    rng = np.random.default_rng(1)
    done = 0
    for _ in range(200):
        row = rng.integers(257, 60000, 360) | 1
        places = rng.integers(0, 360, 20)
        row[places] = rng.choice(SOME, 20)
        done += compare(row)
    assert done > 190


def test_every_longest_match():
    """Of the bytes 1 and on: the nearest of the longest earlier ones, between any two phases."""
    rng = np.random.default_rng(2)
    for _ in range(30):
        row = np.array(rng.choice(SOME, int(rng.integers(4, 60))), np.uint16)
        scratch = token_parse.token_scratch()
        words = lz77.short_scratch()[0]
        data = row.astype("<u4").tobytes()
        lz77.words_of_bytes(np.frombuffer(data, np.uint8), words)
        low, high, keys, best, special, matches, _, _ = scratch
        token_parse._split(row[np.newaxis], 0, low, high)
        specials = token_parse._list_special(len(row), low, high, special)
        if specials > token_parse.MOST_SPECIAL:
            continue
        token_parse._compute_columns(len(row), low, high, keys, best)
        token_parse._place(len(row), best, matches)
        if not token_parse._add_shifted(words, len(row), low, high, special, specials, matches):
            continue
        found = [(int(m) >> 12, 4095 - (int(m) & 4095)) if m else (0, 0) for m in matches[: len(data)]]
        assert found == [longest(data, i) for i in range(len(data))]


def longest(data: bytes, i: int) -> tuple[int, int]:
    """The length and the distance of the nearest longest match of three bytes or more at i, or zeros."""
    best = (0, 0)
    for source in range(i - 1, 0, -1):
        length = 0
        while i + length < len(data) and data[source + length] == data[i + length]:
            length += 1
        if length > max(best[0], 2):
            best = (length, i - source)
    return best


def test_rows_that_are_given_up():
    assert not parse_both(np.array([1, 70000, 3], np.uint32))[0]  # three bytes
    assert not compare(np.full(300, 257))  # a match of more than 258 bytes
    assert not compare(np.zeros(100))  # only zero bytes
    period = np.random.default_rng(3).integers(257, 9999, 300) | 1
    far = np.concatenate([[300, 301], period[:20], period, [302], period[:19]])
    compare(far)  # a match that GOOD_CHAIN may hide
