"""`ncagen evaluate` and what it leaves behind: the table, JSON, the kept ladder, the card, the page, errors."""

import json
import shutil

import numpy as np
import pytest
from conftest import as_owner, error_of, make, run_here, spec_of

import ncagen
from ncagen.dataset import card
from ncagen.dataset.card import LADDER
from ncagen.dataset.manifest import read_manifest
from ncagen.evaluate import cache, compute, ladder, report
from ncagen.factory.check_dataset import card_of, verify
from ncagen.view.webpage import page

# Mean losses of two rows of the small dataset. A change of a definition moves them: then `cache.VERSION` has to rise.
KNOWN = {
    "uniform": 9.21034,
    "unigram": 8.669162,
    "cell histogram": 6.410972,
    "patch histogram": 6.614171,
    "copy": 6.448625,
    "lookup": 5.693774,
    "linear": 2.708302,
    "architecture": 1.880868,
    "oracle": 0.005768,
}
ROWS = 2


@pytest.fixture
def folder(smoke, tmp_path):
    """A copy of the small dataset, without a kept ladder."""
    return shutil.copytree(smoke(), tmp_path / "a")


@pytest.fixture
def high(folder):
    return ncagen.open(folder, band="high")


def test_the_ladder_of_some_rows(high):
    found = ladder(high, ROWS, "all")
    assert [rung.name for rung in found.rungs] == list(compute.RUNGS)
    assert (found.rows, found.band, found.split, found.seed) == (ROWS, "high", "train", 0)
    assert found.dataset_sha256 == high.manifest.dataset_sha256
    means = {rung.name: rung.mean for rung in found.rungs}
    assert means == pytest.approx(KNOWN, abs=1e-5)


def test_a_kept_ladder_is_not_computed_again(high, monkeypatch):
    first = ladder(high, ROWS, "copy,lookup")
    monkeypatch.setattr(compute, "_rung", lambda *arguments: pytest.fail("computed again"))
    assert ladder(high, ROWS, ["copy", "lookup"]).to_json() == first.to_json()
    assert [rung.name for rung in ladder(high, ROWS, "copy").rungs] == ["copy"]
    with pytest.raises(pytest.fail.Exception):
        ladder(high, ROWS + 1, "copy")


def test_rungs_before_a_stop_are_kept(high, monkeypatch):
    whole = compute._rung

    def stopped(dataset, sample, name, progress):
        if name == "copy":
            raise KeyboardInterrupt
        return whole(dataset, sample, name, progress)

    monkeypatch.setattr(compute, "_rung", stopped)
    with pytest.raises(KeyboardInterrupt):
        ladder(high, ROWS, "uniform,unigram,copy")
    [kept] = cache.ladders(high.folder, high.manifest.dataset_sha256)
    assert [rung.name for rung in kept.rungs] == ["uniform", "unigram"]


def test_ladders_of_several_samples_are_kept_and_the_largest_is_shown(folder, high):
    for rows, seed in ((2, 0), (4, 0), (2, 1)):
        ladder(high, rows, "uniform", seed=seed)
    ladder(ncagen.open(folder, band="medium"), 2, "uniform")
    ladder(high, 4, "copy")
    kept = cache.ladders(high.folder, high.manifest.dataset_sha256)
    assert [(k.band, k.rows, k.seed, len(k.rungs)) for k in kept] == [
        ("high", 2, 0, 1),
        ("high", 2, 1, 1),
        ("high", 4, 0, 2),
        ("medium", 2, 0, 1),
    ]
    shown = cache.largest(high.folder, high.manifest.dataset_sha256)
    assert sorted((k.band, k.rows) for k in shown) == [("high", 4), ("medium", 2)]
    assert verify(folder).problems == []


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"version": 1, "dataset_sha256": "ab", "ladders": []}', '{"version": 0}']
)
def test_a_damaged_or_foreign_file_is_ignored_and_written_again(high, folder, damage):
    (folder / LADDER).write_text(damage)
    assert cache.ladders(high.folder, high.manifest.dataset_sha256) == []
    ladder(high, ROWS, "uniform")
    assert len(cache.ladders(high.folder, high.manifest.dataset_sha256)) == 1


def test_a_folder_that_cannot_be_written_is_no_error(folder):
    def read_only() -> None:
        folder.chmod(0o555)
        assert ladder(ncagen.open(folder, band="high"), 2, "uniform").rungs[0].mean == pytest.approx(np.log(10**4))

    as_owner(folder, read_only)
    assert not (folder / LADDER).exists()


def test_selected_rows_are_not_kept(folder):
    chosen = ncagen.open(folder, band="high", where="gzip_bytes >= 900")
    assert ladder(chosen, 2, "uniform").rows == 2
    assert not (folder / LADDER).exists()


def test_the_table(folder):
    done = run_here("evaluate", folder, "--band", "high", "--rows", 2, "--rungs", "uniform,cell-histogram")
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert lines[0] == "high train, 2 rows: nats a patch, mean of grids 2 to 27"
    assert lines[2].split() == ["mean", "±", "a", "token", "right", "grid", "2", "3", "5", "9", "16", "27"]
    assert lines[3].split()[0::2][:4] == ["uniform", "9.210", "8.726", "9.21"]
    assert len(lines[3].split("█")) == 25 and len(lines) == 8


def test_every_band_is_evaluated_and_json_has_means(folder):
    found = json.loads(run_here("evaluate", folder, "--rows", 2, "--rungs", "copy", "--json").out)["ladders"]
    assert [each["band"] for each in found] == ["high", "medium"]
    [rung] = found[0]["rungs"]
    assert rung["nats"][0] is None and len(rung["nats"]) == 27
    assert rung["mean"] == pytest.approx(np.mean(rung["nats"][1:]), abs=1e-5)
    assert rung["trainer_mean"] == pytest.approx(rung["mean"] * 36 / 38, abs=1e-5)


def test_what_cannot_be_evaluated_is_one_line(folder, high):
    known = "uniform, unigram, cell histogram, patch histogram, copy, lookup, linear, architecture, oracle"
    assert error_of(ladder, high, 2, "loookup") == f"rung 'loookup' is not known: use {known}, or all"
    assert error_of(ladder, high, 0) == "rows 0 is out of range: use 1 or more"
    assert error_of(ladder, high, 2, seed=-1) == "seed -1 is out of range: use 0 to 4294967295"
    assert run_here("evaluate", folder, "--rows", "2", "--rungs", "x").err == (
        f"ncagen: rung 'x' is not known: use {known}, or all\n"
    )
    assert run_here("evaluate", folder, "--band", "low").err == (
        f"ncagen: {folder} has no 'train' rows in band 'low': it has train, validation in high, medium\n"
    )


def test_rows_of_one_grid_have_nothing_to_predict(tmp_path):
    make(tmp_path / "a", spec_of(tokens=4096, validation=0, bands=["0-1"], states=2, grid=64, patch=1))
    assert error_of(ladder, ncagen.open(tmp_path / "a"), 2) == (
        "rows have one grid of 64 x 64 cells: predictions need two; build with a longer seq_len"
    )


def test_the_card_and_the_page_show_a_kept_ladder(folder, high):
    assert "ladder-part" in page(folder) and '"ladders":[]' in page(folder)
    found = ladder(high, 2, "uniform,oracle")
    manifest = read_manifest(folder)
    text = card.text(manifest, card_of(manifest.spec), yardsticks=report.card(found))
    assert "## What a model could know\n" in text and "| uniform | 9.210 | 9.210 | 8.726 | 0.0% |\n" in text
    assert "2 rows of high train, grids 2 to 27:\n\n| predictor | nats a patch |" in text
    assert '"title":"2 rows of high train, grids 2 to 27"' in page(folder)
