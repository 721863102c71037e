"""Writes a shard's rows as a Parquet file, page by page.

pyarrow could write them, but assembles lists value by value, which takes twice as long as all that a file needs: byte
split, zstd, checksums. Here the levels of a page, which say where rows begin and what is null, are computed once, since
all rows have one length. The file has what pyarrow's has: one page for each column of a row group, with a checksum,
statistics of the columns of numbers, and a page index; `tests/test_parquet_writer.py` compares the two.

Not covered: nulls, dictionaries, columns of other types, encryption. `parquet_pages` decodes what is written here.
Source: parquet-format's parquet.thrift, Encodings.md and PageIndex.md.
"""

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from ncagen.dataset.thrift_writer import Value, binary, boolean, i32, i64, items, struct, unsigned

MAGIC = b"PAR1"
CREATED_BY = b"ncagen version 1"
ARROW_SCHEMA = b"ARROW:schema"  # the key that pyarrow restores types by: uint16, and lists of one length

PLAIN, RLE, BYTE_STREAM_SPLIT = 0, 3, 9
DATA_PAGE, ZSTD, ZSTD_LEVEL = 0, 6, 1
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
ASCENDING = 1

# By NumPy's names: the physical type, and bits and sign of an annotated integer with its older annotation.
INT32, INT64, FLOAT = 1, 2, 4
PHYSICAL = {"uint16": INT32, "uint32": INT32, "int32": INT32, "int64": INT64, "uint64": INT64, "float32": FLOAT}
UNSIGNED = {"uint16": (16, 12), "uint32": (32, 13), "uint64": (64, 14)}
LIST_TYPE = 3  # ConvertedType; in LogicalType the field of the same number
INTEGER_TYPE = 10  # the field of LogicalType

# A page of tokens has whole rows, of at most so many tokens: all 256 of a usual row group.
MOST_PAGE_TOKENS = 1 << 19

_ZSTD = pa.Codec("zstd", ZSTD_LEVEL)

Piece: TypeAlias = "bytes | pa.Buffer"
Described = Callable[[Sequence[Sequence[Piece]]], Mapping[bytes, bytes]]
"""The pieces of each row group, one after the other, to key-value metadata of the file."""


class Page(NamedTuple):
    """A page: its first row in the row group, its header, its values packed, and its bytes unpacked, header and all."""

    row: int
    header: bytes
    packed: pa.Buffer
    unpacked: int

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return len(self.header) + len(self.packed)


class Chunk(NamedTuple):
    """A column of a row group: its name, its values and its pages.

    start, size: where the pages begin in the file, and their bytes. limits: as `_limits` has them; None for tokens.
    """

    name: str
    column: np.ndarray
    pages: list[Page]
    start: int
    size: int
    limits: tuple[bytes, bytes] | None

    @property
    def is_list(self) -> bool:
        """Whether a row has several values: [row, value]."""
        return self.column.ndim == 2


def write(columns: Mapping[str, np.ndarray], schema: pa.Schema, group_rows: int, described: Described) -> pa.Buffer:
    """Returns a Parquet file.

    columns: each [row], or [row, value], in the order of `schema`, whose metadata the file has too. group_rows: rows of
    a row group. described: more metadata, by the bytes of the row groups.
    """
    pieces: list[Piece] = [MAGIC]
    groups: list[list[Chunk]] = []
    of_groups, at, scratch = [], len(MAGIC), _Scratch()
    for first in range(0, len(next(iter(columns.values()))), group_rows):
        group, begun = [], len(pieces)
        for name, column in columns.items():
            part = column[first : first + group_rows]
            pages = list(_pages(part, scratch))
            size = sum(page.size for page in pages)
            pieces += [piece for page in pages for piece in (page.header, page.packed)]
            group.append(Chunk(name, part, pages, at, size, _limits(part) if part.ndim == 1 else None))
            at += size
        groups.append(group)
        of_groups.append(pieces[begun:])
    metadata = {**(schema.metadata or {}), **described(of_groups), ARROW_SCHEMA: base64.b64encode(schema.serialize())}
    return pa.py_buffer(b"".join([*pieces, *_end(groups, at, metadata)]))


# ------------------------------------------------------------------------------------------------------- pages


class _Scratch(dict[tuple[int, int], np.ndarray]):
    """Bytes of a page of lists, by rows and width: the levels, and four streams of bytes, of which high ones stay 0."""

    def __missing__(self, shape: tuple[int, int]) -> np.ndarray:
        levels = np.frombuffer(_list_levels(*shape), np.uint8)
        made = np.zeros(len(levels) + 4 * shape[0] * shape[1], np.uint8)
        made[: len(levels)] = levels
        self[shape] = made
        return made


def _pages(column: np.ndarray, scratch: _Scratch) -> Iterator[Page]:
    """The pages of a column of a row group."""
    rows = max(1, MOST_PAGE_TOKENS // column.shape[1]) if column.ndim == 2 else len(column)
    for first in range(0, len(column), rows):
        part = column[first : first + rows]
        unpacked = _unpacked_list(part, scratch) if part.ndim == 2 else _unpacked(part)
        packed = _ZSTD.compress(pa.py_buffer(unpacked))
        header = struct(
            {
                1: i32(DATA_PAGE),
                2: i32(len(unpacked)),
                3: i32(len(packed)),
                4: i32(_signed(zlib.crc32(packed))),
                5: struct({1: i32(part.size), 2: i32(_encoding(part)), 3: i32(RLE), 4: i32(RLE)}),
            }
        )[1]
        yield Page(first, header, packed, len(header) + len(unpacked))


def _unpacked(column: np.ndarray) -> bytes:
    """A page's bytes of a column of numbers, [row]: levels, values."""
    return _levels(_run(len(column), 1)) + column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpacked_list(rows: np.ndarray, scratch: _Scratch) -> np.ndarray:
    """A page's bytes of tokens, uint16 or uint32 [row, token]: levels, all lowest bytes, all second ones, and so on."""
    page, flat = scratch[rows.shape], rows.reshape(-1)
    streams = page[len(page) - 4 * flat.size :].reshape(4, -1)
    for place in range(flat.itemsize):
        # A shift into bytes is one pass in vectors; a view of every second byte is copied byte by byte.
        np.right_shift(flat, 8 * place, out=streams[place], casting="unsafe")
    return page


@lru_cache
def _list_levels(rows: int, width: int) -> bytes:
    """Levels of a page of lists: where they begin (0, then 1 for each further value), and that no value is null (3)."""
    if width < 8:
        one = _run(1, 0) + (_run(width - 1, 1) if width > 1 else b"")
    else:  # eight levels packed into bits, then a run of what is left, as pyarrow has them
        one = b"\x03\xfe" + (_run(width - 8, 1) if width > 8 else b"")
    return _levels(one * rows) + _levels(_run(rows * width, 3))


def _run(length: int, level: int) -> bytes:
    """A run of one level below 256."""
    return unsigned(length << 1) + bytes([level])


def _levels(runs: bytes) -> bytes:
    """Levels as a page of version 1 has them, after their length."""
    return len(runs).to_bytes(4, "little") + runs


def _encoding(column: np.ndarray) -> int:
    """Tokens are split by byte, which puts the high bytes that hardly vary side by side."""
    return BYTE_STREAM_SPLIT if column.ndim == 2 else PLAIN


# ------------------------------------------------------------------------------------------ page index and footer


def _end(groups: Sequence[Sequence[Chunk]], at: int, metadata: Mapping[bytes, bytes]) -> list[bytes]:
    """What follows the row groups: the indexes of all pages, the footer, its length. at: where it begins."""
    chunks = [chunk for group in groups for chunk in group]
    indexes = [_column_index(chunk) for chunk in chunks]
    offsets = [_offset_index(chunk) for chunk in chunks]
    spans, place = [], at
    for text in (*indexes, *offsets):
        spans.append((place, len(text)))
        place += len(text)
    entries = iter(
        _entry(chunk, index, offset)
        for chunk, index, offset in zip(chunks, spans[: len(chunks)], spans[len(chunks) :], strict=True)
    )
    footer = struct(
        {
            1: i32(2),  # the version of the format: 2.6, as far as this number tells
            2: items(_schema(groups[0])),
            3: i64(sum(len(group[0].column) for group in groups)),
            4: items([_row_group(group, entries) for group in groups]),
            5: items([struct({1: binary(key), 2: binary(value)}) for key, value in metadata.items()]),
            6: binary(CREATED_BY),
            7: items([struct({1: struct({})}) for _ in groups[0]]),  # minimum and maximum are by the type's own order
        }
    )[1]
    return [*indexes, *offsets, footer, len(footer).to_bytes(4, "little"), MAGIC]


def _schema(group: Sequence[Chunk]) -> list[Value]:
    """The schema's elements, from the root down."""
    found = [struct({3: i32(REQUIRED), 4: binary(b"schema"), 5: i32(len(group))})]
    for chunk in group:
        name, kind = chunk.name.encode(), chunk.column.dtype.name
        if chunk.is_list:
            outer = {3: i32(OPTIONAL), 4: binary(name), 5: i32(1), 6: i32(LIST_TYPE)}
            found.append(struct(outer | {10: struct({LIST_TYPE: struct({})})}))
            found.append(struct({3: i32(REPEATED), 4: binary(b"list"), 5: i32(1)}))
            name = b"element"
        element = {1: i32(PHYSICAL[kind]), 3: i32(OPTIONAL), 4: binary(name)}
        if kind in UNSIGNED:
            bits, older = UNSIGNED[kind]
            width = 3, bytes([bits])  # a byte
            element |= {6: i32(older), 10: struct({INTEGER_TYPE: struct({1: width, 2: boolean(False)})})}
        found.append(struct(element))
    return found


def _row_group(group: Sequence[Chunk], entries: Iterator[Value]) -> Value:
    """A row group's part of the footer. entries: of its columns and those of the groups after it."""
    unpacked = sum(page.unpacked for chunk in group for page in chunk.pages)
    return struct(
        {
            1: items([next(entries) for _ in group]),
            2: i64(unpacked),
            3: i64(len(group[0].column)),
            5: i64(group[0].start),
            6: i64(sum(chunk.size for chunk in group)),
        }
    )


def _entry(chunk: Chunk, index: tuple[int, int], offset: tuple[int, int]) -> Value:
    """A column's part of a row group. index, offset: place and length of its column index and its offset index."""
    column = chunk.column
    path = [chunk.name.encode(), b"list", b"element"] if chunk.is_list else [chunk.name.encode()]
    fields = {
        1: i32(PHYSICAL[column.dtype.name]),
        2: items([i32(RLE), i32(_encoding(column))]),
        3: items([binary(part) for part in path]),
        4: i32(ZSTD),
        5: i64(column.size),
        6: i64(sum(page.unpacked for page in chunk.pages)),
        7: i64(chunk.size),
        9: i64(chunk.start),
    }
    if not chunk.is_list:
        fields[12] = _statistics(chunk)
    fields[13] = items([struct({1: i32(DATA_PAGE), 2: i32(_encoding(column)), 3: i32(len(chunk.pages))})])
    entry = {2: i64(0), 3: struct(fields), 4: i64(offset[0]), 5: i32(offset[1])}
    if index[1]:
        entry |= {6: i64(index[0]), 7: i32(index[1])}
    return struct(entry)


def _statistics(chunk: Chunk) -> Value:
    """Statistics of a column of numbers: no nulls, and least and greatest where there are any."""
    fields = {3: i64(0)}
    if chunk.limits:
        least, most = map(binary, chunk.limits)
        if chunk.column.dtype.kind != "u":  # older readers take these, whose order is that of signed numbers
            fields = {1: most, 2: least} | fields
        fields |= {5: most, 6: least, 7: boolean(True), 8: boolean(True)}
    return struct(fields)


def _limits(column: np.ndarray) -> tuple[bytes, bytes] | None:
    """The least and the greatest of a column's numbers, as little-endian bytes; None where none is a number.

    As parquet.thrift wants it, not-a-number counts for neither, and a zero is -0 as the least and +0 as the greatest.
    """
    if column.dtype.kind == "f":
        column = column[~np.isnan(column)]
        if not len(column):
            return None
    least, most = column.min(), column.max()
    if column.dtype.kind == "f":
        least, most = (least or -column.dtype.type(0)), (most or column.dtype.type(0))
    little = column.dtype.newbyteorder("<")
    return least.astype(little).tobytes(), most.astype(little).tobytes()


def _column_index(chunk: Chunk) -> bytes:
    """The limits of the only page of a column of numbers; nothing for tokens, and where there are no limits."""
    if not chunk.limits:
        return b""
    least, most = (items([binary(value)]) for value in chunk.limits)
    return struct({1: items([boolean(False)]), 2: least, 3: most, 4: i32(ASCENDING), 5: items([i64(0)])})[1]


def _offset_index(chunk: Chunk) -> bytes:
    """Where the pages of a column are: their places in the file, their bytes, their first rows in the row group."""
    found, at = [], chunk.start
    for page in chunk.pages:
        found.append(struct({1: i64(at), 2: i32(page.size), 3: i64(page.row)}))
        at += page.size
    return struct({1: items(found)})[1]


def _signed(number: int) -> int:
    """A number of 32 bits with the sign that its highest bit stands for."""
    return number - (number >> 31 << 32)
