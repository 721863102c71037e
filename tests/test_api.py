"""The functions of `ncagen` do what the commands do, and show what a row is, bit for bit."""

import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, SETTINGS, contents, error_of, spec_of, without
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen.factory.events import Finished, RowsFound, RowsMade, ShardDone
from ncagen.hints import install
from ncagen.sources import SOURCES, source_of
from ncagen.sources.nca import definition
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import Settings


def test_build_makes_what_the_command_makes_and_tells_how_far_it_is(smoke, tmp_path):
    events = []
    manifest = ncagen.build(SETTINGS, tmp_path / "a", workers=2, progress=events.append)
    assert contents(tmp_path / "a") == contents(smoke())
    assert sum(event.rows for event in events if isinstance(event, RowsMade)) == 440 == manifest.rows
    assert sum(isinstance(event, ShardDone) for event in events) == 4  # each is one in every band
    assert events[-1] == Finished(manifest)
    events.clear()
    assert ncagen.build(spec_of(), tmp_path / "a", progress=events.append) == manifest
    assert sum(event.rows for event in events if isinstance(event, RowsFound)) == 440


def test_rebuild_and_verify(smoke, tmp_path):
    ncagen.rebuild(smoke() / "manifest.json", tmp_path / "a", file_format="arrow")
    assert contents(tmp_path / "a") == contents(smoke("arrow"))
    report = ncagen.verify(tmp_path / "a", regenerate=1.0)
    assert (report.problems, report.rows, report.rebuilt) == ([], 440, 440)


def test_what_cannot_be_built_is_one_line(tmp_path):
    out = tmp_path / "a"
    assert error_of(ncagen.build, SETTINGS, out, file_format="csv") == (
        "format 'csv' is not known: use parquet or arrow"
    )
    assert error_of(ncagen.build, SETTINGS, out, workers=0) == "workers 0 is out of range: use 1 or more"
    assert error_of(ncagen.build, SETTINGS, out, device="tpu") == (
        "--device tpu is not known: use auto, cpu, cuda, or one of several as cuda:1"
    )
    assert error_of(ncagen.build, {"band": "high"}, out) == "tokens is missing: say how many, as in --tokens 164M"
    assert error_of(ncagen.verify, out, regenerate=2) == "regenerate 2 is not a share: use 0 to 1, as in 0.01"
    assert (
        error_of(ncagen.verify, out) == f"{out} does not exist: use a dataset's folder, a URL or user/name on the Hub"
    )
    assert not out.exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_rule_gives_the_grids_of_its_row(smoke, split):
    rows = ncagen.open(smoke(), split, band="medium")
    for row in (0, 7, 19):
        rule = ncagen.rule(rows, row)
        grids = ncagen.tokens_to_grids(rows, rows[row]["input_ids"])
        assert grids.shape == (27, 12, 12)
        assert np.array_equal(rule.simulate(36)[10:], grids)
        assert np.array_equal(rule.simulate(0), rule.start[None])
        assert repr(rule) == f"<ncagen.Rule of candidate {rows[row]['candidate']}: 10 states, 12 x 12 cells>"


@given(st.integers(0, 2**63), st.integers(2, 12), st.integers(3, 7), st.integers(3, 7), st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_a_simulation_is_the_definition_s(candidate, states, height, width, steps):
    from ncagen.sources.nca.rule import rule_of

    chosen = Settings(states=states, height=height, width=width, patch=1, temperature=0.01, warmup=3, stride=2)
    rule, numbers = rule_of(chosen, (5, 0), candidate), np.array([candidate], np.uint64)
    start = np.arange(height * width).reshape(height, width) % states
    for given_start, grid in ((None, rule.start), (start, start.astype(np.uint8))):
        found = rule.simulate(steps, given_start)
        rules = Rules(rule.perception[None], rule.hidden[None], rule.output[None])
        for step in range(steps + 1):
            if step:
                grid = definition.next_grids(chosen, (5, 0), numbers, rules, grid[None], step)[0]
            assert np.array_equal(found[step], grid)


def test_a_start_that_is_no_grid_is_refused(smoke):
    rule = ncagen.rule(ncagen.open(smoke(), band="high"), 0)
    assert error_of(rule.simulate, -1) == "steps -1 is out of range: use 0 to 1000000"
    assert error_of(rule.simulate, 1, np.zeros((12, 13), int)) == (
        "start is int64 (12, 13): use integers of shape (12, 12)"
    )
    assert error_of(rule.simulate, 1, np.full((12, 12), 10)) == "start has states 10 to 10: use 0 to 9"


def test_grids_and_tokens_are_each_other(smoke):
    rows = ncagen.open(smoke(), band="high")
    tokens = rows.rows(np.arange(20))["input_ids"]
    for which in (rows, rows.manifest.spec, {"band": "high"}):
        grids = ncagen.tokens_to_grids(which, tokens)
        assert grids.shape == (20, 27, 12, 12) and grids.dtype == np.uint8
        again = ncagen.grids_to_tokens(which, grids)
        assert np.array_equal(again, tokens) and again.dtype == tokens.dtype
        assert np.array_equal(ncagen.grids_to_tokens(which, grids[3].astype(int)), tokens[3])
    wide = {"band": "high", "grid": "4x6"}
    cells = np.arange(2 * 24).reshape(2, 4, 6) % 10
    assert ncagen.grids_to_tokens(wide, cells).shape == (2 * 8,)


def test_what_is_no_grid_or_row_is_refused(smoke):
    rows = ncagen.open(smoke(), band="high")
    tokens = rows.rows(np.arange(3))["input_ids"]
    assert error_of(ncagen.tokens_to_grids, rows, tokens[:, :1024]) == (
        "tokens are uint16 (3, 1024): use integers [token] or [row, 1026]"
    )
    tokens[1, 0] = 5
    assert error_of(ncagen.tokens_to_grids, rows, tokens) == ("row 1 is not whole grids: give rows as they are stored")
    assert error_of(ncagen.grids_to_tokens, rows, np.zeros((2, 12, 11), int)) == (
        "grids are int64 (2, 12, 11): use integers [frame, 12, 12]"
    )
    assert error_of(ncagen.grids_to_tokens, rows, np.full((2, 12, 12), 10)) == "grids have states 10 to 10: use 0 to 9"


@given(st.binary(max_size=5000))
@settings(deadline=None)
def test_a_gzip_length_is_that_of_zlib(data):
    if not zlib.ZLIB_RUNTIME_VERSION.startswith("1.2."):
        pytest.skip("this zlib is not madler's of the published data")
    assert ncagen.gzip_length(data) == len(zlib.compress(data, 9)) + 12


def test_a_row_s_score_is_the_length_of_its_first_grids(smoke):
    rows = ncagen.open(smoke(), band="high")
    grids = rows[0]["input_ids"].reshape(27, 38)[:10, 1:-1]
    assert ncagen.gzip_length(grids.astype("<i4").tobytes()) == rows[0]["gzip_bytes"]


def test_rows_of_another_source_have_no_rule(smoke):
    spec = spec_of()
    other = replace(spec, source=replace(spec.source, name="none"))
    assert error_of(source_of, other) == f"source 'none' is not known: this ncagen has {', '.join(SOURCES)}"


@pytest.mark.parametrize("call", ["build({'tokens': 1, 'band': 'high'}, 'a')", "gzip_length(b'')"])
def test_a_function_that_compiles_says_that_it_needs_numba(call, tmp_path):
    script = f"import ncagen\ntry:\n    ncagen.{call}\nexcept ImportError as error:\n    print(error)\n"
    command = [sys.executable, "-c", without("numba") + script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"compiling kernels needs numba: {install('numba')}\n", "")
    assert not list(tmp_path.iterdir())


def test_every_public_function_is_documented_with_its_errors():
    page = (ROOT / "docs" / "python.md").read_text()
    for name in ncagen.__all__:
        if not name.startswith("_"):
            assert f"`ncagen.{name}" in page or f"ncagen.{name}(" in page, name
            assert getattr(ncagen, name).__doc__
    assert (ROOT / "ncagen" / "py.typed").exists()


def test_open_reports_a_folder_that_does_not_exist(tmp_path):
    path = tmp_path / "missing"
    line = f"{path} does not exist: use a dataset's folder, a URL or user/name on the Hub"
    assert error_of(ncagen.open, path) == line
