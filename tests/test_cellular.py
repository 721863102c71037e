"""Whole commands on rows of `life` and `elementary`: built, verified, drawn, evaluated, audited, converted."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import error_of, make

import ncagen
import ncagen.evaluate
from ncagen import cli
from ncagen.errors import NcagenError
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.sources.cellular import lanes
from ncagen.sources.elementary import Elementary
from ncagen.sources.life import Life

SOURCES = {"life": Life, "elementary": Elementary}
SETTINGS = {"tokens": 60 * 1024, "validation": 20 * 1024, "rows_per_shard": 40}


# sha256 of tokens, rules and gzip lengths of four candidates, as little-endian uint32 and int32: no row may change.
PINNED = {
    Life(1024): "6b49cf16aac0d68f58ad78564562302bb97be35e4fe5e448695da83ca932503d",
    Life(
        1024, "B36/S23", 3, 4, 2, 0.3, grid="9x15"
    ): "6266f4840b6f473106b3169b7a20f18501d8e87868aec739cf91169edcf4490e",
    Life(1024, "random", patch=4): "0124121c85df9c16d927909356050660209859d7722ff4d6581513bd01e76e81",
    Elementary(1024): "3730a5a24860b7e6e69487b74096749fe9ed39ac8ea1360dd298101ac4ca7960",
    Elementary(
        1024, "disjoint", 8, 3, 2, 0.3, width=96
    ): "f32969fcc30e8e600569d0e6a2ba2edf270bdc44bbc3e8b2e87ba884cd23e257",
    Elementary(1024, "110", width=128): "236eca484cfb8ca3064ecad565b1e5ba719f0d26cada2dcccf5f98ebf3e2ad38",
}


@pytest.fixture(scope="module", params=SOURCES)
def folder(request, tmp_path_factory):
    """60 rows in 2 shards and 20 in 1."""
    folder = tmp_path_factory.mktemp(request.param) / request.param
    make(folder, from_settings(SETTINGS | {"source": request.param}))
    return folder


def run(*arguments) -> tuple[int, str, str]:
    """Runs a command: status, stdout, and the line of an error."""
    done = CliRunner().invoke(cli.main, list(map(str, arguments)), standalone_mode=False)
    if isinstance(done.exception, NcagenError):
        return done.exception.status, done.stdout, str(done.exception)
    if done.exception:
        raise done.exception
    return done.return_value, done.stdout, ""


@pytest.mark.parametrize(("source", "known"), PINNED.items(), ids=str)
def test_rows_are_pinned(source, known):
    candidates = np.array([0, 1, 2**32 + 5, 2**64 - 1], np.uint64)
    rows = source.batch((7, 1), candidates).rows(np.arange(4))
    values = rows.input_ids.astype("<u4"), rows["rule"].astype("<i4"), rows["gzip_bytes"].astype("<i4")
    assert sha256(b"".join(array.tobytes() for array in values)).hexdigest() == known


@pytest.mark.parametrize("source", [Life(500, "B36/S125"), Elementary(500, "54")], ids=lambda source: source.name)
def test_the_self_check_finds_kernels_that_give_another_row(source, monkeypatch):
    """One cell of the last candidate is another, in the second word of 64."""
    right = lanes.rows

    def wrong(*arguments):
        rows = right(*arguments)
        rows[-1, -2] ^= 1
        return rows

    monkeypatch.setattr(lanes, "rows", wrong)
    assert error_of(source.check).startswith(
        "this processor does not compute what ncagen defines: rows of source"
        f" {source.name} are not those of its definition; no row was made here: use another machine,"
    )


def test_verify_makes_every_row_again(folder):
    report = verify(folder, share=1.0)
    assert (report.problems, report.rows, report.rebuilt) == ([], 80, 80)


def test_rules_are_stored_and_rows_are_selected_by_them(folder):
    data = ncagen.open(folder)
    rules = np.array([row["rule"] for row in data])
    assert len(set(rules.tolist())) > (50 if folder.name == "life" else 40)
    some = ncagen.open(folder, where=f"rule == {rules[7]}")
    assert rules[7] in {row["rule"] for row in some} and len(some) == (rules == rules[7]).sum()


def test_grids_are_converted_to_tokens_and_back(folder):
    data, source = ncagen.open(folder), SOURCES[folder.name]
    ids = data.rows(np.arange(5))["input_ids"]
    grids = ncagen.tokens_to_grids(data, ids)
    assert np.array_equal(grids, source(1024).grids().cells(ids))
    assert np.array_equal(ncagen.grids_to_tokens(data, grids), ids)
    assert np.array_equal(ncagen.tokens_to_grids({"source": folder.name}, ids[0]), grids[0])
    assert error_of(ncagen.rule, data, 0) == (
        f"rows of source {folder.name} are not of neural automata: use rows of source nca"
    )


def test_show_prints_and_draws_a_row(folder, tmp_path):
    ids = ncagen.open(folder)[3]["input_ids"]
    cells = SOURCES[folder.name](1024).grids().cells(ids[None])[0]
    status, out, _ = run("show", folder, "--row", 3)
    assert status == 0 and "rule " in out
    if folder.name == "life":
        assert "t=10         t=11         t=12" in out
        assert " ".join("".join(map(str, grid[0])) for grid in cells[:3]) in out
    else:  # one picture with time downwards
        lines = ["".join(map(str, grid[0])) for grid in cells]
        assert "t=0 to t=56\n" + "\n".join(lines) in out
    status, out, _ = run("show", folder, "--animate")
    assert status == 0 and "t=" in out
    for picture in (("--png", tmp_path / "one.png"), ("--png", tmp_path / "many.png", "--rows", 8)):
        assert run("show", folder, *picture)[0] == 0
    assert run("show", folder, "--gif", tmp_path / "row.gif")[0] == 0


def test_lines_of_cells_are_pictures_with_time_downwards(tmp_path):
    from PIL import Image

    from ncagen.view import picture
    from ncagen.view.grids import moving, still

    source = Elementary(200, "90", width=16)
    ids = source.tokens((0, 0), np.arange(8, dtype=np.uint64))
    lines = source.grids().cells(ids)[:, :, 0]
    drawn, played = still(source.grids()), moving(source.grids())
    assert np.array_equal(drawn.cells(ids)[:, 0], lines)
    assert (played.height, played.frames) == (18, 17) and played.frame_name(2) == "t=2 to t=19"
    assert np.array_equal(played.cells(ids)[3, 5], lines[3, 5:23])
    picture.png(drawn, ids, tmp_path / "a.png")
    pixels = np.array(Image.open(tmp_path / "a.png"))
    scale = pixels.shape[1] // (6 * 17 - 1)  # six rows side by side, with a cell between them
    cells = pixels[::scale, ::scale]
    assert np.array_equal(cells[:34, 17:33], lines[1]) and np.array_equal(cells[35:, :16], lines[6])


def test_the_ladder_has_every_rung_but_the_oracle(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    found = ncagen.evaluate.ladder(ncagen.open(copy), rows=10)
    names = ["uniform", "unigram", "cell histogram", "patch histogram", "copy", "lookup", "linear"]
    assert [rung.name for rung in found.rungs] == names
    nats = {rung.name: rung.mean for rung in found.rungs}
    assert nats["uniform"] == pytest.approx(np.log(16), abs=1e-6)
    assert nats["lookup"] < 0.5 * nats["cell histogram"]
    assert found.rungs[5].last < 0.2  # nearly every neighbourhood has occurred by then
    assert run("evaluate", folder, "--rungs", "oracle")[::2] == (
        2,
        f"rows of source {folder.name} have no rung 'oracle': use {', '.join([*names, 'architecture'])}",
    )


def test_the_audit_reads_life_as_grids_and_rings_as_tokens(folder):
    checks = json.loads(run("audit", folder, "--json")[1])["checks"]
    assert checks["ids"]["verdict"] == "ok" and checks["leakage"]["verdict"] == "ok"
    if folder.name == "life":
        assert checks["one rule"]["verdict"] == checks["aligned"]["verdict"] == "ok"
        assert checks["leakage"]["rules"] == 0
    else:
        assert "one rule" not in checks


def test_the_card_says_what_rules_the_splits_have(folder):
    card = (folder / "README.md").read_text()
    assert "| `rule` | int32 | the number of the row's rule |" in card
    shared = "Splits share rules, and differ by their starts."
    disjoint = "No rule of a split is one of another, nor equal to one but for an exchange of states or sides."
    assert (disjoint if folder.name == "life" else shared) in card


def test_a_build_with_a_bad_rule_writes_nothing(tmp_path):
    out = tmp_path / "a"
    for source, rule in (("life", "B3S23"), ("elementary", 256)):
        status, _, text = run("build", "--source", source, "--rule", rule, "--tokens", "10K", "--out", out)
        assert status == 2 and text.startswith(f"rule '{rule}' is not ") and not out.exists()
