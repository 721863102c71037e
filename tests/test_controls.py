"""Tests the controls of automata: what each keeps, that draws are exact, and which rule a row follows."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen import philox
from ncagen.factory.settings import from_settings
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, controls, cpu, definition, entropy, oracle, rules, selfcheck
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.selfcheck import SelfCheckFailed
from ncagen.sources.nca.settings import CONTROLS, REARRANGING, Settings
from ncagen.sources.nca.source import Nca

TRAIN, PILOT = (0, philox.STREAMS["train"]), (0, philox.STREAMS["pilot"])
# Of the first of a shard, those that change to the end: a frozen row is its own shuffle.
LIVELY = 0, 1, 2, 5, 7, 9, 12, 15, 17, 20, 22, 26, 27, 30, 31, 35, 37, 38, 39, 40, 41, 45, 51, 52
CANDIDATES = np.array(LIVELY, np.uint64) + np.uint64(3 * 2**32)
FROZEN = {"rule_candidate": 3}
PINNED = {
    "shuffle-time": 3827960948,
    "shuffle-cells": 3871579552,
    "shuffle-row": 3844087782,
    "unigram": 3832412333,
    "noise": 2784551888,
    "frozen-rule": 3479461250,
    "new-rule": 1956218984,
}
LIMIT = {3: 16.3, 23: 49.7, 26: 54.1, 99: 148.2}  # chi-square by degrees of freedom: one in a thousand is above


def patches_of(chosen: Settings, key: tuple[int, int] = TRAIN) -> np.ndarray:
    """The rows of CANDIDATES: [row, frame, patch]."""
    ids = batch.run(chosen, key, CANDIDATES).token_rows(np.arange(len(CANDIDATES)))
    return ids.reshape(len(ids), chosen.frames, chosen.tokens_per_grid)[..., 1:-1]


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return patches_of(Settings())


def sorted_rows(patches: np.ndarray) -> np.ndarray:
    return np.sort(patches.reshape(len(patches), -1), axis=1)


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


# --- what each keeps ------------------------------------------------------------------------------------------------


def test_shuffle_time_keeps_every_grid(original):
    made = patches_of(Settings(control="shuffle-time"))
    for row, before in zip(made, original, strict=True):
        assert Counter(map(bytes, row)) == Counter(map(bytes, before)) and not np.array_equal(row, before)
    assert not (made[:, 0] == original[:, 0]).all(axis=1).all()  # the first grid takes part


def test_shuffle_cells_keeps_the_patches_of_every_grid(original):
    made = patches_of(Settings(control="shuffle-cells"))
    assert np.array_equal(np.sort(made, axis=2), np.sort(original, axis=2))
    assert (made != original).any(axis=2).mean() > 0.9


def test_shuffle_row_keeps_the_patches_of_the_row(original):
    made = patches_of(Settings(control="shuffle-row"))
    assert np.array_equal(sorted_rows(made), sorted_rows(original))
    assert not np.array_equal(np.sort(made, axis=2), np.sort(original, axis=2))


def test_unigram_draws_from_the_rows_own_patches(original):
    """Support, and frequencies: how often each place of the row was drawn, by its patch."""
    chosen = Settings(control="unigram")
    places = np.broadcast_to(np.arange(972, dtype=np.uint32).reshape(1, 27, 36), (200, 27, 36))
    drawn = controls.rearrange(chosen, TRAIN, np.arange(200, dtype=np.uint64), places)
    counts = np.bincount(drawn.ravel() // 36, minlength=27)
    assert chi_square(counts) < LIMIT[26]
    for row, before in zip(patches_of(chosen), original, strict=True):
        assert set(row.ravel()) <= set(before.ravel())


def test_noise_is_uniform_and_has_nothing_of_the_trajectory(original):
    chosen = Settings(control="noise")
    made = patches_of(chosen)
    assert chi_square(np.bincount(made.ravel() // 100, minlength=100)) < LIMIT[99]
    assert np.array_equal(made, controls.rearrange(chosen, TRAIN, CANDIDATES, np.zeros_like(original)))


@pytest.mark.parametrize("control", ["shuffle-time", "shuffle-row"])
def test_every_order_is_equally_likely(control):
    chosen = Settings(control=control)
    shape = (4, 1) if control == "shuffle-time" else (2, 2)
    rows = np.broadcast_to(np.arange(4, dtype=np.uint16).reshape(shape), (12_000, *shape))
    made = controls.rearrange(chosen, TRAIN, np.arange(12_000, dtype=np.uint64), rows).reshape(-1, 4)
    counts = Counter(map(tuple, made.tolist()))
    assert chi_square(np.array([counts[order] for order in permutations(range(4))])) < LIMIT[23]


def test_grids_are_shuffled_independently():
    """Of two grids of two patches, the four results are equally likely."""
    rows = np.broadcast_to(np.array([[0, 1], [0, 1]], np.uint16), (4000, 2, 2))
    made = controls.rearrange(Settings(control="shuffle-cells"), TRAIN, np.arange(4000, dtype=np.uint64), rows)
    counts = np.bincount(made[:, 0, 0] * 2 + made[:, 1, 0], minlength=4)
    assert chi_square(counts) < LIMIT[3]


# --- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 36, 972, 10_000, 2**31, 2**31 + 1, 216**4, 2**32 - 1])
def test_as_many_words_lead_to_each_number(count):
    """2**32 // count for each: of the words first to end - 1, whose products agree, only the first may be refused."""

    def accepts(word: int, number: int) -> bool:
        try:
            return controls.below(iter([word]), count) == number
        except StopIteration:  # it asks for another word
            return False

    for number in sorted({0, count // 2, count - 1}):
        first, end = (-(-(number + i) * 2**32 // count) for i in (0, 1))
        refused = not accepts(first, number)
        assert all(accepts(word, number) for word in {first + 1, end - 1} - {first} if word < end)
        assert end - first - refused == 2**32 // count


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(REARRANGING),
    st.sampled_from([2, 10, 16, 216]),
    st.integers(1, 9),
    st.integers(1, 40),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 3)),
    st.integers(0, 2**64 - 4),
)
def test_the_kernels_are_the_definition(control, states, frames, each, key, first):
    chosen = Settings(states=states, control=control)
    candidates = np.arange(3, dtype=np.uint64) + np.uint64(first)
    patches = np.random.default_rng(each).integers(0, chosen.patch_ids, (3, frames, each)).astype(chosen.token_dtype)
    wanted = [controls.rearranged(chosen, key, int(c), row) for c, row in zip(candidates, patches, strict=True)]
    found = controls.rearrange(chosen, key, candidates, patches)
    assert found.dtype == chosen.token_dtype and np.array_equal(found, wanted)


def test_many_rows_are_made_a_part_at_a_time(monkeypatch, original):
    chosen = Settings(control="unigram")
    found = controls.rearrange(chosen, TRAIN, CANDIDATES, original)
    monkeypatch.setattr(controls, "PLACES_AT_ONCE", 5 * 972 + 1)
    assert np.array_equal(controls.rearrange(chosen, TRAIN, CANDIDATES, original), found)


def test_pinned():
    """Sums over the tokens of candidate 5's rows. Where one changes, the source has another version."""
    found = {}
    for control in CONTROLS:
        chosen = settings_of({"control": control} | (FROZEN if control == "frozen-rule" else {}), 1024)
        [row] = batch.run(chosen, TRAIN, np.array([5], np.uint64)).token_rows(np.arange(1))
        found[control] = int(row.astype(np.uint64) @ np.arange(1, len(row) + 1, dtype=np.uint64))
    assert found == PINNED


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"control": "new-rule"},
        {"control": "new-rule", "change_at": 1},
        {"control": "new-rule", "change_at": 10, "trajectories_per_rule": 3},
        {"control": "new-rule", "change_at": 4, "stride": 3},
        {"control": "frozen-rule", "rule_candidate": 2**32 - 1},
    ],
)
def test_rows_are_the_definitions(options):
    chosen = settings_of(options, 600)
    wanted = definition.trajectories(chosen, TRAIN, CANDIDATES[:3], chosen.frames)
    assert np.array_equal(patches_of(chosen)[:3], grid_tokens.patch_tokens(chosen, wanted))


def test_a_new_rule_leaves_the_grids_before_it(original):
    made = patches_of(Settings(control="new-rule", change_at=20))
    assert np.array_equal(made[:, :20], original[:, :20])
    assert (made[:, 20] != original[:, 20]).any(axis=1).mean() > 0.9


def test_the_new_rule_is_that_of_the_candidate_2_to_the_63_above():
    chosen = Settings(control="new-rule", change_at=1)
    [grid, after] = definition.trajectories(chosen, TRAIN, CANDIDATES[:1], 2)[0]
    later = rules.sample_rules(Settings(), TRAIN, CANDIDATES[:1] + np.uint64(2**63))
    step = definition.next_grids(Settings(), TRAIN, CANDIDATES[:1], later, grid[None], chosen.warmup + 1)
    assert np.array_equal(step[0], after)


def test_candidates_that_share_a_rule_share_the_new_one():
    chosen = Settings(control="new-rule", change_at=1, trajectories_per_rule=3)
    drawn = rules.sample_rules(chosen, TRAIN, rules.later_candidates(chosen, np.arange(7, dtype=np.uint64)))
    same = [np.array_equal(drawn.output[i], drawn.output[i + 1]) for i in range(6)]
    assert same == [True, True, False, True, True, False]


def test_a_frozen_rule_is_one_of_the_pilot_in_all_rows():
    chosen = Settings(control="frozen-rule", rule_candidate=17)
    drawn, starts = cpu.sample(chosen, TRAIN, CANDIDATES)
    wanted = rules.sample_rules(Settings(), PILOT, np.array([17], np.uint64))
    for ours, theirs in zip(drawn, wanted, strict=True):
        assert np.array_equal(ours, np.repeat(theirs, len(CANDIDATES), axis=0))
    assert np.array_equal(starts, cpu.sample(Settings(), TRAIN, CANDIDATES)[1])


def test_a_build_freezes_the_first_rule_in_its_first_band():
    spec = from_settings({"tokens": "1M", "bands": ["medium", "high"], "control": "frozen-rule", "seed": 4})
    number = dict(spec.source.values)["rule_candidate"]
    ratios = Nca(Settings()).batch((4, PILOT[1]), np.arange(number + 1, dtype=np.uint64)).score / 1440
    assert ((ratios >= 0.3) & (ratios < 0.4)).tolist() == [False] * number + [True]
    given_it = from_settings({"tokens": "1M", "bands": ["high"], "control": "frozen-rule", "rule_candidate": 7})
    assert dict(given_it.source.values)["rule_candidate"] == 7


@pytest.mark.parametrize("name", ["new-rule", "frozen-rule"])
def test_the_oracle_knows_which_rule_each_grid_follows(name):
    options = {"control": name, "facts": "oracle", "temperature": 0.001}
    chosen = settings_of(options | (FROZEN if name == "frozen-rule" else {}), 600)
    selfcheck.check(chosen)
    rows = Nca(chosen).batch(TRAIN, CANDIDATES[:6]).rows(np.arange(6))
    known = oracle.known_rule(chosen, TRAIN, rows.candidate, grid_tokens.grids(chosen, rows.input_ids))
    assert np.isfinite(known.realised[:, 1:]).all() and known.accuracy[:, 1:].mean() > 0.9
    assert np.allclose(rows["oracle_micronats"] / 1e6, known.nats[:, 1:].mean(axis=1), rtol=0.02, atol=1e-5)
    assert (rows["oracle_micronats"] < entropy.MICRO).all()


def test_the_self_check_of_long_rows_is_short():
    """The rule changes in the last of fewer grids, and nowhere where there is one."""
    chosen = Settings(control="new-rule", seq_len=8192, change_at=150)
    assert selfcheck._shortened(chosen).change_at == 26
    selfcheck.check(chosen)
    large = Settings(control="new-rule", height=128, width=128, patch=1, seq_len=20_000, change_at=1)
    assert selfcheck._shortened(large).control == ""


def test_the_self_check_compares_controls(monkeypatch):
    chosen = Settings(control="shuffle-cells", seq_len=900)
    plain = controls.rearrange
    monkeypatch.setattr(controls, "rearrange", lambda *arguments: np.roll(plain(*arguments), 1, axis=2))
    with pytest.raises(SelfCheckFailed, match="candidates 0 to 3 have other rows than the definition gives them"):
        selfcheck.check(chosen)
