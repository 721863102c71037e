"""The Parquet files that are written here against those that pyarrow writes of the same table."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow_writer import parquet_options, table_of

from ncagen.dataset.parquet_metadata import integer, unsigned
from ncagen.dataset.parquet_thrift import read_integer, read_struct, read_unsigned
from ncagen.dataset.parquet_writer import write

KEY = b"groups"
METADATA = {b"ncagen": b'{"rows":3}'}


@st.composite
def shards(draw) -> tuple[dict[str, np.ndarray], int]:
    """The columns of a shard, and the rows of a row group."""
    rows, width = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 7, 8, 9, 16, 64, 1026, 3000]))
    seeded = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype, most = draw(st.sampled_from([("uint16", 9), ("uint16", 2**16), ("uint32", 2**16 + 7), ("uint32", 2**32)]))
    columns = {
        "input_ids": seeded.integers(0, most, (rows, width), dtype=np.uint64).astype(dtype),
        "candidate": seeded.integers(0, 2**64, rows, dtype=np.uint64),
    }
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["int32", "uint64", "float32"]), max_size=4))):
        bits = seeded.integers(0, 2**64, rows, dtype=np.uint64)
        ratios = seeded.choice([0.0, -0.0, 1.5, -7.25, np.nan, np.inf], rows)
        columns[f"fact{number}"] = ratios.astype(kind) if kind == "float32" else bits.astype(kind)
    return columns, draw(st.sampled_from([1, 3, 16, 256]))


def both(columns: dict[str, np.ndarray], group_rows: int) -> tuple[bytes, bytes]:
    """The file as it is written here, and by pyarrow."""
    sink = pa.BufferOutputStream()
    options = parquet_options(columns) | {"row_group_size": group_rows}
    pq.write_table(table_of(columns, METADATA), sink, **options)
    return write(columns, group_rows, METADATA, KEY).to_pybytes(), sink.getvalue().to_pybytes()


def described(file: bytes) -> list:
    """What pyarrow says of every column of every row group, without places, sizes and counts of pages."""
    found = pq.ParquetFile(pa.BufferReader(file)).metadata
    said = [found.format_version, found.num_rows, found.num_columns, found.num_row_groups]
    for group in map(found.row_group, range(found.num_row_groups)):
        said.append(group.num_rows)
        for column in map(group.column, range(group.num_columns)):
            said.append(
                {name: v for name, v in column.to_dict().items() if "offset" not in name and "size" not in name}
            )
            said.append(repr(column.statistics and column.statistics.to_dict()))
            said.append((column.has_offset_index, column.has_column_index, column.has_dictionary_page))
    return said


@given(shard=shards())
@settings(deadline=None, database=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_a_file_is_read_as_one_that_pyarrow_wrote(shard):
    ours, theirs = both(*shard)
    tables = [pq.ParquetFile(pa.BufferReader(file), page_checksum_verification=True).read() for file in (ours, theirs)]
    assert tables[0].schema.equals(tables[1].schema, check_metadata=False)
    assert tables[0].schema.field("input_ids").equals(tables[1].schema.field("input_ids"), check_metadata=True)
    kept = tables[0].schema.metadata
    assert {key: value for key, value in kept.items() if key != KEY} == tables[1].schema.metadata == METADATA
    for name, wanted in shard[0].items():
        for table in tables:
            values = table[name].combine_chunks()
            values = values.flatten() if wanted.ndim == 2 else values
            assert values.null_count == 0
            assert values.to_numpy(zero_copy_only=False).tobytes() == wanted.tobytes()
    schemas = [pq.ParquetFile(pa.BufferReader(file)).schema for file in (ours, theirs)]
    assert schemas[0].equals(schemas[1]) and str(schemas[0]).split("\n")[1:] == str(schemas[1]).split("\n")[1:]
    assert described(ours) == described(theirs)


@given(shard=shards())
@settings(deadline=None, database=None, max_examples=50, suppress_health_check=list(HealthCheck))
def test_row_groups_have_their_sizes_and_hashes(shard):
    file = both(*shard)[0]
    found = pq.ParquetFile(pa.BufferReader(file)).metadata
    groups, at = json.loads(found.metadata[KEY]), 4
    for number, (size, digest) in enumerate(groups):
        assert hashlib.sha256(file[at : at + size]).hexdigest() == digest
        group = found.row_group(number)
        assert [group.column(0).data_page_offset, group.total_byte_size] == [
            at,
            sum(group.column(c).total_uncompressed_size for c in range(group.num_columns)),
        ]
        assert sum(group.column(c).total_compressed_size for c in range(group.num_columns)) == size
        at += size
    assert len(groups) == found.num_row_groups


def fields(file: bytes) -> dict:
    """The footer as parquet_thrift reads it: texts are their lengths."""
    return read_struct(file, len(file) - 8 - int.from_bytes(file[-8:-4], "little"))[0]


def index(file: bytes, entry: dict) -> list[dict | None]:
    """The page index of a column in a row group: ColumnIndex, OffsetIndex."""
    return [read_struct(file, entry[field])[0] if field in entry else None for field in (6, 4)]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_the_footer_has_the_fields_of_pyarrows(dtype):
    """All of them, of row groups of one page; apart from the writer, the hashes, and what a newer pyarrow may add."""
    draw = np.random.default_rng(1)
    columns = {
        "input_ids": draw.integers(0, 9999, (600, 64)).astype(dtype),
        "candidate": draw.integers(0, 2**40, 600).astype(np.uint64),
        "gzip_bytes": np.arange(600, dtype=np.int32),
        "gzip_ratio": draw.random(600).astype(np.float32),
    }
    files = both(columns, 256)
    ours, theirs = map(fields, files)
    assert (ours[1], ours[2], ours[3], ours[7]) == (theirs[1], theirs[2], theirs[3], theirs[7])
    assert ours[5][1:] == theirs[5][-2:] and len(ours[4]) == len(theirs[4]) == 3
    assert ours.keys() == theirs.keys()
    for our, their in zip(ours[4], theirs[4], strict=True):
        assert our.keys() == their.keys() - {7} and (our[2], our[3], our[5]) == (their[2], their[3], their[5])
        for entry, wanted in zip(our[1], their[1], strict=True):
            assert entry.keys() == wanted.keys()
            for field in entry[3].keys() | (wanted[3].keys() - {16}):
                assert entry[3][field] == wanted[3].get(field, entry[3][field]), field
            our_index, their_index = (index(file, e) for file, e in zip(files, (entry, wanted), strict=True))
            assert our_index == their_index


def page_rows(file: bytes) -> list[int]:
    """The first rows of the pages of the first column, by the page index."""
    entry = fields(file)[4][0][1][0]
    return [place[3] for place in read_struct(file, entry[4])[0][1]]


def test_long_rows_have_several_pages_a_row_group():
    tokens = np.arange(40 * 40_000, dtype=np.uint16).reshape(40, 40_000)
    columns = {"input_ids": tokens, "candidate": np.arange(40, dtype=np.uint64)}
    ours, theirs = both(columns, 40)
    assert page_rows(ours) == [0, 13, 26, 39] and described(ours) == described(theirs)
    found = pq.ParquetFile(pa.BufferReader(ours), page_checksum_verification=True).read()["input_ids"]
    assert np.array_equal(found.combine_chunks().flatten().to_numpy(), tokens.reshape(-1))


def test_a_column_of_nan_has_no_extremes():
    columns = {
        "input_ids": np.zeros((2, 9), np.uint16),
        "candidate": np.arange(2, dtype=np.uint64),
        "ratio": np.full(2, np.nan, np.float32),
    }
    ours, theirs = both(columns, 256)
    assert described(ours) == described(theirs)
    assert not pq.ParquetFile(pa.BufferReader(ours)).metadata.row_group(0).column(2).statistics.has_min_max


def test_a_file_has_the_same_bytes_each_time_and_everywhere():
    """Of all that makes it only zstd is another's."""
    columns = {
        "input_ids": np.arange(36, dtype=np.uint16).reshape(3, 12) * 999,
        "candidate": np.array([5, 2**40, 2**64 - 1], np.uint64),
        "gzip_bytes": np.array([-1, 0, 700], np.int32),
        "gzip_ratio": np.array([0.25, 0.5, 0.0], np.float32),
    }
    files = [write(columns, 2, METADATA, KEY).to_pybytes() for _ in range(2)]
    assert files[0] == files[1]
    assert hashlib.sha256(files[0]).hexdigest() == "acb239e10fae2333d244cfcbfe197f1c31a87f0aef8fe7184520978f462dd3e7"


def test_columns_in_other_memory_orders_give_the_same_file():
    tokens = np.arange(90, dtype=np.uint16).reshape(10, 9)
    wanted = write({"input_ids": tokens, "candidate": np.arange(10, dtype=np.uint64)}, 4, {}, KEY)
    other = np.asfortranarray(tokens), np.arange(20, dtype=np.uint64)[::2] // 2
    assert write({"input_ids": other[0], "candidate": other[1]}, 4, {}, KEY).equals(wanted)


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_as_they_are_written(value):
    assert read_integer(integer(value), 0) == (value, len(integer(value)))
    assert read_unsigned(unsigned(abs(value)), 0)[0] == abs(value)
