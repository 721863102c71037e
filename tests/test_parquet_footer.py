"""The two ways of reading a Parquet file's structure agree: the pattern and the parser, one row's levels and all."""

import struct
from contextlib import suppress
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow_writer import parquet_options, table_of
from test_parquet_layout import REWRITTEN

from ncagen.dataset import parquet_pages
from ncagen.dataset.parquet_footer import Chunk, _chunk, read_entry
from ncagen.dataset.parquet_thrift import read_struct
from ncagen.dataset.parquet_writer import write
from ncagen.dataset.shard import DamagedShard

WIDTH = 20


def columns() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    facts = {"candidate": draw.integers(0, 2**40, 700).astype(np.uint64), "gzip_bytes": np.arange(700, dtype=np.int32)}
    facts["gzip_ratio"] = draw.random(700).astype(np.float32)
    return {"input_ids": draw.integers(0, 9999, (700, WIDTH)).astype(np.uint16), **facts}


@lru_cache
def footers() -> dict[str, bytes]:
    """The footer of the same rows by every way of writing them, and by ncagen's."""
    found, table = {"ours": footer_of(write(columns(), 256, {}, b"groups"))}, table_of(columns())
    for name, options in {"pyarrow's as ours": parquet_options(table.column_names), **REWRITTEN}.items():
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        found[name] = footer_of(sink.getvalue())
    return found


def footer_of(file: pa.Buffer) -> bytes:
    data = file.to_pybytes()
    return data[-8 - struct.unpack("<I", data[-8:-4])[0] :]


def entries(footer: bytes, read) -> list:
    """What `read` makes of every column of every row group, and where it ends."""
    found = []

    def entry(view, at, depth):
        value, end = read(view, at, depth)
        found.append((value if isinstance(value, Chunk) else _chunk(value), end))
        return value, end

    read_struct(footer, 0, lists={4: lambda view, at, depth: read_struct(view, at, depth, lists={1: entry})})
    return found


def test_the_pattern_finds_the_numbers_that_the_parser_finds():
    for footer in footers().values():
        by_parser = entries(footer, read_struct)
        assert by_parser and entries(footer, read_entry) == by_parser


def test_ncagens_own_entries_match_the_pattern():
    """Otherwise opening a shard takes twice the time, and nothing else would tell."""
    kinds = []
    entries(footers()["ours"], lambda *place: (kinds.append(type((found := read_entry(*place))[0])), found)[1])
    assert kinds == [Chunk] * 12


@given(data=st.data())
@settings(deadline=None, database=None, max_examples=400)
def test_a_changed_entry_that_matches_gives_what_the_parser_gives(data):
    footer = bytearray(footers()[data.draw(st.sampled_from(["ours", "plain", "pyarrow's own"]))])
    starts = [0]
    entries(bytes(footer), lambda view, at, depth: (starts.append(at), read_struct(view, at, depth))[1])
    start = data.draw(st.sampled_from(starts[1:]))
    for place in data.draw(st.lists(st.integers(start, min(start + 130, len(footer) - 1)), max_size=3)):
        footer[place] = data.draw(st.sampled_from([0, 1, 21, 22, 24, 25, 28, 38, 60, 127, 128]) | st.integers(0, 255))
    found, end = None, None
    with suppress(ValueError, LookupError):
        found, end = read_entry(bytes(footer), start, 1)
    if isinstance(found, Chunk):
        fields, parsed_end = read_struct(bytes(footer), start, 1)
        assert (_chunk(fields), parsed_end) == (found, end)


def levels_of(runs: list[tuple[int, int]], values: list[int]) -> bytes:
    """Levels of one bit in given runs: kind 0 repeats the next value, kind 1 packs eight times as many."""
    data, at = b"", 0
    for kind, length in runs:
        some = values[at : at + (8 * length if kind else length)]
        packed = np.packbits(some, bitorder="little").tobytes() if kind else bytes([some[0]])
        data += bytes([length << 1 | kind]) + packed
        at += len(some)
    return data


@given(data=st.data())
@settings(deadline=None, database=None, max_examples=300)
def test_one_row_tells_of_all_only_where_it_does(data):
    """Rows written alike or not, whose runs end with the row or not, against decoding them all."""
    width = data.draw(st.sampled_from([2, 3, 4, 8, 9, 12, 16]))
    rows = data.draw(st.integers(1, 6))
    runs = data.draw(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12)), min_size=1, max_size=6))
    whole = [(0, 1), (0, width - 1)] if width < 9 else [(1, 1), (0, width - 8)]
    runs = data.draw(st.sampled_from([runs, whole, [(0, width)]])) * data.draw(st.sampled_from([1, rows]))
    pattern = data.draw(st.sampled_from([[0] + [1] * (width - 1), [0, 1, 1, 1], [1], [0]]))
    some = np.resize(pattern, sum(8 * length if kind else length for kind, length in runs)).tolist()
    levels = levels_of(runs, some)
    try:
        found = parquet_pages._rows_begin(levels, 0, rows * width, width)
    except DamagedShard:
        found = None
    try:
        wanted = bool((parquet_pages._levels(levels, 1, rows * width) == ([0] + [1] * (width - 1)) * rows).all())
    except DamagedShard:
        wanted = None
    assert found == wanted
