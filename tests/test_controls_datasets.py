"""Tests datasets of controls: pairs of builds, receipts, card, page, audits, rules, oracles, and bad settings."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import error_of, make, run_here
from test_controls import CANDIDATES, TRAIN

import ncagen
from ncagen import evaluate
from ncagen.audit.checks import BAD, LOOK, OK, Check
from ncagen.audit.controls import intended
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.receipt import write_receipt
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources.nca import frozen, rules
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.settings import CONTROLS, Settings
from ncagen.sources.nca.source import Nca
from ncagen.view import webpage

BUILD = {"tokens": 150 * 1024, "validation": 10 * 1024, "band": "high", "rows_per_shard": 70}


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
    assert "**This is a control** (`shuffle-time`)" in card and "row i here belongs to row i there" in card
    assert "| band | original gzip ratio |" in card and "grids of the trajectory without the control" in card
    shown = run_here("show", folder, "--grids").out
    assert "control          shuffle-time\n" in shown and "#0           #1" in shown and "original gzip ratios" in shown
    page = webpage.page(folder)
    assert '"steps":false' in page and '"steps":true' in webpage.page(built("new-rule"))
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


def test_a_spec_without_a_control_is_unchanged():
    """The text that is hashed has no new name, and its rules have the key and the numbers of its candidates."""
    spec = from_settings({"tokens": "164M", "band": "high"})
    assert [name for name, _ in spec.source.values] == [
        "channel_wrap",
        "height",
        "identity_bias",
        "patch",
        "start",
        "states",
        "stride",
        "temperature",
        "trajectories_per_rule",
        "warmup",
        "width",
    ]
    key, numbers = rules.rule_address(Settings(), TRAIN, CANDIDATES)
    assert key == TRAIN and np.array_equal(numbers, CANDIDATES)
    values = Nca(Settings()).to_dict() | {"control": ""}
    assert error_of(Nca.from_dict, values, 1024) == "setting 'control' of source nca is '': leave it out"


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


def test_an_audit_passes_only_what_a_control_intends():
    leak = {"whole": 0, "after_first_grid": 0, "first_grid": 0, "rules": 3}
    found = [
        Check("leakage", BAD, "share a rule", leak),
        Check("leakage", BAD, "share rows", leak | {"whole": 1}),
        Check("one rule", BAD, "rows change their rule", {}),
        Check("alive", LOOK, "rows freeze", {}),
    ]
    assert [check.verdict for check in intended("frozen-rule", found)] == [OK, BAD, BAD, LOOK]
    assert [check.verdict for check in intended("new-rule", found)] == [BAD, BAD, OK, LOOK]
    assert intended("", found) == found
    assert intended("frozen-rule", found)[0].text == "as control frozen-rule intends: share a rule"
