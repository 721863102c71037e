"""Rows of 64 to 131,072 tokens: built, read, shuffled, verified and exported; long rows have smaller row groups."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import error_of, make, run_here
from hypothesis import given
from hypothesis import strategies as st

import ncagen
from ncagen.dataset.manifest import read_manifest
from ncagen.export import engine, formats
from ncagen.factory.check_dataset import verify
from ncagen.factory.search import rows_of
from ncagen.factory.settings import from_settings
from ncagen.row_format import MOST_ROW_TOKENS, row_group_rows
from ncagen.sources import source_of
from ncagen.view import webpage

# seq_len, tokens of a row of whole grids of 38, rows, and rows of a row group
LENGTHS = {
    64: (76, 300, 256),
    65: (76, 300, 256),
    100: (114, 300, 256),
    999: (1026, 300, 256),
    32768: (32794, 130, 128),
    131072: (131100, 34, 32),
}


def spec_of(seq_len: int, rows: int, **changes):
    return from_settings({"tokens": rows * seq_len, "validation": 0, "band": "0-2", "seq_len": seq_len} | changes)


@pytest.fixture(scope="module", params=LENGTHS)
def dataset(request, tmp_path_factory):
    """A folder of Parquet, and one of Arrow with the same rows."""
    folder = tmp_path_factory.mktemp("lengths")
    spec = spec_of(request.param, LENGTHS[request.param][1])
    manifests = [make(folder / name, spec, name) for name in ("parquet", "arrow")]
    assert manifests[0].dataset_sha256 == manifests[1].dataset_sha256
    return folder, request.param


def test_rows_of_every_length_are_read_as_they_are_made(dataset):
    folder, seq_len = dataset
    width, rows, group_rows = LENGTHS[seq_len]
    file = next(folder.glob("parquet/data/*/*.parquet"))
    groups = pq.ParquetFile(file).metadata
    assert groups.num_row_groups == 2 and groups.row_group(0).num_rows == group_rows
    manifest = read_manifest(folder / "parquet")
    source = source_of(manifest.spec)
    for name in ("parquet", "arrow"):
        data = ncagen.open(folder / name, verify="never")  # which does not fall back on pyarrow's decoder
        assert (len(data), data.row_format.row_tokens) == (rows, width)
        numbers = np.array([rows - 1, 0, group_rows, group_rows - 1])
        read = data.rows(numbers)
        made = source.batch((0, 0), read["candidate"]).rows(np.arange(4))
        assert all(np.array_equal(read[column], made[column]) for column in made.columns)
        assert np.array_equal(data[rows - 1]["input_ids"], made.input_ids[0])
        report = verify(folder / name, share=0.02)
        assert (report.problems, report.rows) == ([], rows) and report.rebuilt > 0


def test_a_stream_has_each_row_once_an_epoch(dataset):
    folder, seq_len = dataset
    data = ncagen.open(folder / "parquet")
    batch = next(iter(ncagen.Stream(data, batch_size=5, layout=ncagen.Layout())))
    assert batch["input_ids"].shape == batch["labels"].shape == (5, seq_len)
    assert ((batch["labels"] == -100).sum(axis=1) == 38).all()  # the first grid
    seen = [batch["candidate"] for batch in ncagen.Stream(data, batch_size=1 + len(data) // 3)]
    assert np.array_equal(np.sort(np.concatenate(seen)), [row["candidate"] for row in data])


@pytest.mark.parametrize("to", ["nanogpt", "mds", "hf"])
def test_exports_of_every_length(dataset, to, tmp_path):
    folder, seq_len = dataset
    width, rows, _ = LENGTHS[seq_len]
    planned = formats.plan(folder / "parquet", None, to)
    files, _ = engine.write(planned, tmp_path / "out", lambda rows: None)
    assert planned.row_count("train") == rows and files
    if to == "nanogpt":
        ids = np.fromfile(tmp_path / "out/train.bin", np.uint16).reshape(rows, width)
        assert np.array_equal(ids[-1], ncagen.open(folder / "arrow")[rows - 1]["input_ids"])


def test_the_page_and_the_figures_of_every_length(dataset):
    folder, seq_len = dataset
    text = webpage.page(folder / "arrow")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.S)[1])
    assert data["row"]["seqLen"] == seq_len and len(text) < 2**20
    assert data["figures"]["0-2"]["looked"] == min(LENGTHS[seq_len][1], max(1, 2**22 // LENGTHS[seq_len][0]))
    assert run_here("show", folder / "arrow", "--json").status == 0


@given(st.integers(1, MOST_ROW_TOKENS))
def test_row_groups_are_below_eight_million_tokens(row_tokens):
    rows = row_group_rows(row_tokens)
    assert 256 % rows == 0 and (rows == 256 or row_tokens >= 2**15)
    assert rows == 1 or rows * row_tokens < 2**23
    assert rows == 256 or rows * row_tokens >= 2**22


def test_shards_of_long_rows_have_fewer_of_them():
    """The default only, and only for lengths that no dataset had before; what is given holds."""
    defaults = {64: 4096, 1024: 4096, 16384: 4096, 16385: 4095, 32768: 2048, 131072: 512}
    assert {n: from_settings({"tokens": 1, "band": "0-2", "seq_len": n}).rows_per_shard for n in defaults} == defaults
    assert spec_of(131072, 1, rows_per_shard=4096).rows_per_shard == 4096


def test_long_rows_are_made_some_at_a_time(monkeypatch):
    source = source_of(spec_of(131072, 1))
    batch = source.batch((0, 0), np.arange(40, dtype=np.uint64))
    calls, rows = [], type(batch).rows
    monkeypatch.setattr(type(batch), "rows", lambda self, chosen: calls.append(len(chosen)) or rows(self, chosen))
    made = rows_of(source, batch, np.arange(40))
    assert calls == [31, 9] and np.array_equal(made.candidate, np.arange(40))
    assert np.array_equal(made.input_ids[33:], rows(batch, np.arange(33, 40)).input_ids)


def test_rows_whose_first_grid_is_all_that_a_model_reads_are_warned_of(tmp_path):
    flags = ["--tokens=640", "--validation=0", "--band=0-2", "--seq-len=64", "--grid=24"]
    done = run_here("build", *flags, "--out", tmp_path / "a")
    assert done.status == 0 and done.err.endswith(
        "ncagen: no token has a loss by default: nothing predicts the first 146 of a row, and a model reads 64: use"
        " --seq-len 147 or more\n"
    )


@pytest.mark.parametrize(
    ("seq_len", "line"),
    [
        (63, "seq_len 63 is out of range: use 64 to 131072"),
        ("129k", "seq_len 132096 is out of range: use 64 to 131072"),
        ("1m", "seq_len '1m' is not a length: use 64 to 128k, as in 1024 or 8k"),
    ],
)
def test_other_lengths_are_refused(seq_len, line):
    assert error_of(from_settings, {"tokens": 1000, "band": "high", "seq_len": seq_len}) == line
