"""Test sets of an experiment: out of distribution in one setting, from rules that no other row has."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import contents, error_of, make, run_here
from test_token_source import Runs

import ncagen
from ncagen import sources
from ncagen.factory.settings import from_settings

SHARED = {"tokens": 30 * 1024, "validation": 20 * 1024, "band": "high", "vocabulary": "shared"}
CHANGES = {
    "same": {},
    "band": {"band": "medium"},
    "normalised": {"band_normalised": "0.6-0.7"},
    "alphabet": {"states": 12},
    "grid": {"grid": 8},
    "stride": {"stride": 2},
    "horizon": {"seq_len": 2048},
}
SETTINGS = SHARED | {
    "arm": {"nca": {}, "medium": {"band": "medium"}, "small": {"grid": 8, "states": 4, "band": "low"}},
    "test": {name: {"of": "nca", "tokens": 20 * 1024} | changes for name, changes in CHANGES.items()},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "a"
    ncagen.build_experiment(SETTINGS, folder)
    return folder


def rules(rows: ncagen.Dataset) -> set[bytes]:
    """The weights that decide each row, so far as they are there for every alphabet."""
    found = [ncagen.rule(rows, row) for row in range(len(rows))]
    return {np.concatenate([rule.perception.ravel()[:36], rule.hidden.ravel()]).tobytes() for rule in found}


def test_no_rule_of_a_test_set_is_in_another_split_of_any_arm(folder):
    experiment = ncagen.open_experiment(folder)
    trained = {name: rules(arm.open("train")) for name, arm in experiment.arms.items()}
    validated = {name: rules(arm.open("validation")) for name, arm in experiment.arms.items()}
    tested = {name: rules(test.open()) for name, test in experiment.tests.items()}
    assert sorted(map(len, (trained | tested).values())) == [10, *[20] * 6, *[30] * 3]
    for one, other in itertools.combinations((trained, validated, tested), 2):
        assert set.union(*one.values()).isdisjoint(set.union(*other.values()))
    # This test would see it: two test sets that differ in what is recorded take the same candidates.
    assert tested["same"] & tested["grid"]


def test_a_test_set_is_a_dataset_of_the_split_test_alone(folder, tmp_path):
    settings = {"test": 20 * 1024, "band": "high", "states": 12}
    make(tmp_path / "alphabet", from_settings(settings))
    assert contents(folder / "test" / "alphabet") == contents(tmp_path / "alphabet")
    data = ncagen.open_experiment(folder).tests["alphabet"].open()
    assert (data.split, len(data), data.manifest.splits) == ("test", 20, ["test"])


def test_every_setting_of_a_test_set_is_the_changed_one(folder):
    opened = {name: test.open() for name, test in ncagen.open_experiment(folder).tests.items()}
    assert {name: data.row_format.row_tokens for name, data in opened.items()} == {
        **dict.fromkeys(CHANGES, 1026),
        "grid": 1026,
        "horizon": 2052,
    }
    assert opened["band"].band == "medium" and opened["normalised"].band == "normalised-0.6-0.7"
    grids = {name: ncagen.tokens_to_grids(data, data[0]["input_ids"]) for name, data in opened.items()}
    assert grids["grid"].shape[1:] == (8, 8) and grids["same"].shape[1:] == (12, 12)
    rule = ncagen.rule(opened["stride"], 0)
    assert (rule.simulate(12)[10::2] == grids["stride"][:2]).all()


def test_an_arm_has_ids_for_its_test_sets_too(folder):
    """12 states have more patches than 10, so that the arm's range is theirs."""
    experiment = ncagen.open_experiment(folder)
    small, nca, medium = 4**4 + 2, 12**4 + 2, 10**4 + 2
    assert experiment.vocabulary == small + nca + medium
    assert {name: arm.offset for name, arm in experiment.arms.items()} == {
        "medium": 0,
        "nca": medium,
        "small": medium + nca,
    }
    assert {test.offset for test in experiment.tests.values()} == {medium}
    test = experiment.tests["alphabet"]
    batch = next(iter(ncagen.Stream(test.open(), batch_size=20, layout=test.layout())))
    assert medium <= batch["input_ids"].min() and medium + 10002 < batch["input_ids"].max() < medium + nca


def test_a_test_set_out_of_reach_is_one_line(tmp_path):
    file = tmp_path / "e.toml"
    file.write_text(
        'tokens = "30K"\nband = "high"\n[arm.nca]\n[test.few]\nof = "nca"\nstates = 2\ntokens = "20K"\n', "utf-8"
    )
    done = run_here("build", file, "--out", tmp_path / "a")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1) and not (tmp_path / "a").exists()
    assert done.err.startswith("ncagen: test set 'few': band high (0.5 to 1")
    assert ") is out of reach of 27 grids of 12 x 12 in 2 states: pure noise scores 0." in done.err


def test_one_band_is_the_same_exact_length_for_every_source(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "runs", Runs)
    arms = {"letters": {"source": "runs", "letters": 200, "run": 2}, "nca": {}}
    settings = {"tokens": 20 * 1024, "validation": 0, "band": "0.2-0.3", "arm": arms}
    ncagen.build_experiment(settings, tmp_path / "a")
    for arm in ncagen.open_experiment(tmp_path / "a").arms.values():
        rows = arm.open().rows(np.arange(20))
        content = rows["input_ids"]
        if arm.name == "nca":  # without the delimiters
            content = content.reshape(20, 27, 38)[:, :, 1:-1].reshape(20, -1)
        exact = [ncagen.gzip_length(row[:360].astype("<i4").tobytes()) for row in content]
        assert exact == list(rows["gzip_bytes"]) and all(288 <= length < 432 for length in exact)
    # As shares of noise the limits are each source's own, and exact rationals in the spec.
    shares = settings | {"band_normalised": "0.6-0.9"}
    del shares["band"]
    letters, nca = ncagen.build_experiment(shares, tmp_path / "b").spec.arms
    assert letters.spec.bands[0].name == nca.spec.bands[0].name == "normalised-0.6-0.9"
    assert letters.spec.bands[0].of != nca.spec.bands[0].of


def test_a_device_that_does_not_make_an_arm_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "runs", Runs)
    settings = {"tokens": "20K", "validation": 0, "arm": {"letters": {"source": "runs"}, "nca": {"band": "high"}}}
    line = "arm 'letters': --device cuda does not make rows of source runs: use --device cpu"
    for ray in (None, "local"):
        assert error_of(ncagen.build_experiment, settings, tmp_path / "a", device="cuda", ray=ray) == line
    assert not (tmp_path / "a").exists()
    ncagen.build_experiment(settings, tmp_path / "a", device="auto")
