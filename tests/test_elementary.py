"""The source `elementary`: published first rows of known rules, symmetries, the kernels against the definition."""

import numpy as np
import pytest
from conftest import error_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.philox import STREAMS
from ncagen.sources import grid_tokens
from ncagen.sources.cellular import lanes
from ncagen.sources.cellular.rules import ELEMENTARY, class_of, complement, divided, mirror
from ncagen.sources.elementary import Elementary

TRAIN, VALIDATION, TEST = ((7, STREAMS[split]) for split in ("train", "validation", "test"))
ALL = np.arange(256, dtype=np.int32)
seeds = st.integers(0, 2**32 - 1)

# First rows from a single cell as numbers in binary, the cell in the middle of the row: OEIS A110240.
RULE_30 = [1, 7, 25, 111, 401, 1783, 6409, 28479, 102849, 456263, 1641433, 7287855, 26332369, 116815671]
# Rule 110 grows to the left alone, so its numbers have the first cell as their lowest digit: OEIS A006978.
RULE_110 = [1, 3, 7, 13, 31, 49, 115, 215, 509, 775, 1805, 3359, 7985, 12659]


def run(rule: int, start: np.ndarray, steps: int) -> np.ndarray:
    """The lines of a rule after 0 to `steps` steps, by the definition, which the kernels confirm: uint8[step, x]."""
    rules, lines = np.array([rule], np.int32), [start[None, None]]
    for _ in range(steps):
        lines.append(Elementary.step(lines[-1], rules))
    shape = Elementary(4096, str(rule), width=len(start), patch=1).shape
    fast = grid_tokens.grids(shape, lanes.rows(shape, ELEMENTARY, rules, start[None, None], 0))[0]
    known = np.concatenate(lines)
    compared = min(len(known), len(fast))
    assert compared > steps // 2 and np.array_equal(fast[:compared], known[:compared])
    return known[:, 0]


def single(width: int) -> np.ndarray:
    return (np.arange(width) == width // 2).astype(np.uint8)


def binary(cells: np.ndarray) -> int:
    return int("".join(map(str, cells.tolist())), 2)


def test_rule_30_gives_its_published_rows_from_a_single_cell():
    lines = run(30, single(64), len(RULE_30) - 1)
    assert [binary(line[32 - t : 33 + t]) for t, line in enumerate(lines)] == RULE_30


def test_rule_110_gives_its_published_rows_from_a_single_cell():
    lines = run(110, single(64), len(RULE_110) - 1)
    assert [binary(line[32 - t : 33]) for t, line in enumerate(lines)] == RULE_110
    assert not any(line[33:].any() for line in lines)


def test_rule_90_is_pascals_triangle_modulo_two():
    """Sierpinski's triangle: after t steps, binomial coefficients, odd where the bits of k are among those of t."""
    lines = run(90, single(128), 63)
    for t, line in enumerate(lines):
        wanted = [int(k & t == k) for k in range(t + 1)]
        assert line[64 - t : 65 + t : 2].tolist() == wanted and line.sum() == sum(wanted)


def test_rule_184_keeps_the_number_of_ones_and_rule_170_shifts():
    """Rule 184 is traffic on a ring: cars move to free places and none is lost."""
    start = np.random.Generator(np.random.PCG64(0)).integers(0, 2, 96, np.uint8)
    assert (run(184, start, 60).sum(axis=1) == start.sum()).all()
    assert all(np.array_equal(line, np.roll(start, -t)) for t, line in enumerate(run(170, start, 20)))


@given(st.integers(0, 255), seeds)
def test_complement_and_mirror_of_a_rule_do_the_same_exchanged(number, seed):
    rules = np.array([number], np.int32)
    cells = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, (1, 1, 24), np.uint8)
    after = Elementary.step(cells, rules)
    assert np.array_equal(Elementary.step(1 - cells, complement(ELEMENTARY, rules)), 1 - after)
    assert np.array_equal(Elementary.step(cells[..., ::-1], mirror(rules)), after[..., ::-1])
    both = complement(ELEMENTARY, mirror(rules))
    assert both == mirror(complement(ELEMENTARY, rules)) and class_of(ELEMENTARY, both) == class_of(ELEMENTARY, rules)


def test_there_are_88_classes_and_the_known_equivalents():
    assert len(set(class_of(ELEMENTARY, ALL).tolist())) == 88
    assert mirror(ALL)[[30, 110]].tolist() == [86, 124]
    assert complement(ELEMENTARY, ALL)[[30, 110]].tolist() == [135, 137]


@settings(deadline=None)  # the kernels are compiled in the first example
@given(
    st.sampled_from(["random", "disjoint", "30", "110", "0", "255"]),
    st.sampled_from([(64, 4), (3, 1), (12, 12), (96, 8), (130, 1), (17, 17)]),
    st.integers(0, 5),
    st.integers(1, 3),
    st.floats(0, 1),
    seeds,
    st.integers(0, 2**64 - 200),
)
def test_the_kernels_compute_the_definition(rule, sizes, warmup, stride, density, seed, first):
    source = Elementary(100, rule, sizes[1], warmup, stride, density, width=sizes[0])
    candidates = np.uint64(first) + np.arange(70, dtype=np.uint64)
    for key in ((seed, 0), (seed, 1)):
        assert np.array_equal(source.tokens(key, candidates), source.defined_tokens(key, candidates))


def test_each_line_of_a_row_follows_from_the_one_before():
    source = Elementary(1024)
    assert (source.vocabulary, source.row_tokens, source.unpredictable) == (18, 57 * 18, 18)
    rows = source.batch(TRAIN, np.arange(64, dtype=np.uint64)).rows(np.arange(64))
    cells = source.grids().cells(rows.input_ids)
    assert cells.shape == (64, 57, 1, 64)
    for t in range(56):
        assert np.array_equal(Elementary.step(cells[:, t], rows["rule"]), cells[:, t + 1])
    assert rows.input_ids[0, 1] == (cells[0, 0, 0, :4] << np.arange(4)).sum()
    assert len(set(map(bytes, rows.input_ids))) == 64


def test_all_256_rules_occur_about_equally_often():
    counts = np.bincount(Elementary(1024).rules(TRAIN, np.arange(25_600, dtype=np.uint64)), minlength=256)
    assert len(counts) == 256 and ((counts - 100) ** 2 / 100).sum() < 350  # chi-square, 255 degrees of freedom


def test_disjoint_rules_are_of_one_split_each():
    candidates, source = np.arange(5000, dtype=np.uint64), Elementary(1024, "disjoint")
    of = [set(source.rules(key, candidates).tolist()) for key in (TRAIN, VALIDATION, TEST)]
    assert set().union(*of) == set(range(256)) and sum(map(len, of)) == 256
    classes = [set(class_of(ELEMENTARY, np.array(sorted(rules), np.int32)).tolist()) for rules in of]
    assert [len(some) for some in classes] == [66, 11, 11] and len(set().union(*classes)) == 88
    assert of[0] == set(divided(ELEMENTARY)[STREAMS["train"]].tolist())
    assert set(source.rules((7, STREAMS["pilot"]), candidates).tolist()) == of[0]


def test_problems_finds_rows_that_do_not_follow_their_rule():
    source = Elementary(1024, "110")
    rows = source.batch(TRAIN, np.arange(6, dtype=np.uint64)).rows(np.arange(6))
    assert all(right.all() for right in source.problems(rows).values())
    rows.input_ids[1, 1025 - 2] ^= 8  # a cell of the last line
    rows["rule"][3] = 111
    rows.input_ids[4, 17] = 0  # a delimiter
    found = source.token_problems(rows)
    assert {text: np.flatnonzero(~right).tolist() for text, right in found.items()} == {
        "tokens are not whole grids between delimiters": [4],
        "rule is not 110": [3],
        "a grid does not follow by the row's rule": [1, 3],
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rule": 256}, "rule '256' is not an elementary rule: use 0 to 255, or random or disjoint"),
        ({"rule": "B3/S23"}, "rule 'B3/S23' is not an elementary rule: use 0 to 255, or random or disjoint"),
        ({"rule": "-1"}, "rule '-1' is not an elementary rule: use 0 to 255, or random or disjoint"),
        ({"patch": 5}, "width 64 is not divisible by patch 5: use a patch of 1, 2, 4, 8, 16, 32, 64"),
        (
            {"patch": 32},
            "vocabulary of states 2 to the power 32 (the cells of a patch), and 2, is over 4294967296: use fewer"
            " states or a smaller patch",
        ),
        ({"width": 2}, "width 2 is out of range: use 3 to 4096"),
        ({"grid": "12"}, "setting 'grid' is not known: known are rule, width, patch, warmup, stride, density, facts"),
    ],
)
def test_bad_settings_are_one_clear_line(options, text):
    assert error_of(Elementary.from_options, options, 1024) == text


def test_a_rule_is_a_number_or_text():
    assert Elementary.from_options({"rule": 30}, 1024) == Elementary.from_options({"rule": "30"}, 1024)
    assert Elementary.from_dict(Elementary(1024).to_dict(), 1024) == Elementary(1024)
