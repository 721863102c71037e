"""Exports: the exact bytes, by parsers written here anew; the one line for every mistake; kills at any moment."""

import hashlib
import json
import os
import pickletools
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NCAGEN, Run, as_owner, contents, hear_interrupts, make, run, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.export import megatron
from ncagen.export import plan as planning
from ncagen.export.engine import write
from ncagen.export.formats import FORMATS, plan
from ncagen.export.journal import JOURNAL, RECEIPT
from ncagen.factory.settings import from_settings

ROW = 1026
GRID = 38
SPLITS = ("train", "validation")
CUT = {"length": 700, "token_offset": 3}
WIDE = {"token_offset": 100_000}


@pytest.fixture(scope="module")
def one_band(tmp_path_factory):
    """200 rows in 3 shards, and 20 of validation."""
    folder = tmp_path_factory.mktemp("one") / "a"
    make(folder, spec_of(bands=["high"]))
    return folder


@pytest.fixture(scope="module")
def few_rows(tmp_path_factory):
    """5 rows in 2 shards, and 1 of validation."""
    folder = tmp_path_factory.mktemp("few") / "a"
    make(folder, spec_of(tokens=5 * 1024, validation=1024, bands=["high"], rows_per_shard=3))
    return folder


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory):
    """40 shards of 25 rows: long enough to be stopped within."""
    folder = tmp_path_factory.mktemp("many") / "a"
    make(folder, from_settings({"tokens": 1000 * 1024, "validation": 0, "bands": ["high"], "rows_per_shard": 25}))
    return folder


def but_slow(*quick: str) -> list:
    """Every format, all but some marked slow."""
    return [to if to in quick else pytest.param(to, marks=pytest.mark.slow) for to in FORMATS]


def export(dataset: Path, to: str, out: Path, band: str | None = None, **options) -> Path:
    """Exports in this process."""
    write(plan(dataset, band, to, **options), out, lambda rows: None)
    return out


def column(dataset: Path, split: str, name: str = "input_ids", band: str | None = None) -> np.ndarray:
    """A column of the source, all shards."""
    rows = Dataset(dataset, split, band)
    return np.concatenate([rows.shard(number)[name] for number in range(len(rows.records))])


def expected(dataset: Path, split: str, length: int = ROW, token_offset: int = 0) -> np.ndarray:
    """The tokens that an export must hold: int64[row, token]."""
    return column(dataset, split)[:, :length].astype(np.int64) + token_offset


def equal(found: np.ndarray, wanted: np.ndarray) -> bool:
    return np.array_equal(found.reshape(wanted.shape), wanted)


# --- each format, byte for byte ---


@pytest.mark.parametrize("options", [{}, CUT])
def test_nanogpt(one_band, tmp_path, options):
    out = export(one_band, "nanogpt", tmp_path / "a", **options)
    assert set(contents(out)) == {"train.bin", "val.bin", "meta.pkl", RECEIPT}
    for split, name in zip(SPLITS, ("train.bin", "val.bin"), strict=True):
        assert equal(np.fromfile(out / name, "<u2"), expected(one_band, split, **options))
    opcodes = [(code.name, value) for code, value, _ in pickletools.genops((out / "meta.pkl").read_bytes())]
    assert ("SHORT_BINUNICODE", "vocab_size") in opcodes
    assert ("BININT2", 10002 + options.get("token_offset", 0)) in opcodes
    assert not {name for name, _ in opcodes} & {"GLOBAL", "STACK_GLOBAL", "REDUCE"}  # nothing that loading would run


def test_llmc(one_band, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "FILE_TOKENS", 130 * ROW)  # 200 rows: two files
    out = export(one_band, "llmc", tmp_path / "a")
    names = ["nca_train_000000.bin", "nca_train_000001.bin", "nca_val_000000.bin"]
    assert sorted(contents(out)) == sorted([RECEIPT, *names])
    found = []
    for name in names:
        data = (out / name).read_bytes()
        header = struct.unpack("<256i", data[:1024])
        assert header == (20240520, 1, (len(data) - 1024) // 2) + (0,) * 253
        found.append(np.frombuffer(data, "<u2", offset=1024))
    assert [tokens.size for tokens in found] == [70 * ROW, 130 * ROW, 20 * ROW]
    assert equal(np.concatenate(found[:2]), expected(one_band, "train"))
    assert equal(found[2], expected(one_band, "validation"))


@pytest.mark.parametrize(("options", "code", "dtype"), [({}, 8, "<u2"), (CUT, 8, "<u2"), (WIDE, 4, "<i4")])
def test_megatron(one_band, tmp_path, monkeypatch, options, code, dtype):
    monkeypatch.setattr(megatron, "BLOCK", 64)
    out = export(one_band, "megatron", tmp_path / "a", **options)
    for split in SPLITS:
        wanted = expected(one_band, split, **options)
        rows, length = wanted.shape
        assert equal(np.fromfile(out / f"{split}.bin", dtype), wanted)
        index = (out / f"{split}.idx").read_bytes()
        assert index[:9] == b"MMIDIDX\x00\x00"
        assert struct.unpack("<QBQQ", index[9:34]) == (1, code, rows, rows + 1)
        lengths, pointers, documents = np.split(np.frombuffer(index[34:], np.uint8), [4 * rows, 12 * rows])
        assert lengths.view("<i4").tolist() == [length] * rows
        assert pointers.view("<i8").tolist() == [row * length * np.dtype(dtype).itemsize for row in range(rows)]
        assert documents.view("<i8").tolist() == list(range(rows + 1))


@pytest.mark.parametrize(("options", "code", "dtype"), [({}, 5, "<u2"), (CUT, 5, "<u2"), (WIDE, 6, "<u4")])
def test_litdata(one_band, tmp_path, options, code, dtype):
    out = export(one_band, "litdata", tmp_path / "a", **options)
    for split in SPLITS:
        wanted, found = expected(one_band, split, **options), []
        index = json.loads((out / split / "index.json").read_bytes())
        assert index["config"]["data_format"] == [f"no_header_numpy:{code}"]
        for number, chunk in enumerate(index["chunks"]):
            assert chunk["filename"] == f"chunk-0-{number}.bin"
            data = (out / split / chunk["filename"]).read_bytes()
            rows = struct.unpack("<I", data[:4])[0]
            offsets = struct.unpack(f"<{rows + 1}I", data[4 : 8 + 4 * rows])
            assert (chunk["chunk_bytes"], chunk["chunk_size"]) == (len(data), rows)
            assert chunk["dim"] == rows * wanted.shape[1] and offsets[-1] == len(data)
            found += [np.frombuffer(data[a:b], dtype) for a, b in pairwise(offsets)]
        assert equal(np.stack(found), wanted)


@pytest.mark.parametrize("zstd", [False, True])
@pytest.mark.parametrize(("options", "dtype"), [({}, "uint16"), (CUT, "uint16"), (WIDE, "uint32")])
def test_mds(one_band, tmp_path, options, dtype, zstd):
    out = export(one_band, "mds", tmp_path / "a", zstd=zstd, **options)
    for split in SPLITS:
        index = json.loads((out / split / "index.json").read_bytes())
        assert set(contents(out / split)) == {"index.json", *(file_of(shard)["basename"] for shard in index["shards"])}
        wanted, samples = expected(one_band, split, **options), []
        for shard in index["shards"]:
            length = wanted.shape[1]
            assert shard["column_names"] == ["candidate", "gzip_bytes", "gzip_ratio", "input_ids"]
            assert shard["column_encodings"] == ["int64", "int32", "float32", f"ndarray:{dtype}:{length}"]
            assert shard["column_sizes"] == [8, 4, 4, length * np.dtype(dtype).itemsize]
            samples += mds_samples(out / split, shard)
        assert equal(np.array([np.frombuffer(sample[16:], dtype) for sample in samples]), wanted)
        others = [struct.unpack("<qif", sample[:16]) for sample in samples]
        for name, values in zip(("candidate", "gzip_bytes", "gzip_ratio"), zip(*others, strict=True), strict=True):
            assert np.array_equal(np.array(values), column(one_band, split, name))


def file_of(shard: dict) -> dict:
    return shard["zip_data"] or shard["raw_data"]


def mds_samples(folder: Path, shard: dict) -> list[bytes]:
    """The samples of one MDS shard, its sizes and hashes checked."""
    data = (folder / file_of(shard)["basename"]).read_bytes()
    assert file_of(shard)["bytes"] == len(data)
    assert file_of(shard)["hashes"] == {"sha256": hashlib.sha256(data).hexdigest()}
    if shard["compression"]:
        data = pa.decompress(data, shard["raw_data"]["bytes"], "zstd", asbytes=True)
    assert shard["raw_data"]["bytes"] == len(data)
    assert shard["raw_data"]["hashes"] == {"sha256": hashlib.sha256(data).hexdigest()}
    rows = struct.unpack("<I", data[:4])[0]
    offsets = struct.unpack(f"<{rows + 1}I", data[4 : 8 + 4 * rows])
    config = json.loads(data[8 + 4 * rows : offsets[0]])
    assert rows == shard["samples"] and offsets[-1] == len(data)
    assert config == {name: value for name, value in shard.items() if name in config} and config["version"] == 2
    return [data[a:b] for a, b in pairwise(offsets)]


@pytest.mark.parametrize(("options", "dtype"), [({}, "<u2"), (CUT, "<u2"), (WIDE, "<u4")])
def test_datatrove(one_band, tmp_path, options, dtype):
    out = export(one_band, "datatrove", tmp_path / "a", **options)
    for split in SPLITS:
        wanted = expected(one_band, split, **options)
        path = out / split / "00000_unshuffled.ds"
        assert equal(np.fromfile(path, dtype), wanted)
        ends = np.fromfile(f"{path}.index", "<u8")
        assert ends.tolist() == [(row + 1) * wanted.shape[1] for row in range(len(wanted))]


@pytest.mark.parametrize(("options", "dtype"), [({}, "<u2"), ({"length": 39}, "<u2"), (WIDE, "<u4")])
def test_olmo(one_band, tmp_path, monkeypatch, options, dtype):
    monkeypatch.setattr(planning, "FILE_TOKENS", 70 * ROW)
    out = export(one_band, "olmo", tmp_path / "a", **options)
    for split in SPLITS:
        wanted = expected(one_band, split, **options)
        tokens, masks = (sorted((out / split / name).iterdir()) for name in ("tokens", "label_mask"))
        assert [path.name for path in tokens] == [path.name for path in masks]
        assert equal(np.concatenate([np.fromfile(path, dtype) for path in tokens]), wanted)
        mask = np.concatenate([np.fromfile(path, bool) for path in masks]).reshape(wanted.shape)
        assert not mask[:, :GRID].any() and mask[:, GRID:].all()


@pytest.mark.parametrize("zstd", [None, True, False])
def test_jsonl(one_band, tmp_path, zstd):
    out = export(one_band, "jsonl", tmp_path / "a", zstd=zstd, **CUT)
    suffix = "jsonl" if zstd is False else "jsonl.zst"
    for split, shards in zip(SPLITS, (3, 1), strict=True):
        lines = []
        for number in range(shards):
            path = out / f"{split}-{number:05d}-of-{shards:05d}.{suffix}"
            data = path.read_bytes()
            if zstd is not False:  # the frame's own size: a reader may stop after the first frame
                data = pa.decompress(data, frame_size(data), "zstd", asbytes=True)
            assert data.endswith(b"\n")
            lines += [json.loads(line) for line in data.splitlines()]
        assert list(lines[0]) == ["input_ids", "candidate", "gzip_bytes", "gzip_ratio"]
        assert equal(np.array([line["input_ids"] for line in lines]), expected(one_band, split, **CUT))
        for name, dtype in (("candidate", np.uint64), ("gzip_bytes", np.int32), ("gzip_ratio", np.float32)):
            values = np.array([line[name] for line in lines], dtype)
            assert np.array_equal(values, column(one_band, split, name))


def lists(table: pa.Table, name: str) -> np.ndarray:
    """A column of lists of one length: [row, place]."""
    column = table[name].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


@pytest.mark.parametrize("zstd", [None, False])
@pytest.mark.parametrize("options", [{}, CUT, WIDE, {"length": 39}])
def test_hf(one_band, tmp_path, options, zstd):
    out = export(one_band, "hf", tmp_path / "a", zstd=zstd, **options)
    for split, shards in zip(SPLITS, (3, 1), strict=True):
        paths = [out / f"data/{split}-{number:05d}-of-{shards:05d}.parquet" for number in range(shards)]
        assert sorted((out / "data").glob(f"{split}-*")) == paths
        metadata = pq.ParquetFile(paths[0]).metadata
        assert metadata.row_group(0).column(0).compression == ("UNCOMPRESSED" if zstd is False else "ZSTD")
        table = pa.concat_tables([pq.read_table(path) for path in paths])
        assert table.schema.metadata is None
        assert {field.name: str(field.type.value_type) for field in table.schema} == {
            "input_ids": "int32",
            "labels": "int32",
            "attention_mask": "int8",
        }
        assert all(pa.types.is_list(field.type) for field in table.schema)  # not of a fixed size: TRL refuses them
        ids = expected(one_band, split, **options)
        assert np.array_equal(lists(table, "input_ids"), ids)
        assert np.array_equal(lists(table, "labels"), np.where(np.arange(ids.shape[1]) < GRID, -100, ids))
        assert np.array_equal(lists(table, "attention_mask"), np.ones_like(ids))
    assert (out / "tokenizer").exists() == ("token_offset" not in options)


def test_the_tokenizer_of_hf_names_each_id_by_its_number(one_band, tmp_path):
    out = export(one_band, "hf", tmp_path / "a") / "tokenizer"
    model = json.loads((out / "tokenizer.json").read_bytes())
    assert model["model"]["vocab"] == {str(n): n for n in range(10_002)} | {"<eos>": 10_002}
    assert [(token["content"], token["id"], token["special"]) for token in model["added_tokens"]] == [
        ("<eos>", 10_002, True)
    ]
    named = json.loads((out / "tokenizer_config.json").read_bytes())
    assert (named["eos_token"], named["pad_token"]) == ("<eos>", "<eos>")


def frame_size(data: bytes) -> int:
    """The content size that stands in a zstd frame's header."""
    assert data[:4] == b"\x28\xb5\x2f\xfd"
    descriptor = data[4]
    at = 5 + (not descriptor & 32) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if descriptor & 32 else 0, 2, 4, 8)[descriptor >> 6]
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, ROW), st.integers(0, 2**16 - 10002))
def test_any_cut_and_offset(one_band, tmp_path_factory, length, token_offset):
    options = {"length": length, "token_offset": token_offset}
    out = export(one_band, "nanogpt", tmp_path_factory.mktemp("cut") / "a", **options)
    assert equal(np.fromfile(out / "val.bin", "<u2"), expected(one_band, "validation", **options))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 10**9))
def test_groups_are_neighbours_of_even_size(shards, most):
    class Grouped(planning.Export):
        shards = lambda self, split: range(shard_count)  # noqa: E731
        row_count = lambda self, split, shards=None: shard_count * 4096  # noqa: E731

    shard_count = shards
    export = Grouped(Path(), None, "high", "olmo", ROW, 0, np.dtype("<u2"), False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "FILE_TOKENS", most)
        groups = export.groups("train")
    assert [shard for group in groups for shard in group] == list(range(shards))
    sizes = [len(group) for group in groups]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or max(sizes) * 4096 * ROW <= most + 4096 * ROW


def test_every_format_writes_each_split_and_a_true_receipt(one_band, tmp_path):
    for to in FORMATS:
        out = export(one_band, to, tmp_path / to)
        receipt = json.loads((out / RECEIPT).read_bytes())
        assert receipt["rows"] == {"train": 200, "validation": 20}
        assert receipt["export"]["dataset_sha256"] == read_manifest(one_band).dataset_sha256
        assert receipt["files"] == {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in contents(out).items()
            if name != RECEIPT
        }


def test_a_dataset_without_validation_has_no_files_of_it(many_shards, tmp_path):
    out = export(many_shards, "nanogpt", tmp_path / "a")
    assert set(contents(out)) == {"train.bin", "meta.pkl", RECEIPT}
    done = run("export", many_shards, "--to", "nanogpt", "--out", out)
    assert "# there is no val.bin: train.py needs one, so build the dataset with --validation" in done.out


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_export_is_the_same_bytes(one_band, tmp_path, to):
    first, second = (contents(export(one_band, to, tmp_path / name)) for name in ("a", "b"))
    assert first == second


# --- the command ---


def test_the_command_says_what_it_wrote_and_the_trainers_settings(one_band, tmp_path):
    out = tmp_path / "nca"
    done = run("export", one_band, "--to", "nanogpt", "--out", out)
    assert (done.status, done.err) == (0, "")
    first, second, empty, *settings = done.out.splitlines()
    assert re.fullmatch(r"exported 220 rows of 1026 tokens in \d+\.\d s", first)
    assert (second, empty) == (f"{out}: 220 rows, 3 files, 0.5 MB", "")
    assert settings[1:3] == ["dataset = 'nca'  # with this folder as data/nca", "block_size = 1024"]


def test_a_complete_export_has_nothing_to_do(one_band, tmp_path):
    out = tmp_path / "a"
    assert run("export", one_band, "--to", "olmo", "--out", out, "--quiet") == Run(0, "", "")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = run("export", one_band, "--to", "olmo", "--out", out)
    assert (done.status, done.out.splitlines()[0]) == (0, f"nothing to do: {out} is complete")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_json_for_machines(smoke, tmp_path):
    flags = ("--to", "megatron", "--band", "medium", "--length", 1024, "--token-offset", 60000, "--json")
    done = run("export", smoke("arrow"), *flags, "--out", tmp_path / "a")
    result = json.loads(done.out)
    assert (done.status, done.err) == (0, "")
    assert result["rows"] == {"train": 200, "validation": 20}
    assert [result[name] for name in ("length", "vocabulary", "dtype", "files", "wrote")] == [
        1024,
        70002,
        "int32",
        4,
        True,
    ]
    assert result["bytes"] == sum(len(data) for name, data in contents(tmp_path / "a").items() if name != RECEIPT)
    assert f"--train-data-path {tmp_path}/a/train" in result["settings"] and "--seq-length 1024" in result["settings"]
    wanted = column(smoke("arrow"), "train", band="medium")[:, :1024].astype(int) + 60000
    assert equal(np.fromfile(tmp_path / "a/train.bin", "<i4"), wanted)


@pytest.mark.parametrize("to", FORMATS)
def test_settings_fit_the_export(one_band, tmp_path, to):
    lines = FORMATS[to].settings(plan(one_band, None, to, 1024), tmp_path)
    assert all(len(line) <= 120 or str(tmp_path) in line for line in lines)
    assert any(number in line for line in lines for number in ("1024", "1023"))


def test_nanogpts_windows_are_whole_rows(one_band, tmp_path):
    """Its get_batch with the lines that the export prints: inputs, labels, and -1 where the first grid is predicted."""
    torch = pytest.importorskip("torch")
    for length, block in ((None, 1024), (1025, 1024), (700, 699), (39, 38)):
        out = export(one_band, "nanogpt", tmp_path / str(length), length=length)
        lines = FORMATS["nanogpt"].settings(plan(one_band, None, "nanogpt", length), out)
        assert f"block_size = {block}" in lines
        data = np.fromfile(out / "train.bin", np.uint16)
        names = {"torch": torch, "data": data, "batch_size": 64}
        [draw] = [line.removeprefix("# ") for line in lines if line.startswith("# ix = ")]
        exec(draw, names)
        x, names["y"] = (
            torch.stack([torch.from_numpy(data[i + k : i + k + block].astype(np.int64)) for i in names["ix"].tolist()])
            for k in (0, 1)
        )
        [mask] = [line.split(": ")[1] for line in lines if "y[:" in line]
        exec(mask, names)
        layout = ncagen.Layout(seq_len=block, labels="next", ignore_index=-1)
        rows = layout(Dataset(one_band).row_format, column(one_band, "train"))
        number = {row.tobytes(): i for i, row in enumerate(rows["input_ids"])}
        drawn = [number[row.numpy().tobytes()] for row in x]
        assert np.array_equal(names["y"].numpy(), rows["labels"][drawn])


def test_megatrons_end_of_document_is_no_id_of_the_rows(one_band, tmp_path):
    """NullTokenizer's is --vocab-size, or the id before it."""
    for offset, size in ((0, 10_003), (50_000, 60_003)):
        lines = FORMATS["megatron"].settings(plan(one_band, None, "megatron", token_offset=offset), tmp_path)
        assert f"--vocab-size {size}" in lines
        highest = expected(one_band, "train", token_offset=offset).max()
        assert highest == size - 2  # an end of grid


# --- mistakes ---

WRONG = [
    (["--to", "tape"], "Invalid value for '--to': 'tape' is not one of 'nanogpt', 'llmc', 'megatron', 'litdata',"),
    (["--to", "mds", "--length", 0], "--length 0 is out of range: use 2 to 1026, the tokens of a row"),
    (["--to", "mds", "--length", 1027], "--length 1027 is out of range: use 2 to 1026, the tokens of a row"),
    (["--to", "mds", "--length", 1], "--length 1 leaves no label, since the first token has none: use 2 to 1026"),
    (["--to", "hf", "--length", 1027], "--length 1027 is out of range: use 39 to 1026, the tokens of a row"),
    (
        ["--to", "olmo", "--length", 38],
        "--length 38 leaves no label, since the first 38 tokens are masked: use 39 to 1026",
    ),
    (
        ["--to", "hf", "--length", 38],
        "--length 38 leaves no label, since the first 38 tokens are masked: use 39 to 1026",
    ),
    (["--to", "llmc", "--zstd"], "llmc has no compressed files: leave --zstd out, or use --to mds or jsonl or hf"),
    (["--to", "mds", "--band", "low"], "{dataset} has no "),
    (
        ["--to", "nanogpt", "--token-offset", 55535],
        "nanogpt holds ids up to 65,535, these go up to 65,536: use --token-offset 55534 at most or --to megatron,"
        " litdata, mds, datatrove, olmo, jsonl, hf",
    ),
    (
        ["--to", "megatron", "--token-offset", 2**31],
        "megatron holds ids up to 2,147,483,647, these go up to 2,147,493,649: use --token-offset 2147473646 at most"
        " or --to litdata, mds, datatrove, olmo, jsonl",
    ),
]


@pytest.mark.parametrize(("flags", "line"), WRONG)
def test_a_mistake_is_one_line_and_writes_nothing(one_band, tmp_path, flags, line):
    done = run("export", one_band, *flags, "--out", tmp_path / "a")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"ncagen: {line.format(dataset=one_band)}")
    assert list(tmp_path.iterdir()) == []


def test_several_bands_need_a_choice(smoke, tmp_path):
    done = run("export", smoke(), "--to", "mds", "--out", tmp_path / "a")
    assert done.status == 2 and done.err.startswith(f"ncagen: {smoke()} holds several bands: ")


def test_a_wide_vocabulary_names_the_formats_that_hold_it(tmp_path):
    wide = from_settings({"tokens": 2048, "validation": 0, "bands": ["0-2"], "states": 20, "rows_per_shard": 2})
    make(tmp_path / "wide", wide)
    with pytest.raises(NcagenError) as caught:
        plan(tmp_path / "wide", None, "nanogpt")
    assert str(caught.value) == (
        "nanogpt holds ids up to 65,535, these go up to 160,001:"
        " use --to megatron, litdata, mds, datatrove, olmo, jsonl, hf"
    )
    out = export(tmp_path / "wide", "datatrove", tmp_path / "a")
    assert equal(np.fromfile(out / "train/00000_unshuffled.ds", "<u4"), column(tmp_path / "wide", "train"))


def refused(dataset: Path, to: str, out: Path, **options) -> str:
    with pytest.raises(NcagenError) as caught:
        export(dataset, to, out, **options)
    return str(caught.value)


def test_a_folder_with_something_else_is_refused(one_band, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    line = f"{tmp_path} holds unrelated files (notes.txt): use another --out"
    assert refused(one_band, "mds", tmp_path) == line
    assert contents(tmp_path) == {"notes.txt": b"mine"}
    assert refused(one_band, "mds", tmp_path / "notes.txt") == f"{tmp_path}/notes.txt is a file: use another --out"
    assert refused(one_band, "mds", one_band / "x") == f"{one_band}/x is inside the dataset's folder: use another --out"


def test_another_export_is_refused(one_band, smoke, tmp_path):
    out = export(one_band, "mds", tmp_path / "a", length=1024)
    before = contents(out)
    line = f"{out} holds another export ({{}}): use another --out"
    assert refused(one_band, "mds", out) == line.format("length: 1024 -> 1026")
    assert refused(one_band, "olmo", out, length=1024) == line.format("format: mds -> olmo")
    (out / RECEIPT).rename(tmp_path / RECEIPT)
    (out / JOURNAL).write_text(json.dumps({"export": json.loads((tmp_path / RECEIPT).read_text())["export"]}) + "\n")
    assert refused(one_band, "mds", out) == line.format("length: 1024 -> 1026")
    (out / JOURNAL).write_text("{\n")
    assert refused(one_band, "mds", out) == f"{out} holds a damaged {RECEIPT} or {JOURNAL}: delete the folder"
    assert before.keys() - contents(out).keys() == {RECEIPT}


def test_a_damaged_dataset_is_named(one_band, tmp_path):
    dataset = Path(shutil.copytree(one_band, tmp_path / "d"))
    path = dataset / "data/high/train-00001-of-00003.parquet"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    done = run("export", dataset, "--to", "mds", "--out", tmp_path / "a")
    assert done.status == 2 and done.err.startswith(f"ncagen: {path}: ")
    path.write_bytes((one_band / path.relative_to(dataset)).read_bytes())
    assert run("export", dataset, "--to", "mds", "--out", tmp_path / "a").status == 0
    assert contents(tmp_path / "a") == contents(export(one_band, "mds", tmp_path / "b"))


# --- stopped, and gone on ---


def start(*arguments: object, **options) -> subprocess.Popen:
    command = [*NCAGEN, "export", *map(str, arguments)]
    options = {"preexec_fn": hear_interrupts} | options
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def journal_lines(out: Path) -> int:
    path = out / JOURNAL
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(out: Path, lines: int, process: subprocess.Popen) -> None:
    """Until the journal has so many lines or the process has ended."""
    end = time.monotonic() + 60
    while journal_lines(out) < lines and process.poll() is None:
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.0005)


@pytest.mark.parametrize("to", but_slow("nanogpt", "mds"))
def test_killed_again_and_again_it_ends_the_same(many_shards, tmp_path, to):
    chance = random.Random(to)
    wanted = contents(export(many_shards, to, tmp_path / "whole"))
    out, kills = tmp_path / "a", 0
    for attempt in count():
        assert attempt < 20
        process = start(many_shards, "--to", to, "--out", out)
        wait_for_lines(out, journal_lines(out) + chance.randint(1, 9), process)
        time.sleep(chance.random() * 0.004)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL and not (out / RECEIPT).exists()
        finals = {name: data for name, data in contents(out).items() if not Path(name).name.startswith(".")}
        assert all(wanted[name] == data for name, data in finals.items() if name != JOURNAL)
        if kills == 3 or process.returncode == 0:
            break
    assert kills >= 1
    assert run("export", many_shards, "--to", to, "--out", out, "--quiet") == Run(0, "", "")
    assert contents(out) == wanted


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("to", but_slow("megatron", "mds"))
def test_stopped_at_every_step_it_ends_the_same(few_rows, tmp_path, monkeypatch, to):
    """Before each fsync and each rename in turn, as a kill between any two of them leaves the folder."""
    wanted = contents(export(few_rows, to, tmp_path / "whole"))
    real_fsync, real_replace = os.fsync, Path.replace
    for stop in count():
        steps = count()

        def counted(call, stop=stop, steps=steps):
            def step(*arguments):
                if next(steps) == stop:
                    raise Killed
                return call(*arguments)

            return step

        out = tmp_path / f"a{stop}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", counted(real_fsync))
            patch.setattr(Path, "replace", counted(real_replace))
            try:
                export(few_rows, to, out)
                break
            except Killed:
                assert not (out / RECEIPT).exists() or next(steps) > stop
        assert contents(export(few_rows, to, out)) == wanted
        shutil.rmtree(out)
    assert stop > 10


@pytest.mark.parametrize("lost", [1, 7, 40])
def test_half_a_line_of_the_journal_is_dropped(many_shards, tmp_path, lost):
    wanted = contents(export(many_shards, "llmc", tmp_path / "whole"))
    out = interrupted(many_shards, "llmc", tmp_path / "a")
    data = (out / JOURNAL).read_bytes()
    (out / JOURNAL).write_bytes(data[:-lost])
    assert contents(export(many_shards, "llmc", out)) == wanted


def interrupted(dataset: Path, to: str, out: Path, rows: int = 300) -> Path:
    """An export that came as far as so many rows."""
    left = iter(range(rows // 25))

    def report(_):
        if next(left, None) is None:
            raise Killed

    with pytest.raises(Killed):
        write(plan(dataset, None, to), out, report)
    return out


def test_what_is_on_disk_is_not_made_again(many_shards, tmp_path, monkeypatch):
    out = interrupted(many_shards, "nanogpt", tmp_path / "a")
    read = []
    real = Dataset.shard
    monkeypatch.setattr(Dataset, "shard", lambda self, number: (read.append(number), real(self, number))[1])
    export(many_shards, "nanogpt", out)
    assert read == list(range(13, 40))


def test_a_lost_or_shortened_file_is_made_again(one_band, tmp_path):
    out = export(one_band, "mds", tmp_path / "a")
    wanted = contents(out)
    (out / "train/shard.00001.mds").unlink()
    path = out / "validation/index.json"
    path.write_bytes(path.read_bytes()[:-1])
    export(one_band, "mds", out)
    assert contents(out) == wanted
    out = interrupted_file(one_band, out)
    assert contents(export(one_band, "mds", out)) == wanted


def interrupted_file(dataset: Path, out: Path) -> Path:
    """The same export with its receipt gone again, and one file lost after the journal was written."""
    identity, files = (json.loads((out / RECEIPT).read_bytes())[name] for name in ("export", "files"))
    lines = [{"export": identity}, *({"file": path, **file} for path, file in files.items())]
    (out / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (out / RECEIPT).unlink()
    (out / "train/shard.00000.mds").unlink()
    return out


def test_ctrl_c_is_one_line_and_the_export_goes_on(many_shards, tmp_path):
    out = tmp_path / "a"
    process = start(many_shards, "--to", "nanogpt", "--out", out)
    wait_for_lines(out, 3, process)
    process.send_signal(signal.SIGINT)
    printed, err = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert err == "ncagen: stopped; run the same command to resume\n"
    assert not (out / "train.bin").exists()
    assert run("export", many_shards, "--to", "nanogpt", "--out", out).status == 0
    assert contents(out) == contents(export(many_shards, "nanogpt", tmp_path / "b"))


def test_two_exports_to_the_same_folder_do_no_harm(many_shards, tmp_path):
    out = tmp_path / "a"
    processes = [start(many_shards, "--to", "nanogpt", "--out", out) for _ in range(2)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    busy = f"ncagen: another ncagen is exporting to {out}: wait for it, or use another --out\n"
    assert ("", 0) in ends and set(ends) <= {("", 0), (busy, 2)}
    assert contents(out) == contents(export(many_shards, "nanogpt", tmp_path / "b"))


# --- no room ---


@pytest.mark.parametrize("to", ["nanogpt", "mds"])
def test_a_full_disk_is_one_line_and_the_export_goes_on_with_more_room(one_band, tiny_disk, tmp_path, to):
    out = tiny_disk / "a"
    done = run("export", one_band, "--to", to, "--out", out)
    line = rf"ncagen: no space left in {out}: 0\.\d MB are free; make room and run the same command to resume\n"
    assert (done.status, done.out) == (2, "") and re.fullmatch(line, done.err)
    assert journal_lines(out) > 1
    subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True)
    assert run("export", one_band, "--to", to, "--out", out).status == 0
    assert contents(out) == contents(export(one_band, to, tmp_path / "b"))


def test_a_file_size_limit_is_one_line_and_the_export_goes_on_without(one_band, tmp_path):
    out = tmp_path / "a"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))  # noqa: E731
    done = run("export", one_band, "--to", "nanogpt", "--out", out, preexec_fn=limit)
    line = f"a file in {out} exceeds the file size limit: raise it (ulimit -f) and run the same command"
    assert done == Run(2, "", f"ncagen: {line} to resume\n")
    assert run("export", one_band, "--to", "nanogpt", "--out", out).status == 0
    assert contents(out) == contents(export(one_band, "nanogpt", tmp_path / "b"))


def test_a_folder_that_cannot_be_written_is_named(one_band, tmp_path):
    dataset = shutil.copytree(one_band, tmp_path / "dataset")
    tmp_path.chmod(0o500)

    def write():
        line = f"{tmp_path}/a cannot be written (Permission denied): use another --out"
        assert refused(dataset, "mds", tmp_path / "a") == line

    as_owner(tmp_path, write)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(tmp_path):
    """Each export's peak, in a process of its own, for a dataset and for one of six times its shards."""
    peaks = {}
    for tokens in ("8M", "48M"):
        dataset = tmp_path / f"dataset-{tokens}"
        make(dataset, from_settings({"tokens": tokens, "validation": 0, "band": "high", "rows_per_shard": 1024}))
        for to in ("nanogpt", "mds", "jsonl"):
            script = f"""
import resource
from pathlib import Path
from ncagen.export.engine import write
from ncagen.export.formats import plan
write(plan(Path({str(dataset)!r}), None, {to!r}), Path({str(tmp_path / f"{to}-{tokens}")!r}), lambda rows: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            peaks[to, tokens] = int(done.stdout)
    assert all(peaks[to, "48M"] < 1.15 * peaks[to, "8M"] for to in ("nanogpt", "mds", "jsonl")), peaks
