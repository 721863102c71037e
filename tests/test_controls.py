"""Tests the controls of automata: what each keeps, of which candidates, and that every reader knows them."""

import json
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from conftest import error_of, make, run_here
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen import evaluate, philox
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.receipt import write_receipt
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources.nca import batch, controls, cpu, definition, entropy, frozen, oracle, rules, selfcheck, tokens
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.selfcheck import SelfCheckFailed
from ncagen.sources.nca.settings import CONTROLS, REARRANGING, Settings
from ncagen.sources.nca.source import Nca
from ncagen.view import webpage

TRAIN, PILOT = (0, philox.STREAMS["train"]), (0, philox.STREAMS["pilot"])
# Of the first of a shard, those that change to the end: a frozen row is its own shuffle.
LIVELY = 0, 1, 2, 5, 7, 9, 12, 15, 17, 20, 22, 26, 27, 30, 31, 35, 37, 38, 39, 40, 41, 45, 51, 52
CANDIDATES = np.array(LIVELY, np.uint64) + np.uint64(3 * 2**32)
BUILD = {"tokens": 150 * 1024, "validation": 10 * 1024, "band": "high", "rows_per_shard": 70}
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
    ids = batch.run(chosen, key, CANDIDATES, backend=cpu).token_rows(np.arange(len(CANDIDATES)))
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


def test_pinned():
    """Sums over the tokens of candidate 5's rows. Where one changes, the source has another version."""
    found = {}
    for control in CONTROLS:
        chosen = settings_of({"control": control} | (FROZEN if control == "frozen-rule" else {}), 1024)
        [row] = batch.run(chosen, TRAIN, np.array([5], np.uint64), backend=cpu).token_rows(np.arange(1))
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
    assert np.array_equal(patches_of(chosen)[:3], tokens.patch_tokens(chosen, wanted))


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
    known = oracle.known_rule(chosen, TRAIN, rows.candidate, tokens.grids(chosen, rows.input_ids))
    assert np.isfinite(known.realised[:, 1:]).all() and known.accuracy[:, 1:].mean() > 0.9
    assert np.allclose(rows["oracle_micronats"] / 1e6, known.nats[:, 1:].mean(axis=1), rtol=0.02, atol=1e-5)
    assert (rows["oracle_micronats"] < entropy.MICRO).all()


def test_the_self_check_compares_controls(monkeypatch):
    chosen = Settings(control="shuffle-cells", seq_len=900)
    plain = controls.rearrange
    monkeypatch.setattr(controls, "rearrange", lambda *arguments: np.roll(plain(*arguments), 1, axis=2))
    with pytest.raises(SelfCheckFailed, match="candidates 0 to 3 have other rows than the definition gives them"):
        selfcheck.check(chosen)


# --- whole datasets -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """built("noise"): the folder of a finished dataset; built(""), of the trajectories. Do not change it."""
    folders: dict[str, Path] = {}

    def folder(control: str) -> Path:
        if control not in folders:
            folders[control] = tmp_path_factory.mktemp("control") / (control or "none")
            make(folders[control], from_settings(BUILD | ({"control": control} if control else {})))
        return folders[control]

    return folder


def columns(folder: Path, split: str = "train") -> dict[str, np.ndarray]:
    dataset = ncagen.open(folder, split=split)
    return dataset.rows(np.arange(len(dataset)))


def counts(folder: Path) -> list[tuple[int, ...]]:
    return [(r.rows, r.tried, r.below, r.above) for r in read_manifest(Folder(folder)).records]


@pytest.mark.parametrize("control", ["shuffle-time", "noise"])
def test_row_i_belongs_to_row_i_without_the_control(built, control):
    assert counts(built(control)) == counts(built(""))
    for split in ("train", "validation"):
        rows, wanted = columns(built(control), split), columns(built(""), split)
        assert np.array_equal(rows["candidate"], wanted["candidate"])
        assert np.array_equal(rows["original_gzip_bytes"], wanted["gzip_bytes"])
        assert np.array_equal(rows["original_gzip_ratio"], wanted["gzip_ratio"])
        if control == "shuffle-time":
            grids, before = (part["input_ids"].reshape(-1, 27, 38) for part in (rows, wanted))
            assert all(sorted(map(bytes, a)) == sorted(map(bytes, b)) for a, b in zip(grids, before, strict=True))
        else:
            assert rows["gzip_ratio"].min() > 0.65


def test_a_rule_that_changes_after_the_scored_grids_has_the_same_candidates(built):
    rows, wanted = columns(built("new-rule")), columns(built(""))
    assert np.array_equal(rows["candidate"], wanted["candidate"])
    assert np.array_equal(rows["input_ids"][:, : 13 * 38], wanted["input_ids"][:, : 13 * 38])


@pytest.mark.parametrize("control", ["shuffle-time", "frozen-rule"])
def test_verify_and_receipts_make_the_rows_again(built, control, tmp_path):
    report = ncagen.verify(built(control), regenerate=1.0)
    assert report.problems == [] and report.rebuilt == 160
    receipt = tmp_path / "x.receipt.json.zst"
    write_receipt(Folder(built(control)), receipt)
    made = ncagen.rebuild(receipt, tmp_path / "again")
    assert made.dataset_sha256 == read_manifest(Folder(built(control))).dataset_sha256


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("input_ids", "tokens are not well formed"),
        ("gzip_bytes", "gzip_bytes is not the length of the row's tokens"),
        ("linear_gap", "linear_gap is not that of the row's grids"),
        ("linear_gap_ratio", "linear_gap_ratio is not linear_gap by predicted cells"),
        ("original_linear_gap", "original_linear_gap_ratio is not original_linear_gap by 1,296"),
    ],
)
def test_a_changed_value_is_a_problem_of_its_row(column, problem):
    source = Nca(Settings(control="shuffle-cells", measure="linear-gap"))
    tried = source.batch(TRAIN, CANDIDATES[:3])
    rows = tried.rows(np.arange(3))
    assert [c.name for c in source.row_format.columns] == list(rows.columns)
    assert all(right.all() for right in source.problems(rows).values())
    assert np.array_equal(rows["original_linear_gap"], tried.score) and not np.array_equal(
        rows["linear_gap"], tried.score
    )
    changed = rows[column].copy()
    changed.reshape(3, -1)[1, 0] += 1
    assert source.problems(Rows(rows.columns | {column: changed}))[problem].tolist() == [True, False, True]


def test_card_show_page_and_audit_say_that_it_is_a_control(built):
    folder = built("shuffle-time")
    card = (folder / "README.md").read_text()
    assert "# Control shuffle-time: trajectories of random neural cellular automata" in card
    assert "**This is a control** (`shuffle-time`)" in card and "row i here is made from row i" in card
    assert "| band | original gzip ratio |" in card and "grids of the trajectory without the control" in card
    shown = run_here("show", folder, "--grids").out
    assert "control          shuffle-time\n" in shown and "#0           #1" in shown and "original gzip ratios" in shown
    page = webpage.page(folder)
    assert '"twin":null' in page and '"measured":true' in page and '["control","shuffle-time"]' in page
    audit = run_here("audit", folder)
    assert audit.status == 0 and "rows   are a control: shuffle-time\n" in audit.out
    assert "ok    consistent  as control shuffle-time intends: noise:" in audit.out
    assert json.loads(run_here("audit", folder, "--json").out)["control"] == "shuffle-time"


def test_cards_name_the_rules(built):
    card = (built("frozen-rule") / "README.md").read_text()
    assert "frozen-rule, that of candidate 2 of the pilot" in card and "All splits share one rule." in card
    assert "new-rule, from grid 13 on" in (built("new-rule") / "README.md").read_text()
    audit = run_here("audit", built("new-rule")).out
    assert "ok    one rule    as control new-rule intends:" in audit and "at grid 13" in audit
    assert "different streams of rules" not in run_here("audit", built("frozen-rule")).out


def test_rules_and_oracles_of_rows(built):
    rows = ncagen.open(built("new-rule"))
    first, later = ncagen.rule(rows, 0), ncagen.rule(rows, 0, grid=13)
    ids = rows[0]["input_ids"]
    grids = ncagen.tokens_to_grids(rows, ids)
    assert np.array_equal(first.simulate(22)[10:], grids[:13]) and not np.array_equal(first.output, later.output)
    assert np.array_equal(ncagen.rule(rows, 0, grid=12).output, first.output)
    assert error_of(ncagen.rule, rows, 0, grid=27) == "grid 27 is out of range: use 0 to 26"
    frozen = ncagen.open(built("frozen-rule"))
    assert np.array_equal(ncagen.rule(frozen, 0).output, ncagen.rule(frozen, 1).output)
    shuffled = ncagen.open(built("shuffle-time"))
    why = "rows of control shuffle-time follow no rule"
    assert error_of(ncagen.rule, shuffled, 0) == f"{why}: use rows without it, whose candidates are the same"
    assert error_of(evaluate.oracle, shuffled, [0]) == f"{why}: other predictors need none"


def test_the_ladder_has_an_oracle_where_there_is_a_rule(built):
    assert "oracle" in [rung.name for rung in evaluate.ladder(ncagen.open(built("new-rule")), 3).rungs]
    shuffled = ncagen.open(built("shuffle-time"))
    assert "oracle" not in [rung.name for rung in evaluate.ladder(shuffled, 3).rungs]
    assert error_of(evaluate.ladder, shuffled, 3, "oracle") == (
        "rows of control shuffle-time have no rung 'oracle': use uniform, unigram, cell histogram, patch histogram,"
        " copy, lookup, linear, architecture"
    )


# --- settings -------------------------------------------------------------------------------------------------------


def test_a_spec_without_a_control_is_unchanged():
    """The text that is hashed has nothing new, so its sha256 is what it was."""
    spec = from_settings({"tokens": "164M", "band": "high"})
    assert not {"control", "rule_candidate", "change_at"} & {name for name, _ in spec.source.values}
    assert Nca.from_dict(dict(spec.source.values), 1024) == Nca(Settings())
    values = Nca(Settings()).to_dict()
    assert error_of(Nca.from_dict, values | {"control": ""}, 1024) == (
        "setting 'control' of source nca is '': leave it out"
    )


def test_a_spec_has_the_settings_of_its_control():
    found = [Nca(settings_of({"control": c}, 1024)).to_dict() for c in ("noise", "new-rule")]
    assert [each.get("control") for each in found] == ["noise", "new-rule"]
    assert [each.get("change_at") for each in found] == [None, 13]
    for values in found:
        assert Nca.from_dict(values, 1024).to_dict() == values


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"control": "x"}, f"control 'x' is not known: use {', '.join(CONTROLS)}, or leave it out"),
        (
            {"control": "new-rule", "grid": 128, "patch": 1},
            "control new-rule needs rows of two grids or more: use a seq_len of 16386 or more, or a smaller grid",
        ),
        (
            {"control": "shuffle-cells", "patch": 4, "grid": 4, "states": 2},
            "control shuffle-cells needs grids of two patches or more: use a smaller patch",
        ),
        (
            {"control": "frozen-rule", "trajectories_per_rule": 2},
            "all rows of control frozen-rule share a rule: leave trajectories_per_rule out",
        ),
        (
            {"control": "noise", "facts": "oracle"},
            "rows of control noise follow no rule: leave oracle out of the facts",
        ),
        (
            {"control": "new-rule", "facts": "oracle", "stride": 2},
            "the oracle of rows of control new-rule is computed for a stride of 1 only: leave oracle out of the facts",
        ),
        ({"rule_candidate": 3}, "rule_candidate is of control frozen-rule: leave it out"),
        ({"control": "noise", "change_at": 3}, "change_at is of control new-rule: leave it out"),
        ({"control": "new-rule", "change_at": 27}, "change_at 27 is out of range: use 1 to 26"),
        ({"control": "new-rule", "change_at": "3"}, "change_at '3' is not a whole number"),
        (
            {"control": "frozen-rule", "rule_candidate": -1},
            "rule_candidate -1 is out of range: use 0 to 4294967295",
        ),
    ],
)
def test_bad_settings(options, line):
    assert error_of(settings_of, options, 1024) == line


def test_a_rule_that_is_not_known_and_a_band_without_one(monkeypatch):
    source = Nca(Settings(control="frozen-rule"))
    assert error_of(source.batch, TRAIN, CANDIDATES[:1]) == (
        "control frozen-rule has no rule_candidate: give the candidate whose rule all rows have"
    )
    assert error_of(Settings, control="new-rule") == "control new-rule has no change_at: use 1 to 26"
    monkeypatch.setattr(frozen, "CANDIDATES", 700)
    found = run_here("build", "--tokens=20K", "--control=frozen-rule", "--band=0.7-0.9", "--plan")
    assert (found.status, found.out) == (2, "") and found.err == (
        "ncagen: none of 700 candidates is in band 0.7-0.9, so control frozen-rule has no rule: use another band, or"
        " give the candidate whose rule all rows have, as in --rule-candidate 0\n"
    )
