"""Parquet layouts: the one that a shard has, and that shards written again in others give the same rows."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make, spec_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow_writer import PARQUET

import ncagen
from ncagen.dataset import shard as shards
from ncagen.dataset.manifest import MANIFEST, File, read_manifest
from ncagen.dataset.parquet_thrift import read_struct
from ncagen.dataset.shard import DamagedShard
from ncagen.dataset.shard_file import ShardFile
from ncagen.row_format import Rows

TOKENS = "input_ids.list.element"

# Other valid ways of writing the same table.
REWRITTEN = {
    "pyarrow's own": {},
    "as shards, data pages of version 2": PARQUET | {"data_page_version": "2.0"},
    "as shards, without checksums": PARQUET | {"write_page_checksum": False},
    "as shards, small pages": PARQUET | {"data_page_size": 1000, "write_batch_size": 7},
    "as shards, one row group": PARQUET | {"row_group_size": 10**6},
    "as shards, row groups of 40": PARQUET | {"row_group_size": 40},
    "as shards, uncompressed": PARQUET | {"compression": "none", "compression_level": None},
    "lists of the older naming": PARQUET
    | {"use_compliant_nested_type": False, "column_encoding": {"input_ids.list.item": "BYTE_STREAM_SPLIT"}},
    "delta": PARQUET | {"column_encoding": dict.fromkeys((TOKENS, "candidate", "gzip_bytes"), "DELTA_BINARY_PACKED")},
    "plain": {"use_dictionary": False, "compression": "gzip"},
    "dictionaries, version 2": {"data_page_version": "2.0", "compression": "lz4", "row_group_size": 50},
    "dictionaries that fall back": {"dictionary_pagesize_limit": 1000, "compression": "zstd"},
}


def rewrite(folder: Path, options: dict) -> None:
    """Writes every shard again with other options, and a manifest with the right sizes and hashes."""
    manifest = read_manifest(folder)
    stored = {}
    for name in manifest.files:
        table, sink = pq.read_table(folder / name), pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        data = sink.getvalue().to_pybytes()
        (folder / name).write_bytes(data)
        stored[name] = File(len(data), hashlib.sha256(data).hexdigest())
    (folder / MANIFEST).write_bytes(replace(manifest, files=stored).documents()["manifest.json"])


@pytest.fixture(scope="module", params=["uint16", "uint32"])
def dataset(request, tmp_path_factory) -> Path:
    """A shard of three row groups, one of two, and one of validation."""
    folder = tmp_path_factory.mktemp("layout") / request.param
    states = 10 if request.param == "uint16" else 17
    counts = {"tokens": 900 * 1024, "validation": 20 * 1024, "rows_per_shard": 600}
    make(folder, spec_of(**counts, bands=["high"], states=states))
    assert read_manifest(folder).row_format.token_dtype == request.param
    return folder


@pytest.mark.parametrize("options", REWRITTEN.values(), ids=REWRITTEN)
def test_a_shard_written_again_gives_the_same_rows(dataset, options, tmp_path):
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    rewrite(folder, options)
    for split in ("train", "validation"):
        wanted, found = ncagen.open(dataset, split), ncagen.open(folder, split)
        assert len(found) == len(wanted)
        every = np.arange(len(wanted))
        for name, column in wanted.rows(every).items():
            values = found.rows(every)[name]
            assert values.dtype == column.dtype and np.array_equal(values, column)
        shuffled = np.random.default_rng(1).permutation(every)[:50]
        assert np.array_equal(found.rows(shuffled)["input_ids"], wanted.rows(shuffled)["input_ids"])
        few = [ncagen.open(place, split, where="gzip_bytes >= 800") for place in (dataset, folder)]
        assert np.array_equal(*(some.rows(range(len(some)))["candidate"] for some in few))
        for number, record in enumerate(found.records):
            assert shards.content_sha256(found.shard(number)) == record.content_sha256


@given(data=st.data())
@settings(deadline=None, database=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_a_changed_file_is_refused_or_gives_rows_of_the_right_shape(dataset, data):
    """Where its author made the hash fit: pyarrow gets what the headers' bounds let pass, mostly without checksums."""
    manifest, sink = read_manifest(dataset), pa.BufferOutputStream()
    record = manifest.part("validation", "high")[0]
    options = data.draw(st.sampled_from(list(REWRITTEN.values())))
    checksums = {"write_page_checksum": data.draw(st.booleans())}
    pq.write_table(pq.read_table(dataset / manifest.path(record)), sink, **options | checksums)
    content = bytearray(sink.getvalue().to_pybytes())
    ends = st.integers(0, 200) | st.integers(len(content) - 3000, len(content) - 1) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        content[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    try:
        rows = ShardFile(pa.py_buffer(bytes(content)), "parquet", manifest.row_format, record, hash_checked=True).rows()
    except DamagedShard as error:
        assert str(error).isprintable() and len(str(error)) < 350
        return
    wanted = manifest.row_format.empty(record.rows)
    assert {n: (c.shape, c.dtype) for n, c in rows.columns.items()} == {
        n: (c.shape, c.dtype) for n, c in wanted.columns.items()
    }


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"data_page_version": "2.0"}, "its pages are not as ncagen writes them"),
        ({"write_page_checksum": False}, "its pages are not as ncagen writes them"),
        ({"row_group_size": 50}, "its row groups are not as ncagen writes them"),
    ],
    ids=["version 2", "no checksums", "row groups"],
)
def test_without_a_look_at_the_hash_only_ncagens_own_pages_are_read(dataset, options, line, tmp_path):
    """Nothing else bounds what pyarrow is given, and nothing finds a damaged row where there are no checksums."""
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    rewrite(folder, PARQUET | options)
    path = folder / read_manifest(folder).path(read_manifest(folder).records[0])
    with pytest.raises(DamagedShard) as caught:
        ncagen.open(folder, verify="never")[0]
    said = f"{path}: {line}, and are read only where its hash is checked: use verify='first-use'"
    assert str(caught.value) == said


def test_a_rewritten_shard_whose_hash_is_wrong_is_refused(dataset, tmp_path):
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    rewrite(folder, {})
    manifest = read_manifest(folder)
    path = folder / manifest.path(manifest.records[0])
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(bytes(data))
    for verify in ("first-use", "always"):
        with pytest.raises(DamagedShard) as caught:
            ncagen.open(folder, verify=verify)[0]
        assert str(caught.value) == f"{path}: its bytes do not match their hash"


def test_a_rewritten_shard_is_read_again_after_it_was_let_go(dataset, tmp_path, monkeypatch):
    """A shard whose hash was checked once in this process may be opened again without."""
    from ncagen.dataset import reader

    monkeypatch.setattr(reader, "HELD_MAPPED_SHARDS", 1)
    monkeypatch.setattr(reader, "HELD_GROUPS", 1)
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    rewrite(folder, {})
    rows, wanted = ncagen.open(folder), ncagen.open(dataset)
    for row in (0, 899, 0, 899):
        assert np.array_equal(rows[row]["input_ids"], wanted[row]["input_ids"])


def with_another_checksum(path: Path) -> None:
    """Changes the checksum of a shard's first page, which is the fourth number of its header."""
    data = path.read_bytes()
    header, _ = read_struct(data, 4)
    checksum = data.index(zigzag(header[4]), 4)
    changed = bytearray(data)
    changed[checksum] ^= 2
    assert read_struct(bytes(changed), 4)[0][4] != header[4]
    path.write_bytes(bytes(changed))


def zigzag(number: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    left, found = number << 1 if number >= 0 else -number * 2 - 1, b""
    while left > 127:
        found, left = found + bytes([left & 127 | 128]), left >> 7
    return found + bytes([left])


def test_page_checksums_are_compared_where_no_hash_was(dataset, tmp_path):
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    manifest = read_manifest(folder)
    name = manifest.path(manifest.records[0])
    with_another_checksum(folder / name)
    data = (folder / name).read_bytes()
    stored = manifest.files | {name: File(len(data), hashlib.sha256(data).hexdigest())}
    (folder / MANIFEST).write_bytes(replace(manifest, files=stored).documents()["manifest.json"])
    for verify in ("first-use", "always"):
        rows = ncagen.open(folder, verify=verify)
        assert np.array_equal(rows[0]["input_ids"], ncagen.open(dataset)[0]["input_ids"])
    for read in (lambda rows: rows[0], lambda rows: rows.rows(range(256)), lambda rows: rows.shard(0)):
        with pytest.raises(DamagedShard) as caught:
            read(ncagen.open(folder, verify="never"))
        assert str(caught.value) == f"{folder / name}: a page does not match its checksum"


def test_a_shard_that_is_opened_again_has_its_page_checksums_compared(dataset, tmp_path, monkeypatch):
    """Its hash was compared when it was opened first; what is in its place now was not."""
    from ncagen.dataset import reader

    monkeypatch.setattr(reader, "HELD_MAPPED_SHARDS", 1)
    folder = Path(shutil.copytree(dataset, tmp_path / "a"))
    rows = ncagen.open(folder)
    path = folder / rows.manifest.path(rows.records[0])
    rows.rows([300, 899])  # of both shards
    new = tmp_path / "new"
    shutil.copy(path, new)
    with_another_checksum(new)
    new.replace(path)
    with pytest.raises(DamagedShard) as caught:
        rows[0]
    assert str(caught.value) == f"{path}: a page does not match its checksum"


@given(data=st.data())
@settings(deadline=None, database=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_rows_in_sequence_are_those_of_their_numbers(dataset, data):
    """Row groups that are wanted whole are decoded in their place in the result, others are held."""
    where = data.draw(st.sampled_from([None, "gzip_bytes >= 700"]))
    rows = ncagen.open(dataset, where=where)
    whole = Rows.concatenate(ncagen.open(dataset, where=where).shard(number) for number in range(2))
    names = data.draw(st.sampled_from([None, ["input_ids"], ["gzip_ratio", "candidate"]]))
    for _ in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.integers(0, len(rows) - 1) | st.sampled_from([n for n in (0, 256, 600) if n < len(rows)]))
        count = data.draw(st.integers(0, len(rows) - first) | st.just(min(256, len(rows) - first)))
        found = rows.rows(range(first, first + count), names)
        assert set(found) == set(names or whole.columns)
        assert all(np.array_equal(column, whole[name][first : first + count]) for name, column in found.items())


def test_a_file_is_as_the_page_on_formats_says(dataset):
    manifest = read_manifest(dataset)
    found = pq.ParquetFile(dataset / manifest.path(manifest.records[0])).metadata
    assert found.format_version == "2.6"
    assert [found.row_group(g).num_rows for g in range(found.num_row_groups)] == [256, 256, 88]
    columns = [found.row_group(0).column(c) for c in range(4)]
    assert [column.path_in_schema for column in columns] == [TOKENS, "candidate", "gzip_bytes", "gzip_ratio"]
    assert [set(column.encodings) for column in columns] == [{"BYTE_STREAM_SPLIT", "RLE"}] + [{"PLAIN", "RLE"}] * 3
    assert {column.compression for column in columns} == {"ZSTD"}
