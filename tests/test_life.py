"""The source `life`: known patterns of known rules, the kernels against the definition, hidden rules, bad input."""

from fractions import Fraction

import numpy as np
import pytest
from conftest import error_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.philox import STREAMS
from ncagen.sources import grid_tokens
from ncagen.sources.cellular import lanes
from ncagen.sources.cellular.rules import LIFE, class_of, complement, divided, life_number, life_text
from ncagen.sources.life import Life

TRAIN, VALIDATION, TEST = ((7, STREAMS[split]) for split in ("train", "validation", "test"))
CONWAY = life_number("B3/S23")
GLIDER = [(0, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
numbers = st.integers(0, 2**LIFE - 1)
seeds = st.integers(0, 2**32 - 1)


def grid_of(cells, side: int = 12) -> np.ndarray:
    """A grid with these living cells, (y, x) each: uint8[y, x]."""
    grid = np.zeros((side, side), np.uint8)
    for cell in cells:
        grid[cell] = 1
    return grid


def run(text: str, start: np.ndarray, steps: int) -> np.ndarray:
    """The grids of a rule after 0 to `steps` steps, by the definition, which the kernels confirm: uint8[step, y, x]."""
    rule, grids = np.array([life_number(text)], np.int32), [start[None]]
    for _ in range(steps):
        grids.append(Life.step(grids[-1], rule))
    shape = Life(1024, text, grid=f"{start.shape[0]}x{start.shape[1]}", patch=1).shape
    fast = grid_tokens.grids(shape, lanes.rows(shape, LIFE, rule, start[None], 0))[0]
    known = np.concatenate(grids)
    compared = min(len(known), len(fast))
    assert np.array_equal(fast[:compared], known[:compared])
    return known


def random_cells(seed: int, rows: int, side: int = 8) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 2, (rows, side, side), np.uint8)


def test_a_glider_moves_by_one_cell_down_and_right_in_four_steps():
    grids = run("B3/S23", grid_of(GLIDER), 48)
    for step in range(0, 48, 4):
        assert np.array_equal(grids[step + 4], np.roll(grids[step], (1, 1), (0, 1)))
        assert not np.array_equal(grids[step + 1], grids[step])
    assert np.array_equal(grids[48], grids[0])  # once around the torus of 12 cells


def test_a_blinker_has_period_two_and_a_block_and_a_beehive_stand_still():
    blinker = run("B3/S23", grid_of([(5, 4), (5, 5), (5, 6)]), 4)
    assert np.array_equal(blinker[1], blinker[0].T) and np.array_equal(blinker[2], blinker[0])
    block = grid_of([(0, 0), (0, 11), (11, 0), (11, 11)])  # across both borders
    beehive = grid_of([(3, 4), (3, 5), (4, 3), (4, 6), (5, 4), (5, 5)])
    assert all(np.array_equal(grid, block) for grid in run("B3/S23", block, 3))
    assert all(np.array_equal(grid, beehive) for grid in run("B3/S23", beehive, 3))


def test_the_replicator_of_highlife_is_two_copies_after_twelve_steps():
    """Published of B36/S23: the pattern copies itself along the diagonal in 12 steps, and the copies do in 12 more."""
    replicator = [(0, 2), (0, 3), (0, 4), (1, 1), (1, 4), (2, 0), (2, 4), (3, 0), (3, 3), (4, 0), (4, 1), (4, 2)]
    start = np.roll(grid_of(replicator, 40), (18, 18), (0, 1))
    grids = run("B36/S23", start, 24)
    for step, away in ((12, 2), (24, 4)):  # of four copies the two in the middle are in one place, and both are gone
        copies = [np.roll(start, (by, by), (0, 1)) for by in (-away, away)]
        assert np.array_equal(grids[step], copies[0] + copies[1])


def test_seeds_replicate_any_pattern_under_the_parity_rule():
    """B1357/S02468 adds the nine cells modulo 2, so 2**k steps make nine copies 2**k apart (Fredkin, with itself)."""
    start = grid_of([(7, 7), (7, 8), (8, 6)], 16)
    grids = run("B1357/S02468", start, 4)
    copies = sum(np.roll(start, (y, x), (0, 1)) for y in (-4, 0, 4) for x in (-4, 0, 4))
    assert np.array_equal(grids[4], copies % 2)


@given(numbers)
def test_a_rule_as_text_is_read_back(number):
    assert life_number(life_text(number)) == number


@given(numbers, st.integers(0, 1000))
def test_the_complement_of_a_rule_does_the_same_with_states_exchanged(number, seed):
    rules, cells = np.array([number], np.int32), random_cells(seed, 1)
    exchanged = complement(LIFE, rules)
    assert np.array_equal(Life.step(1 - cells, exchanged), 1 - Life.step(cells, rules))
    assert complement(LIFE, exchanged) == rules and class_of(LIFE, exchanged) == class_of(LIFE, rules)


def test_the_complement_of_conways_rule_is_the_published_one():
    assert life_text(int(complement(LIFE, np.array([CONWAY], np.int32))[0])) == "B0123478/S01234678"


@settings(deadline=None)  # the kernels are compiled in the first example
@given(
    st.sampled_from(["random", "disjoint", "B3/S23", "B36/S23", "B0/S8"]),
    st.sampled_from([("12", 2), ("6x10", 2), ("9", 3), ("3", 1), ("8x16", 4), ("5x10", 5), ("3x128", 1)]),
    st.integers(0, 5),
    st.integers(1, 3),
    st.floats(0, 1),
    seeds,
    st.integers(0, 2**64 - 200),
)
def test_the_kernels_compute_the_definition(rule, grid, warmup, stride, density, seed, first):
    source = Life(100, rule, grid[1], warmup, stride, density, grid=grid[0])
    candidates = np.uint64(first) + np.arange(70, dtype=np.uint64)
    for key in ((seed, 0), (seed, 1)):
        assert np.array_equal(source.tokens(key, candidates), source.defined_tokens(key, candidates))


def test_a_row_is_the_same_in_any_batch_and_of_any_length():
    source, candidates = Life(1024), np.arange(200, dtype=np.uint64)
    whole = source.tokens(TRAIN, candidates)
    for some in (slice(0, 1), slice(63, 66), slice(130, 131), slice(None, None, -7)):
        assert np.array_equal(source.tokens(TRAIN, candidates[some]), whole[some])
    longer = Life(4096).tokens(TRAIN, candidates[:3])
    assert np.array_equal(longer[:, : whole.shape[1]], whole[:3])
    assert not np.array_equal(source.tokens((8, 0), candidates), whole)


def test_rows_have_the_layout_of_the_nca():
    source = Life(1024)
    assert (source.vocabulary, source.row_tokens, source.unpredictable) == (18, 27 * 38, 38)
    assert (source.structural, source.scored_bytes) == ((16, 17), 1440)
    assert source.row_format.columns[-1].name == "rule" and source.row_format.facts[-1].dtype == "int32"
    rows = source.batch(TRAIN, np.arange(8, dtype=np.uint64)).rows(np.arange(8))
    cells = source.grids().cells(rows.input_ids)
    assert cells.shape == (8, 27, 12, 12) and source.grids().frame_name(1) == "t=11"
    assert np.array_equal(Life.step(cells[:, 3], rows["rule"]), cells[:, 4])
    corner = cells[0, 0, :2, :2]
    assert rows.input_ids[0, 1] == corner[0, 0] + 2 * corner[0, 1] + 4 * corner[1, 0] + 8 * corner[1, 1]
    assert Life(1024, patch=4).row_format.token_dtype == "uint32"


def test_the_density_is_that_of_the_start():
    for density in (0.0, 0.1, 0.37, 1.0):
        source = Life(1024, "B3/S23", warmup=0, density=density, patch=1)
        assert source.threshold == round(Fraction(str(density)) * 65536)
        starts = source.grids().cells(source.tokens(TRAIN, np.arange(200, dtype=np.uint64)))[:, 0]
        assert abs(starts.mean() - density) < 5 * (0.25 / starts.size) ** 0.5


def test_rows_hide_different_rules_and_no_rule_is_in_two_splits():
    candidates = np.arange(3000, dtype=np.uint64)
    of = {key: set(class_of(LIFE, Life(1024).rules(key, candidates)).tolist()) for key in (TRAIN, VALIDATION, TEST)}
    assert all(len(rules) > 2600 for rules in of.values())
    assert not of[TRAIN] & of[VALIDATION] and not of[TRAIN] & of[TEST] and not of[VALIDATION] & of[TEST]
    other = set(class_of(LIFE, Life(1024).rules((8, 0), candidates)).tolist())
    assert not other & of[VALIDATION]  # whatever the seed
    lists = divided(LIFE)
    assert sorted(np.concatenate(list(lists.values())).tolist()) == list(range(2**LIFE))
    assert all(0.12 < len(lists[STREAMS[split]]) / 2**LIFE < 0.13 for split in ("validation", "test"))


def test_a_random_rule_is_uniform_over_all():
    rules = Life(1024, "random").rules(TRAIN, np.arange(40_000, dtype=np.uint64))
    set_bits = (rules[:, None] >> np.arange(LIFE) & 1).mean(axis=0)
    assert np.abs(set_bits - 0.5).max() < 5 * 0.5 / 200
    assert (Life(1024, "B3/S23").rules(TRAIN, np.arange(4, dtype=np.uint64)) == CONWAY).all()


def test_problems_finds_rows_that_do_not_follow_their_rule():
    source = Life(1024, stride=2)
    rows = source.batch(TRAIN, np.arange(8, dtype=np.uint64)).rows(np.arange(8))
    assert all(right.all() for right in source.problems(rows).values())
    rows.input_ids[2, 500] ^= 1
    rows.columns["rule"] = rows["rule"].copy()
    rows["rule"][4] ^= 1 << 3
    rows["rule"][5] = 2**LIFE
    rows.input_ids[6, 37] = 16
    found = source.token_problems(rows)
    assert {text: np.flatnonzero(~right).tolist() for text, right in found.items()} == {
        "tokens are not whole grids between delimiters": [6],
        "rule is not one of this source": [5],
        "a grid does not follow by the row's rule": [2, 4, 5],
    }
    fixed = Life(1024, "B3/S23")
    rows = fixed.batch(TRAIN, np.arange(2, dtype=np.uint64)).rows(np.arange(2))
    rows["rule"][1] = 0
    assert fixed.token_problems(rows)["rule is not B3/S23"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"rule": "B9/S23"},
            "rule 'B9/S23' is not a rule of life: use neighbours of birth and survival as in B3/S23, or random or"
            " disjoint",
        ),
        (
            {"rule": "23/3"},
            "rule '23/3' is not a rule of life: use neighbours of birth and survival as in B3/S23, or random or"
            " disjoint",
        ),
        ({"grid": "2"}, "grid 2 is out of range: use sides of 3 to 128"),
        ({"grid": "12x129"}, "grid 12x129 is out of range: use sides of 3 to 128"),
        ({"grid": "big"}, "grid 'big' is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"patch": 5}, "grid 12 is not divisible by patch 5: use a patch of 1, 2, 3, 4, 6, 12"),
        (
            {"patch": 6},
            "vocabulary of states 2 to the power 36 (the cells of a patch), and 2, is over 4294967296: use fewer"
            " states or a smaller patch",
        ),
        ({"density": 1.5}, "density 1.5 is out of range: use 0 to 1"),
        ({"warmup": -1}, "warmup -1 is out of range: use 0 to 1e+06"),
        ({"states": 3}, "setting 'states' is not known: known are rule, grid, patch, warmup, stride, density, facts"),
    ],
)
def test_bad_settings_are_one_clear_line(options, text):
    assert error_of(Life.from_options, options, 1024) == text


def test_each_setting_has_one_spelling_in_a_spec():
    typed = Life.from_options({"rule": "b32/s32", "grid": 12, "density": 1}, 1024)
    assert typed.to_dict() | {"density": 1.0} == {
        "rule": "B23/S23",
        "grid": "12x12",
        "patch": 2,
        "warmup": 10,
        "stride": 1,
        "density": 1.0,
        "facts": "",
    }
    assert Life.from_dict(typed.to_dict(), 1024) == typed and Life(1024, density=-0.0) == Life(1024, density=0.0)


def test_rows_of_one_grid_are_warned_of():
    assert Life(1024).warnings(TRAIN) == ()
    assert Life(64, grid="18").warnings(TRAIN) == (
        "rows have one grid of 18 x 18 cells, which shows no step of a rule: use a --seq-len of 83 or more, or a"
        " smaller grid",
    )
    assert Life(83, grid="18").warnings(TRAIN) == ()


def test_the_self_check_covers_more_than_one_word_of_candidates():
    assert Life(1024).self_check() and Life(16384, grid="128", warmup=1000, stride=100).self_check()
