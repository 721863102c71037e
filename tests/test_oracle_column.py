"""Tests the oracle loss in datasets: the column, what shows it, `evaluate.oracle`, and the warning of noise."""

import numpy as np
import pytest
from conftest import SETTINGS, error_of, make, run_here, spec_of

import ncagen
from ncagen import evaluate, philox
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources.nca import batch
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca
from ncagen.view import webpage

TRAIN = 0, philox.STREAMS["train"]


def test_without_the_fact_nothing_changes(smoke, stored):
    """Same rows; the spec has no such setting; the column is one more."""
    plain = ncagen.open(smoke(), band="high")
    assert "facts" not in plain.manifest.spec.to_dict()["source"]
    assert [c.name for c in plain.row_format.facts] == ["gzip_bytes", "gzip_ratio"]
    found = ncagen.open(stored, band="high")
    assert found.manifest.spec.to_dict()["source"]["facts"] == "oracle"
    assert found.manifest.spec.sha256 != spec_of().sha256
    both = plain.rows(np.arange(200)), found.rows(np.arange(200))
    assert set(both[1]) == {*both[0], "oracle_micronats"}
    assert all(np.array_equal(column, both[1][name]) for name, column in both[0].items())


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle") / "rows"
    make(folder, from_settings(SETTINGS | {"facts": "oracle"}), "parquet")
    return folder


def test_the_column_is_read_selected_and_verified(stored):
    dataset = ncagen.open(stored, band="medium")
    column = dataset.rows(np.arange(len(dataset)), columns=("oracle_micronats",))["oracle_micronats"]
    found = evaluate.oracle(dataset)
    assert (found.nats.shape, found.patches) == ((200, 27), 36)
    assert abs(column / 1e6 - found.nats[:, 1:].mean(axis=1)).max() < 2e-5
    assert found.trainer_mean == pytest.approx(found.mean * 36 / 38)
    limit = int(np.median(column))
    assert len(ncagen.open(stored, band="medium", where=f"oracle_micronats < {limit}")) == (column < limit).sum()
    report = ncagen.verify(stored, regenerate=1.0)
    assert report.problems == [] and report.rebuilt == report.rows == 440


def test_some_rows_of_either_split(stored):
    valid = ncagen.open(stored, split="validation", band="high")
    found = evaluate.oracle(valid, range(3, 7))
    assert found.rows.tolist() == [3, 4, 5, 6] and np.isfinite(found.realised[:, 1:]).all()
    column = valid.rows(np.arange(3, 7))["oracle_micronats"]
    assert abs(column / 1e6 - found.nats[:, 1:].mean(axis=1)).max() < 2e-5
    with pytest.raises(IndexError):
        evaluate.oracle(valid, range(30))
    assert error_of(evaluate.oracle, valid, []) == "no rows are given: use numbers from 0 to 19"


def test_the_card_show_and_the_page_have_it(stored):
    card = (stored / "README.md").read_text()
    assert "`oracle_micronats` | int32 | loss of a model that knows the rule, in millionths of a nat a patch |" in card
    assert "pure noise has 9,210,340." in card
    shown = run_here("show", stored)
    assert "oracle micronats  mean " in shown.out and "% of rows up to" in shown.out
    first = ncagen.open(stored, band="high")[2]["oracle_micronats"]
    assert f", oracle micronats {first}\n" in run_here("show", stored, "--row", "2").out
    assert '"facts":{"oracle_micronats":[' in webpage.page(stored)


def test_a_wrong_value_is_found(stored):
    source = Nca(Settings(facts="oracle"))
    rows = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    changed = np.array([0, -1, 9_300_000], np.int32)
    problem = "oracle_micronats is not from 0 to that of noise"
    assert source.problems(rows)[problem].all()
    assert source.problems(Rows(rows.columns | {"oracle_micronats": changed}))[problem].tolist() == [True, False, False]


def test_devices_have_the_same_column():
    chosen = Settings(facts="oracle", temperature=0.001, seq_len=1000)
    numbers, last = np.arange(3, dtype=np.uint64), np.array([2, 0])
    found, wanted = (batch.run(chosen, TRAIN, numbers, backend=backend(b)).rows(last) for b in ("host", "cpu"))
    assert np.array_equal(found["oracle_micronats"], wanted["oracle_micronats"]) and found["oracle_micronats"].all()


def test_a_spec_with_an_empty_fact_is_refused():
    values = Nca(Settings()).to_dict() | {"facts": ""}
    assert error_of(Nca.from_dict, values, 1024) == "setting 'facts' of source nca is '': leave it out"


NOISY = (
    "ncagen: at temperature 0.1, about 5.5 of 9.2 nats a patch are noise, which gzip counts as complexity and no model"
    " can learn: use a lower --temperature, as in 0.0001\n"
)


def test_a_build_of_noise_says_so_before_it_starts(tmp_path):
    flags = ["--tokens=20K", "--validation=0", "--band=high", "--temperature=0.1"]
    found = run_here("build", *flags, "--plan")
    assert (found.status, found.err) == (0, NOISY)
    found = run_here("build", *flags, "--out", tmp_path / "noise")
    assert found.status == 0 and found.err.startswith(NOISY)
    assert run_here("build", *flags, "--out", tmp_path / "noise", "--quiet").err == ""
    assert run_here("build", "--tokens=20K", "--validation=0", "--band=high", "--plan").err == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"temperature": 0.0}, ""),
        ({"temperature": 0.01}, ""),
        ({"temperature": 1.0, "stride": 3}, "at temperature 1, at least 9.1 of 9.2 nats a patch are noise"),
        ({"temperature": 1.0, "states": 2, "warmup": 10**6}, "at temperature 1, about 2.5 of 2.8 nats a patch"),
    ],
)
def test_warnings_of_settings(changes, words):
    found = Nca(Settings(**changes)).warnings((0, philox.STREAMS["pilot"]))
    assert len(found) == bool(words) and words in "".join(found)
