"""Rows of bracket words: kernels equal the definition, known words, exact distributions."""

import hashlib
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from ncagen import philox
from ncagen.sources.dyck import counts, definition, make, parse
from ncagen.sources.dyck.source import Dyck

KEY = 7, philox.STREAMS["train"]
FIRST = 2**40 - 3  # candidates whose numbers need both words


def dyck(seq_len: int = 64, **options) -> Dyck:
    return Dyck.from_options(options, seq_len)


def numbers(count: int) -> np.ndarray:
    return np.arange(FIRST, FIRST + count, dtype=np.uint64)


def words_of(source: Dyck, row: np.ndarray) -> list[tuple[int, ...]]:
    """The words of a row, without document ends."""
    ends = [-1, *np.flatnonzero(row == source.end).tolist()]
    return [tuple(row[begin + 1 : end].tolist()) for begin, end in pairwise(ends) if end > begin + 1]


SETTINGS = [
    {},
    {"shuffle": True},
    {"k": 1, "max_depth": 1},
    {"k": 5, "min_depth": 4, "max_depth": 6},
    {"k": 5, "min_depth": 4, "max_depth": 6, "shuffle": True},
    {"open_probability": "0.55", "length": 20},
    {"length": 30, "min_length": 8, "min_depth": 3, "max_depth": 4, "shuffle": True},
    {"ending": "cut"},
    {"ending": "cut", "shuffle": True, "min_depth": 9, "open_probability": "2/3"},
    {"uniform": True},
    {"uniform": True, "length": 26, "min_length": 20, "min_depth": 5},
    {"uniform": True, "shuffle": True, "max_depth": 8},
    {"uniform": True, "shuffle": True, "length": 12, "min_depth": 3, "max_depth": 5, "k": 3},
    {"k": 32_767, "length": 10},
    {"k": 3000, "length": 10, "shuffle": True, "max_depth": 3},
]


@pytest.mark.parametrize("seq_len", [64, 77])
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_kernels_equal_the_definition(options, seq_len):
    source = dyck(seq_len, **options)
    rows = make.rows(source, KEY, numbers(3))
    assert rows.dtype == np.uint16 and rows.shape == (3, seq_len + 1)
    assert np.array_equal(rows, definition.rows(source, KEY, numbers(3)))
    assert all(right.all() for right in parse.problems(source, rows).values())
    assert source.self_check()


@pytest.mark.parametrize(
    ("options", "sha256"),
    [
        ({}, "50b6c680c29325776e28f020a7960789464d024a514fb8d5f0be2c831ea4a813"),
        ({"shuffle": True}, "d040b1a04a349cee4364b3afea06989b149189e2131dab4e65aed34c59d63e2a"),
        ({"uniform": True, "length": 126}, "f0f5209075a401d39ad90c6dbfd5633e5ee1b7fa57faa3ad6610350b787e4428"),
        (
            {"uniform": True, "shuffle": True, "length": 126, "max_depth": 8},
            "f0d0069c614d50b1a0e894815b0ffa93ea687eff10bf794570b2a265e6bf7088",
        ),
        (
            {"ending": "cut", "open_probability": "0.51"},
            "f5125596980575df33d06392014e30f7d04b696c7f97aa486129d2f38e21fe99",
        ),
    ],
)
def test_rows_stay_what_they_are(options, sha256):
    rows = make.rows(dyck(1024, **options), (0, philox.STREAMS["train"]), np.arange(64, dtype=np.uint64))
    assert hashlib.sha256(rows.astype("<u2").tobytes()).hexdigest() == sha256


def test_a_row_does_not_depend_on_its_batch():
    source = dyck(shuffle=True)
    together = make.rows(source, KEY, numbers(9))
    assert np.array_equal(make.rows(source, KEY, numbers(9)[[4]]), together[[4]])


def test_a_row_by_hand():
    """k is 3: a type is word * 3 >> 16, and a bracket opens where both are possible if the word is below 2**15."""
    source = dyck(64, k=3, length=8, max_depth=2)
    first = numbers(1)
    moves, types = (philox.words(*KEY, kind, first, 65)[0].tolist() for kind in (0, 1))
    assert all(word * 3 % 2**16 >= 2**16 % 3 for word in types)
    expected, begin = [], 0
    while begin + 9 <= 65:
        stack = []
        for position in range(begin, begin + 8):
            left = begin + 8 - position
            if not stack or (len(stack) < 2 and left > len(stack) and moves[position] < 2**15):
                stack.append(types[position] * 3 >> 16)
                expected.append(stack[-1])
            else:
                expected.append(3 + stack.pop())
        expected.append(6)
        begin += 9
    assert begin == 63
    assert make.rows(source, KEY, first)[0].tolist() == [*expected, 6, 6]


def test_what_no_word_fits_in_is_filled():
    """65 tokens: two words of 24 with their ends, one of 14 with its end; with a least depth of 8 it does not fit."""
    row = make.rows(dyck(64, length=24), KEY, numbers(1))[0]
    assert np.flatnonzero(row == 128).tolist() == [24, 49, 64]
    row = make.rows(dyck(64, length=24, min_depth=8), KEY, numbers(1))[0]
    assert np.flatnonzero(row == 128).tolist() == [24, *range(49, 65)]
    assert make.rows(dyck(65), KEY, numbers(1))[0][-3:].tolist()[1:] == [128, 128]


def test_lengths_are_drawn_between_both_limits():
    source = dyck(1024, length=10, min_length=6)
    lengths = Counter(len(word) for row in make.rows(source, KEY, numbers(40)) for word in words_of(source, row)[:-1])
    assert set(lengths) == {6, 8, 10}
    assert min(lengths.values()) > 0.9 * max(lengths.values())


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_type_is_opened_and_closed(shuffle):
    rows = make.rows(dyck(1024, shuffle=shuffle), KEY, numbers(40))
    used = np.bincount(rows.ravel(), minlength=129)
    assert used[:64].tolist() == used[64:128].tolist()
    assert used[:64].min() > 0.8 * used[:64].mean()


def chi_square(found: Counter, expected: dict) -> bool:
    """Whether counts are within 4 standard deviations of what Pearson's statistic has for these expected counts."""
    assert set(found) <= set(expected)
    statistic = sum((found[word] - mean) ** 2 / mean for word, mean in expected.items())
    freedom = len(expected) - 1
    return abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 2, "length": 8}, 14 * 2**4),
        ({"k": 1, "length": 12, "min_depth": 2, "max_depth": 4}, counts.words(1, 2, 4, 12)),
        ({"k": 2, "length": 8, "shuffle": True}, 14 * 42),
        ({"k": 3, "length": 6, "shuffle": True, "max_depth": 2}, counts.words(3, 1, 2, 6)),
    ],
)
def test_uniform_words_are_uniform(options, words):
    source = dyck(9 * 64 - 1 if options["length"] == 8 else 13 * 7 * 8, uniform=True, **options)
    rows = make.rows(source, KEY, numbers(1000))
    length = options["length"]
    found = Counter(word for row in rows for word in words_of(source, row) if len(word) == length)
    assert len(found) == words
    assert chi_square(found, dict.fromkeys(found, found.total() / words))


def walk_probability(word: tuple[int, ...], opens: Fraction, most: int) -> Fraction:
    """Of a word of one type, by the rule of open_probability."""
    chance, depth = Fraction(1), 0
    for at, token in enumerate(word):
        left = len(word) - at
        if 0 < depth < most and left > depth:
            chance *= opens if token == 0 else 1 - opens
        depth += 1 if token == 0 else -1
    return chance


@pytest.mark.parametrize("shuffle", [False, True])
def test_open_probability_is_exact(shuffle):
    source = dyck(1024, k=1, length=10, max_depth=3, open_probability="0.3", shuffle=shuffle)
    found = Counter(w for row in make.rows(source, KEY, numbers(300)) for w in words_of(source, row) if len(w) == 10)
    chances = {word: walk_probability(word, Fraction(3, 10), 3) for word in found}
    assert len(found) == counts.words(1, 1, 3, 10) and sum(chances.values()) == 1
    assert chi_square(found, {word: float(chance * found.total()) for word, chance in chances.items()})


def test_a_draw_that_64_bits_do_not_decide_is_decided_by_more():
    """A probability just above, equal to, or just below the first 64 bits of the draw at position 1."""
    candidate = numbers(1)
    words = [philox.words(*KEY, 0, candidate, 2)[0][1], *philox.words(*KEY, 6, candidate, 3)[0]]
    drawn = sum(int(word) << 16 * place for place, word in enumerate(reversed(words)))
    more = int(philox.words(*KEY, 6, candidate, 4)[0][3])
    for threshold, opens in (
        (Fraction(drawn * 2**16 + more + 1, 2**80), True),
        (Fraction(drawn * 2**16 + more, 2**80), False),
        (Fraction(drawn, 2**64), False),
        (Fraction(drawn + 1, 2**64), True),
    ):
        source = dyck(64, open_probability=str(threshold))
        row = make.rows(source, KEY, candidate)
        assert (row[0, 1] < 64) == opens
        assert np.array_equal(row, definition.rows(source, KEY, candidate))


@pytest.mark.parametrize("options", [{"length": 64}, {"k": 3, "shuffle": True, "max_depth": 6}])
def test_a_draw_that_begins_as_a_threshold_is_decided_by_64_bits(options):
    """Rows whose first free draw, at position 1, agrees with a threshold in 16 bits: one draw in 65,536."""
    source = dyck(64, uniform=True, **options)
    tables = counts.tables(*source.machine, source.length)
    state = tables.following[0]  # after the first bracket
    thresholds = tables.thresholds[source.length - 1, tables.slot[state] :]
    thresholds = thresholds[: tables.first[state + 1] - tables.first[state] - 1]
    candidates = numbers(2**18)
    tied = np.isin(philox.words(*KEY, 0, candidates, 2)[:, 1], (thresholds >> np.uint64(48)).astype(np.uint16))
    chosen = candidates[tied]
    assert 0 < len(chosen) < 40
    assert np.array_equal(make.rows(source, KEY, chosen), definition.rows(source, KEY, chosen))


@settings(deadline=None, max_examples=60)
@given(
    k=st.integers(1, 300),
    shuffle=st.booleans(),
    cut=st.booleans(),
    depths=st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted),
    lengths=st.tuples(st.integers(12, 32), st.integers(12, 32)).map(sorted),
    opens=st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=1000),
    seq_len=st.integers(64, 100),
    candidate=st.integers(0, 2**64 - 2),
)
def test_every_row_has_the_words_that_its_settings_give(k, shuffle, cut, depths, lengths, opens, seq_len, candidate):
    options = {"k": k, "shuffle": shuffle, "min_depth": depths[0], "max_depth": depths[1]}
    options |= {"open_probability": str(opens)}
    options |= {"ending": "cut"} if cut else {"length": 2 * lengths[1], "min_length": 2 * lengths[0]}
    source = dyck(seq_len, **options)
    rows = make.rows(source, KEY, np.array([candidate, candidate + 1], np.uint64))
    assert {text: right.all() for text, right in parse.problems(source, rows).items()} == dict.fromkeys(
        parse.problems(source, rows), True
    )
    for row, depth, mean in zip(rows, *parse.facts(source, rows).values(), strict=True):
        words = [tuple(row.tolist())] if cut else words_of(source, row)
        heights = [np.cumsum([1 if token < k else -1 for token in word]) for word in words]
        assert all(depths[0] <= height.max() <= depths[1] and height.min() >= 0 for height in heights)
        assert depth == max(height.max() for height in heights)
        assert mean == np.float32(np.concatenate(heights).mean())
        assert (source.content(rows) < 2 * k).all() and source.content(rows).shape[1] == source.content_tokens
