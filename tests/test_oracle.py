"""Tests the oracle loss: probabilities against sampling and the exact formula, the stored column bit for bit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen import philox
from ncagen.row_format import Rows
from ncagen.selection import BANDS
from ncagen.sources import grid_tokens, logarithm
from ncagen.sources.nca import batch, definition, entropy, oracle, rollout, rules
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.rules import GUMBEL_SHIFT, gumbel_table, logit_units
from ncagen.sources.nca.settings import Settings

TRAIN = 0, philox.STREAMS["train"]
TEMPERATURES = [1e-4, 1e-3, 1e-2, 0.1, 1.0]


def rows_of(chosen: Settings, count: int, band: str | None = None) -> Rows:
    """The first rows of a band, or of any score."""
    tried = batch.run(chosen, TRAIN, np.arange(count * 16 if band else count, dtype=np.uint64))
    low, high = BANDS[band] if band else (0, 2)
    ratios = tried.score / chosen.scored_bytes
    return tried.rows(np.flatnonzero((ratios >= low) & (ratios < high))[:count])


def known(chosen: Settings, rows: Rows) -> oracle.Known:
    return oracle.known_rule(chosen, TRAIN, rows.candidate, grid_tokens.grids(chosen, rows.input_ids))


def defined_logits(chosen: Settings, candidates: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Logits with bias by the definition. grids: uint8[row, frame, y, x]. Returns int64[cell, state]."""
    frames = grids.shape[1]
    each = rules.Rules(*(np.repeat(w, frames, axis=0) for w in rules.sample_rules(chosen, TRAIN, candidates)))
    flat = grids.reshape(-1, chosen.height, chosen.width)
    bias = (flat[..., None] == np.arange(chosen.states)) * logit_units(chosen, chosen.identity_bias)
    return (definition.logits(each, flat) + bias).reshape(-1, chosen.states)


# name: options of settings
CASES = {
    "released": {},
    "paper": {"preset": "paper"},
    "noise": {"temperature": 1.0},
    "no noise": {"temperature": 0.0},
    "least noise": {"temperature": 1e-7},
    "two states": {"states": 2, "patch": 3, "temperature": 0.01},
    "bias": {"identity_bias": -0.3, "temperature": 0.1},
    "bias at its limit": {"identity_bias": 10.0, "temperature": 1.0},
    "stride": {"stride": 3, "warmup": 2, "temperature": 0.001},
    "no warm-up": {"warmup": 0},
    "wide, no wrap": {"states": 40, "grid": "4x6", "patch": 1, "temperature": 0.01, "channel_wrap": False},
    "all states": {"states": 256, "grid": 6, "patch": 1, "warmup": 1, "temperature": 1.0},
}


@pytest.mark.parametrize("name", CASES)
def test_the_column_is_the_fixed_point_definitions(name):
    """The kernel's sums, whether they come from a scored batch or from a whole run, and the loss in float64."""
    chosen = settings_of({**CASES[name], "facts": "oracle"}, seq_len=300)
    candidates = np.arange(3, dtype=np.uint64)
    earlier = replace(chosen, warmup=chosen.warmup + chosen.stride - 1)
    before = definition.trajectories(earlier, TRAIN, candidates, chosen.frames - 1)
    cells = entropy.cell_entropies(chosen, defined_logits(chosen, candidates, before))
    wanted = cells.reshape(3, chosen.frames - 1, chosen.cells).sum(axis=2)
    assert np.array_equal(rollout.entropies(chosen, TRAIN, candidates)[:, 1:], wanted)
    rows = rows_of(chosen, 3)
    assert np.array_equal(rows["oracle_micronats"], entropy.micronats(chosen, wanted.sum(axis=1)))
    nats = known(chosen, rows).nats[:, 1:].mean(axis=1)
    tolerance = 1e-5 + 0.02 * nats if logit_units(chosen, chosen.temperature) >= oracle.EXACT_BELOW else 0.3
    assert (abs(rows["oracle_micronats"] / 1e6 - nats) < tolerance).all()


def test_the_column_is_pinned():
    rows = rows_of(Settings(facts="oracle"), 4)
    assert rows["oracle_micronats"].dtype == np.int32
    assert rows["oracle_micronats"].tolist() == [3337, 0, 7761, 7613]
    noisy = rows_of(Settings(facts="oracle", temperature=0.1), 4)
    assert noisy["oracle_micronats"].tolist() == [6000181, 5405084, 5599238, 6513566]


@given(
    temperature=st.sampled_from([0.0, 1e-6, 1e-4, 0.01, 1.0]),
    spread=st.sampled_from([0.0, 0.5, 3.0, 20.0]),
    states=st.integers(2, 256),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_fixed_point_entropies_are_those_of_softmax(temperature, spread, states, seed):
    chosen = Settings(states=states, patch=1, temperature=temperature)
    units = logit_units(chosen, temperature)
    logits = np.random.default_rng(seed).integers(0, int(spread * units) + 1, (20, states)) - 10**9
    found = entropy.cell_entropies(chosen, logits) / 2**entropy.ENTROPY_BITS
    if not units:
        assert not found.any()
        return
    distance = logits.max(axis=1, keepdims=True) - logits
    weight = np.where(distance <= entropy.reach(chosen), np.exp(-distance / units), 0)
    chance = weight / weight.sum(axis=1, keepdims=True)
    wanted = -(chance * np.log(np.where(chance > 0, chance, 1))).sum(axis=1)
    assert abs(found - wanted).max() < 5e-4
    assert (found >= 0).all() and found.max() <= math.log(states) + 1e-6


def test_fixed_point_tables():
    assert np.array_equal(entropy.exp_table(), [round(math.exp(-u / 4096) * 2**30) for u in range(65536)])
    assert np.array_equal(logarithm.log_table(), [round(math.log1p(i / 1024) * 2**24) for i in range(1025)])
    assert round(math.log(2) * 2**24) == logarithm.LN_2
    pairs = entropy.pair_table()
    assert pairs[0] == pytest.approx(math.log(2) * 2**24, abs=2) and pairs.max() == pairs[:8].max()


def test_distances_stay_inside_the_table_and_int64():
    """The greatest distance, for every alphabet, at the least and the greatest temperatures."""
    for states in range(2, 257, 2):
        one = logit_units(Settings(states=states, patch=1), 1.0)
        for units in (1, 2, 3, 63, 64, one):
            chosen = Settings(states=states, patch=1, temperature=units / one)
            assert logit_units(chosen, chosen.temperature) == units
            product = entropy.reach(chosen) * entropy.scale(chosen) + 2**31
            assert product < 2**63 and product >> 32 < entropy.EXP_ENTRIES


@pytest.mark.parametrize("units", [1, 5, 63, 64, 748, 2000])
def test_both_forms_agree_where_softmax_is_used(units):
    """Within 1e-4 in any probability; below, the exact form is used."""
    one = logit_units(Settings(states=5), 1.0)
    chosen = Settings(states=5, temperature=units / one)
    rng = np.random.default_rng(units)
    logits = rng.integers(-5 * units, 5 * units + 1, (60, 5))
    logits[:20, 2:] = -(10**8)  # two states, as in most cells
    logits[20:25] = 0  # ties
    exact, used = oracle.exact_probabilities(chosen, logits), oracle.probabilities(chosen, logits)
    assert abs(exact.sum(axis=1) - 1).max() < 1e-12
    assert abs(exact - used).max() < (1e-4 if units >= oracle.EXACT_BELOW else 1e-15)


@pytest.mark.parametrize("units", [3, 100])
def test_the_exact_form_counts_all_pairs_of_words(units):
    """Two states: every pair of noise words, with ties to the lower state."""
    one = logit_units(Settings(states=2), 1.0)
    chosen = Settings(states=2, temperature=units / one)
    noise = np.sort(gumbel_table().astype(np.int64) * units >> GUMBEL_SHIFT)
    for lead in (-2 * units, -1, 0, 1, 2 * units):
        first_wins = np.searchsorted(noise, noise + lead, side="right").sum() / 2**32
        exact = oracle.exact_probabilities(chosen, np.array([[lead, 0]]))
        assert exact[0] == pytest.approx([first_wins, 1 - first_wins], abs=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_loss_is_that_of_sampled_steps(temperature):
    """Many draws of the definition's own noise from given grids: their mean -ln P is the loss, within 1 %."""
    chosen = Settings(temperature=temperature, warmup=10, seq_len=1)
    candidates = np.arange({1e-4: 1000, 1e-3: 100}.get(temperature, 30), dtype=np.uint64)
    logits = defined_logits(chosen, candidates, definition.trajectories(chosen, TRAIN, candidates, 1))
    first_two = np.partition(logits, -2, axis=1)[:, -2:]
    close = np.flatnonzero(first_two[:, 1] - first_two[:, 0] <= entropy.reach(chosen))
    chance = oracle.probabilities(chosen, logits[close])
    losses = np.zeros(len(close))
    with np.errstate(divide="ignore"):
        costs = -np.log(chance)
    draws = 2_000_000 // len(close)
    words = np.random.default_rng(7)
    for _ in range(draws):
        noise = gumbel_table()[words.integers(0, 65536, logits[close].shape)].astype(np.int64)
        noise = noise * logit_units(chosen, temperature) >> GUMBEL_SHIFT
        following = (logits[close] + noise).argmax(axis=1)
        losses += costs[np.arange(len(close)), following]
    wanted = -(chance * np.log(np.where(chance > 0, chance, 1))).sum()
    assert losses.sum() / draws == pytest.approx(wanted, rel=0.01)
    assert len(close) > 1000


# Of shared measurements, 200 rows a band: mean in nats a patch, its standard error there.
MEASURED = {"low": (0.0014, 0.0002), "medium": (0.0052, 0.0006), "upper": (0.0058, 0.0003), "high": (0.0078, 0.0003)}


@pytest.mark.parametrize("band", MEASURED)
def test_the_losses_of_the_bands(band):
    rows = rows_of(Settings(), 60, band)
    found = known(Settings(), rows)
    nats = found.nats[:, 1:].mean(axis=1)
    mean, deviation = MEASURED[band]
    assert abs(nats.mean() - mean) < 4 * math.hypot(deviation, nats.std() / math.sqrt(len(nats)))
    assert found.realised[:, 1:].mean() == pytest.approx(nats.mean(), rel=0.35)
    assert found.accuracy[:, 1:].mean() > 0.995
    assert np.isnan(found.nats[:, 0]).all() and np.isnan(found.accuracy[:, 0]).all()


@pytest.mark.parametrize(("temperature", "nats"), [(1e-3, 0.075), (1e-2, 0.79), (0.1, 5.69), (1.0, 9.12)])
def test_the_losses_of_temperatures(temperature, nats):
    """100 rows of the high band, measured with another program."""
    rows = rows_of(Settings(temperature=temperature), 20, "high")
    found = known(Settings(temperature=temperature), rows)
    means = found.nats[:, 1:].mean(axis=1)
    assert abs(means.mean() - nats) < 4 * means.std() / math.sqrt(20) + 0.005 * nats
    assert found.realised[:, 1:].mean() == pytest.approx(found.nats[:, 1:].mean(), rel=0.05)


def test_float_logits_are_the_definitions():
    for options in CASES.values():
        chosen = settings_of(options, seq_len=300)
        candidates = np.arange(2, dtype=np.uint64)
        grids = definition.trajectories(chosen, TRAIN, candidates, 3)
        found = oracle.biased_logits(chosen, rules.sample_rules(chosen, TRAIN, candidates), grids)
        assert np.array_equal(found.reshape(-1, chosen.states), defined_logits(chosen, candidates, grids))


def test_a_row_that_its_rule_did_not_make_costs_infinitely_much():
    rows = rows_of(Settings(), 2)
    other = oracle.known_rule(Settings(), TRAIN, rows.candidate[::-1], grid_tokens.grids(Settings(), rows.input_ids))
    assert np.isinf(other.realised[:, 1:].mean(axis=1)).all() and np.isfinite(other.nats[:, 1:]).all()


def test_unrecorded_steps_are_taken_as_known():
    """With a stride, the loss is at least that of the last step, and at most that of all steps in between."""
    each, third = Settings(temperature=0.001, warmup=2), Settings(temperature=0.001, warmup=2, stride=3)
    every = known(each, rows_of(each, 3))
    some = known(third, rows_of(third, 3))
    assert np.allclose(some.nats[:, 1:9], every.nats[:, 3:27:3])
    sums = every.nats[:, 1:25].reshape(3, 8, 3).sum(axis=2)
    assert np.allclose(some.most[:, 1:9], sums, atol=1e-4) and (some.most[:, 1:] >= some.nats[:, 1:]).all()
    assert np.array_equal(every.most, every.nats, equal_nan=True)


def test_a_row_of_one_grid_has_no_loss():
    rows = rows_of(Settings(facts="oracle", seq_len=1), 2)
    assert rows["oracle_micronats"].tolist() == [0, 0]
    assert np.isnan(known(Settings(seq_len=1), rows).nats).all()
