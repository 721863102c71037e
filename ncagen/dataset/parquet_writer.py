"""Writes the row groups of a shard's Parquet file: pages, and their entries in the footer.

pyarrow's writer assembles the levels of each list value by value, which takes most of its time where all lists have the
same length. Here levels are constants, tokens are split into bytes by NumPy, and pages are compressed by pyarrow's
zstd. What a reader sees is what pyarrow writes for the same table, field by field of the metadata; pages end at other
rows. `parquet_metadata` joins row groups to a file.

This covers shards only: unsigned tokens in lists of one length, columns of four and eight bytes, no nulls. Nothing
depends on the version of pyarrow but zstd's output. Sources: parquet-format's parquet.thrift, Encodings.md and
README.md ("Nested Encoding").
"""

import hashlib
import json
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from ncagen.dataset.parquet_metadata import (
    COLUMN_INDEX,
    COUNTS,
    ENTRY,
    ENTRY_WITH_STATISTICS,
    LOCATION,
    MAGIC,
    NO_EXTREMES,
    PAGE,
    PHYSICAL,
    SIGNED_STATISTICS,
    STATISTICS,
    Chunk,
    Group,
    Part,
    counts,
    footer,
    integer,
    lists,
    page_index,
    plain_path,
    root,
    text,
    tokens_path,
    unsigned,
    value,
)

# Level 1: tokens hardly compress, higher levels take longer. Measured in docs/log.md.
_ZSTD = pa.Codec("zstd", 1)

# Bytes of a page of tokens before compression, at most, if it has more than a row: a row group of 256 usual rows is one
# page, and what a reader unpacks at once stays small where rows are long.
PAGE_BYTES = 1 << 21

PLAIN, BYTE_STREAM_SPLIT = 0, 9
TOKEN_BYTES = 4  # Parquet's narrowest integer

INT32 = 1


def write(
    columns: Mapping[str, np.ndarray], group_rows: int, metadata: Mapping[bytes, bytes], groups_key: bytes
) -> pa.Buffer:
    """A Parquet file, in memory.

    columns: `input_ids` [row, token], uint16 or uint32, and other columns [row], int32, uint64 or float32; a row at
    least. group_rows: rows of a row group. metadata: of the schema. groups_key: the key, in the file's metadata, for a
    list in JSON of each row group's bytes and their sha256.
    """
    data = pa.allocate_buffer(_most_bytes(columns, group_rows))
    groups, hashes = [], []
    with pa.FixedSizeBufferWriter(data) as sink:
        sink.write(MAGIC)
        for group in _groups(columns, group_rows, len(MAGIC)):
            hashes.append([group.packed, _sha256(group.parts)])
            _put(sink, group.parts)
            groups.append(group.without_parts())
        index, indexed = page_index(groups, sink.tell())
        described = json.dumps(hashes, separators=(",", ":")).encode()
        keys = {groups_key: described, **metadata, b"ARROW:schema": b64encode(_arrow_schema(columns, metadata))}
        _put(sink, [*index, footer(_schema(columns), groups, indexed, keys)])
        return data.slice(0, sink.tell())


def _most_bytes(columns: Mapping[str, np.ndarray], group_rows: int) -> int:
    """More bytes than the file takes. What it does not take is never touched, so it is no memory."""
    values = sum(max(TOKEN_BYTES, values.itemsize) * values.size for values in columns.values())
    rows = len(next(iter(columns.values())))
    return values + values // 128 + 64 * rows + 4096 * len(columns) * (rows // group_rows + 16)


def _put(sink: pa.NativeFile, parts: Iterable[Part]) -> None:
    for part in parts:
        sink.write(part)


def _sha256(parts: Iterable[Part]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _arrow_schema(columns: Mapping[str, np.ndarray], metadata: Mapping[bytes, bytes]) -> bytes:
    """The schema by which readers of Arrow know lists of one length and tokens of 16 bits."""
    fields = []
    for name, values in columns.items():
        kind = pa.from_numpy_dtype(values.dtype)
        fields.append(pa.field(name, kind if values.ndim == 1 else pa.list_(kind, values.shape[1])))
    return pa.schema(fields, metadata=metadata).serialize().to_pybytes()


def _schema(columns: Mapping[str, np.ndarray]) -> list[bytes]:
    """The elements of Parquet's schema."""
    elements = [root(len(columns))]
    for name, values in columns.items():
        kind = values.dtype.name
        elements += lists(name, kind) if values.ndim == 2 else [value(name, kind)]
    return elements


def _groups(columns: Mapping[str, np.ndarray], group_rows: int, start: int) -> Iterator[Group]:
    """The row groups, one after another. start: the place of the first one in the file."""
    count = len(next(iter(columns.values())))
    makers = [
        _Tokens(name, values) if values.ndim == 2 else _Plain(name, values, group_rows)
        for name, values in columns.items()
    ]
    for first in range(0, count, group_rows):
        rows, at, chunks = min(group_rows, count - first), start, []
        for maker in makers:
            chunks.append(maker.chunk(first, rows, at))
            at += chunks[-1].packed
        yield Group(rows, start, chunks)
        start = at


class _Tokens:
    """Makes the chunks of the token column. A page's buffer is kept: only its split tokens differ from page to page."""

    def __init__(self, name: str, values: np.ndarray):
        """values: uint16 or uint32 [row, token]."""
        self.values, self.width = values, values.shape[1]
        self.path, self.physical, self.encoding = tokens_path(name), integer(INT32), integer(BYTE_STREAM_SPLIT)
        self.page_rows = max(1, PAGE_BYTES // (TOKEN_BYTES * self.width))
        self.pages: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def chunk(self, first: int, rows: int, at: int) -> Chunk:
        """The chunk of `rows` rows from row `first`, at a place in the file."""
        parts: list[Part] = []
        locations, unpacked, packed = [], 0, 0
        for row in range(0, rows, self.page_rows):
            some = min(self.page_rows, rows - row)
            data = self._page(first + row, some)
            page = _page(data, some * self.width, BYTE_STREAM_SPLIT)
            size = sum(map(len, page))
            locations.append(LOCATION % (integer(at + packed), integer(size), integer(row)))
            parts += page
            unpacked, packed = unpacked + len(page[0]) + len(data), packed + size
        values, pages = rows * self.width, integer(len(locations))
        levels = COUNTS % (counts(rows, values - rows), counts(0, 0, 0, values))
        numbers = map(integer, (values, unpacked, packed, at))
        entry = ENTRY % (self.physical, self.encoding, self.path, *numbers, self.encoding, pages, levels)
        return Chunk(parts, unpacked, packed, entry, locations)

    def _page(self, first: int, rows: int) -> np.ndarray:
        """The page of some rows: uint8[byte]. It is good until the next call."""
        if rows not in self.pages:
            self.pages[rows] = _empty_page(rows, self.width)
        page, streams = self.pages[rows]
        tokens = np.ascontiguousarray(self.values[first : first + rows]).reshape(-1)
        for number in range(tokens.itemsize):
            np.right_shift(tokens, 8 * number, out=streams[number], casting="unsafe")
        return page


class _Plain:
    """Makes the chunks of a column with one value a row, each of one page."""

    def __init__(self, name: str, values: np.ndarray, group_rows: int):
        """values: int32, uint64 or float32 [row]."""
        self.values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self.path, self.physical = plain_path(name), integer(PHYSICAL[values.dtype.name])
        self.encoding, self.group_rows = integer(PLAIN), group_rows
        self.statistics = STATISTICS if values.dtype.kind == "u" else SIGNED_STATISTICS
        starts = range(0, len(values), group_rows)
        self.lows, self.highs = (
            _extremes(self.values, np.fmin, starts, -0.0),
            _extremes(self.values, np.fmax, starts, 0.0),
        )

    def chunk(self, first: int, rows: int, at: int) -> Chunk:
        """The chunk of `rows` rows from row `first`, at a place in the file."""
        data = _levels(unsigned(rows << 1) + b"\x01") + self.values[first : first + rows].tobytes()
        parts = _page(data, rows, PLAIN)
        unpacked, packed = len(parts[0]) + len(data), sum(map(len, parts))
        low, high = (some[first // self.group_rows] for some in (self.lows, self.highs))
        known, levels = low is not None and high is not None, counts(0, rows)
        statistics = self.statistics % {b"low": low, b"high": high} if known else NO_EXTREMES
        numbers = map(integer, (rows, unpacked, packed, at))
        entry = ENTRY_WITH_STATISTICS % (
            *(self.physical, self.encoding, self.path, *numbers),
            *(statistics, self.encoding, integer(1), COUNTS % (counts(), levels)),
        )
        locations = [LOCATION % (integer(at), integer(packed), integer(0))]
        return Chunk(parts, unpacked, packed, entry, locations, COLUMN_INDEX % (low, high, levels) if known else None)


def _extremes(values: np.ndarray, least: np.ufunc, starts: range, zero: float) -> list[bytes | None]:
    """The least or greatest value of each row group as text, None where all are NaN.

    zero: how 0.0 is written, as parquet.thrift asks for: -0.0 as the least, 0.0 as the greatest.
    """
    found = least.reduceat(values, starts)
    if found.dtype.kind == "f":
        found = np.where(found == 0, found.dtype.type(zero), found)
    data = found.astype(values.dtype)
    return [text(value.tobytes()) if value == value else None for value in data]


def _page(data: np.ndarray | bytes, values: int, encoding: int) -> list[Part]:
    """A data page's header and its compressed bytes."""
    packed = _ZSTD.compress(data)
    checksum = zlib.crc32(packed)
    checksum -= checksum >> 31 << 32  # as a signed number
    sizes = integer(len(data)), integer(len(packed)), integer(checksum), integer(values)
    return [PAGE % (*sizes, integer(encoding)), packed]


def _empty_page(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a page of tokens that are all 0, uint8[byte], and in it the streams, uint8[stream, value]."""
    values = rows * width
    levels = _levels(_row_begins(rows, width)) + _levels(unsigned(values << 1) + b"\x03")
    page = np.zeros(len(levels) + TOKEN_BYTES * values, np.uint8)
    page[: len(levels)] = np.frombuffer(levels, np.uint8)
    return page, page[len(levels) :].reshape(TOKEN_BYTES, values)


def _row_begins(rows: int, width: int) -> bytes:
    """Repetition levels of lists of one length: 0 for the first value of a row, 1 for the others.

    As pyarrow writes them: eight packed levels, then a run of the others. Rows of up to eight are packed together.
    """
    if width > 8:
        return (b"\x03\xfe" + unsigned(width - 8 << 1) + b"\x01") * rows
    levels = np.ones(-(-rows * width // 8) * 8, np.uint8)
    levels[: rows * width : width] = 0
    return unsigned(len(levels) // 8 << 1 | 1) + np.packbits(levels, bitorder="little").tobytes()


def _levels(runs: bytes) -> bytes:
    """Runs of levels with their size before them, as a page of version 1 has them."""
    return len(runs).to_bytes(4, "little") + runs
