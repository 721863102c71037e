"""Shards' Parquet files beside those that pyarrow writes of the same table: values, schema, footer, pages."""

import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow_files import pyarrow_options

from ncagen.dataset import parquet_writer, thrift_writer
from ncagen.dataset.parquet_thrift import read_struct
from ncagen.dataset.shard import _array
from ncagen.dataset.shard import columns as columns_of

ZSTD = pa.Codec("zstd")
NUMBERS = ("uint64", "int32", "float32", "int64")
# A float's zeros and what is no number have rules of their own in the statistics.
FLOATS = st.sampled_from([0.0, -0.0, float("nan"), 1.5, -2.25, float("inf"), float("-inf")])


def table_of(columns: dict[str, np.ndarray]) -> pa.Table:
    arrays = [_array(column) for column in columns.values()]
    fields = [pa.field(name, array.type) for name, array in zip(columns, arrays, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={b"key": b"value"}))


def ours(columns: dict[str, np.ndarray], group_rows: int) -> bytes:
    return parquet_writer.write(columns, table_of(columns).schema, group_rows, lambda groups: {}).to_pybytes()


def pyarrows(columns: dict[str, np.ndarray], group_rows: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table_of(columns), sink, **pyarrow_options(columns) | {"row_group_size": group_rows})
    return sink.getvalue().to_pybytes()


@st.composite
def shards(draw) -> tuple[dict[str, np.ndarray], int]:
    """Columns of a shard, and rows of a row group."""
    rows, width = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 66, 1026]))
    dtype = draw(st.sampled_from(["uint16", "uint32"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = {"input_ids": random.integers(0, np.iinfo(dtype).max + 1, (rows, width), dtype)}
    for number, name in enumerate(draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=5))):
        if name == "float32":
            column = np.array(draw(st.lists(FLOATS, min_size=rows, max_size=rows)), np.float32)
        else:
            limits = np.iinfo(name)
            column = random.integers(limits.min, limits.max, rows, name, endpoint=True)
        columns[f"fact_{number}"] = column
    return columns, draw(st.integers(1, 50))


def described(data: bytes) -> list:
    """What pyarrow says of a file, without places and sizes, as levels may be packed in several ways."""
    file = pq.ParquetFile(pa.BufferReader(data))
    metadata = file.metadata
    found = [
        str(file.schema).partition("\n")[2],
        metadata.num_rows,
        metadata.format_version,
        sorted(metadata.metadata.items()),
    ]
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        found.append(group.num_rows)
        for column in map(group.column, range(group.num_columns)):
            statistics = column.statistics and {
                name: repr(value) for name, value in column.statistics.to_dict().items() if name != "distinct_count"
            }
            encodings = sorted(column.encodings)
            found.append((column.path_in_schema, column.physical_type, column.num_values, column.compression))
            found.append((encodings, column.has_column_index, column.has_offset_index))
            found.append((column.dictionary_page_offset, column.has_dictionary_page, statistics))
    return found


@given(shards())
@settings(deadline=None, max_examples=150)
def test_a_file_has_the_rows_and_the_metadata_of_pyarrows(shard):
    columns, group_rows = shard
    data = ours(columns, group_rows)
    found = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    wanted = pq.ParquetFile(pa.BufferReader(pyarrows(columns, group_rows))).read()
    assert found.schema.equals(wanted.schema, check_metadata=True)
    assert found.equals(wanted) or any(np.isnan(c).any() for c in columns.values() if c.dtype.kind == "f")
    read = {name: column.tobytes() for name, column in columns_of(found).columns.items()}
    assert read == {name: column.tobytes() for name, column in columns.items()}
    whole = not any(np.isnan(column).any() for column in columns.values() if column.dtype.kind == "f")
    if whole:  # pyarrow's own limits of columns with not-a-number differ by version
        assert described(data) == described(pyarrows(columns, group_rows))


def footer_of(data: bytes) -> dict:
    (size,) = struct.unpack("<I", data[-8:-4])
    return read_struct(data[-8 - size : -8], 0)[0]


def pages(data: bytes, group: int, column: int) -> list[bytes]:
    """The pages of a column of a row group, unpacked, found by its offset index."""
    entry = footer_of(data)[4][group][1][column]
    index, end = read_struct(data, entry[4])  # OffsetIndex: 1 pages, each 1 place, 2 bytes, 3 first row
    assert end - entry[4] == entry[5]
    found = []
    for place in index[1]:
        header, at = read_struct(data, place[1])
        assert at + header[3] == place[1] + place[2]
        found.append(ZSTD.decompress(data[at : at + header[3]], header[2], asbytes=True))
    return found


def test_pages_are_pyarrows_byte_for_byte():
    random = np.random.default_rng(7)
    columns = {
        "input_ids": random.integers(0, 10003, (300, 1026), np.uint16),
        "candidate": random.integers(0, 2**63, 300, np.uint64),
        "gzip_bytes": random.integers(0, 1000, 300, np.int32),
        "gzip_ratio": random.random(300).astype(np.float32),
    }
    mine, theirs = ours(columns, 256), pyarrows(columns, 256)
    for group in range(2):
        for column in range(4):
            assert pages(mine, group, column) == pages(theirs, group, column)


def test_a_page_of_long_rows_has_whole_rows():
    width = 2**17 + 2
    columns = {"input_ids": np.arange(10 * width, dtype=np.uint32).reshape(10, width), "fact": np.arange(10)}
    data = ours(columns, 8)
    entry = footer_of(data)[4][0][1][0]
    assert [place[3] for place in read_struct(data, entry[4])[0][1]] == [0, 3, 6]
    assert len(pages(data, 0, 0)) == 3 and len(pages(data, 0, 1)) == 1
    found = columns_of(pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read())
    assert np.array_equal(found.input_ids, columns["input_ids"])


def test_the_column_index_has_the_limits_of_the_page():
    columns = {"input_ids": np.zeros((5, 9), np.uint16), "fact": np.array([3, -7, 2**31 - 1, 0, 1], np.int32)}
    data = ours(columns, 256)
    entry = footer_of(data)[4][0][1][1]
    span = data[entry[6] : entry[6] + entry[7]]
    index, end = read_struct(span, 0)  # ColumnIndex: 1 pages of nulls, 2 least, 3 greatest, 4 order, 5 nulls
    assert end == len(span) and index == {1: [False], 2: [4], 3: [4], 4: 1, 5: [0]}
    assert struct.pack("<i", -7) in span and struct.pack("<i", 2**31 - 1) in span


def test_numbers_that_are_none_have_no_limits():
    nan = np.full(3, np.nan, np.float32)
    data = ours({"input_ids": np.zeros((3, 9), np.uint16), "fact": nan}, 256)
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(1)
    assert (column.statistics.has_min_max, column.statistics.null_count, column.has_column_index) == (False, 0, False)
    mixed = np.array([np.nan, 0.0, -3.0], np.float32)
    data = ours({"input_ids": np.zeros((3, 9), np.uint16), "fact": mixed}, 256)
    statistics = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(1).statistics
    assert (statistics.min, repr(statistics.max)) == (-3.0, "0.0")


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**21, 2**31 - 1, -1, -(2**31)])
def test_numbers_are_read_as_they_were_written(number):
    (_, data) = thrift_writer.struct({1: thrift_writer.i32(number), 3: thrift_writer.i64(number * 2**32)})
    assert read_struct(data, 0) == ({1: number, 3: number * 2**32}, len(data))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.lists(st.binary(max_size=200), min_size=1, max_size=40))
def test_lists_are_read_as_they_were_written(truths, texts):
    fields = {1: thrift_writer.items([thrift_writer.boolean(each) for each in truths])}
    fields |= {2: thrift_writer.items([thrift_writer.binary(each) for each in texts]), 4: thrift_writer.boolean(True)}
    _, data = thrift_writer.struct({5: thrift_writer.struct(fields)})
    assert read_struct(data, 0)[0] == {5: {1: truths, 2: [len(each) for each in texts], 4: True}}
