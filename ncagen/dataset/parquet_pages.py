"""Decodes the pages of a shard's Parquet file into NumPy arrays.

pyarrow could read them, but has two faults here. It allocates what a page's header claims, and neither reports nor
limits that: a file of some hundred bytes can make it unpack gigabytes. And it assembles lists value by value, which
takes three fifths of the time where all lists have the same length.

This covers pages as ncagen writes them: version 1, zstd, with a checksum, without dictionaries or nulls, each column in
its own encoding. Other pages raise OtherLayout, which `shard_file` handles. Sources: parquet-format's parquet.thrift,
Encodings.md and README.md ("Nested Encoding").
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ncagen.dataset.parquet_footer import RowGroup, otherwise
from ncagen.dataset.parquet_thrift import read_struct, read_unsigned
from ncagen.dataset.shard import DamagedShard
from ncagen.row_format import RowFormat

UNLIKE = "its pages are not as ncagen writes them"
CUT_SHORT = "a page's levels are cut short"

ZSTD = 6
PLAIN, RLE, BYTE_STREAM_SPLIT = 0, 3, 9

# Levels of rows of one length take about five bytes a row.
LEVEL_BYTES = 16

# Bytes of a page, unpacked, up to which it is unpacked together with others.
SMALL_PAGE = 1 << 14

_ZSTD = pa.Codec("zstd")


class Stored(NamedTuple):
    """How a column is stored: its encoding, bytes of a value, and the level at which a value is there and not null."""

    encoding: int
    size: int
    defined: int


# A checksum does not cover its page's header, so what is not fixed here could be read otherwise without being noticed.
TOKENS = Stored(BYTE_STREAM_SPLIT, 4, 3)
BY_BYTES = {size: Stored(PLAIN, size, 1) for size in (4, 8)}


class OtherLayout(DamagedShard):
    """Pages that are not laid out as ncagen writes them, whether or not they are sound."""


class Page(NamedTuple):
    """A data page: its first value's place in the row group, how many it has, its bytes unpacked, and them packed."""

    first: int
    values: int
    size: int
    packed: memoryview


class Wanted(NamedTuple):
    """A column to fill: how it is stored, values of a row, and the array for its values [value]."""

    stored: Stored
    width: int
    values: np.ndarray


def read_group(
    data: pa.Buffer, group: RowGroup, row_format: RowFormat, into: Mapping[str, np.ndarray], checksums: bool = True
) -> None:
    """Fills arrays with columns of a row group. Raises OtherLayout, DamagedShard, both with arrays partly filled.

    data: the file's bytes. into: for each column wanted an array, [row] or [row, token], in one piece. checksums:
    whether pages are compared with theirs, which finds nothing where all of `data` matched a hash.
    """
    if any(chunk.codec != ZSTD or chunk.has_dictionary for chunk in group.chunks):
        raise OtherLayout(UNLIKE)
    with otherwise(UNLIKE, OtherLayout):
        pages: list[tuple[Page, Wanted]] = []
        for column, chunk in zip(row_format.columns, group.chunks, strict=True):
            if column.name in into:
                values = into[column.name]
                is_tokens = values.ndim == 2
                stored, width = (TOKENS, row_format.row_tokens) if is_tokens else (BY_BYTES[values.itemsize], 1)
                wanted = Wanted(stored, width, values.reshape(-1))
                pages += [(page, wanted) for page in _pages(data, chunk.start, wanted, checksums)]
        for (page, wanted), unpacked in zip(pages, _unpacked([page for page, _ in pages]), strict=True):
            _decode(unpacked, page, wanted)


def _pages(data: pa.Buffer, at: int, column: Wanted, checksums: bool) -> Iterator[Page]:
    """The pages that hold a column's values, their headers bounded and checked."""
    view, first, most = memoryview(data).cast("B"), 0, len(column.values)
    while first < most:
        # PageHeader: 1 type (0 is a data page), 2 bytes unpacked, 3 packed, 4 checksum, 5 values, encoding, of levels.
        header, at = read_struct(view, at)
        size, checksum, kind = header[2], header[4] & 0xFFFFFFFF, header[5]
        values, end = kind[1], at + header[3]
        if header[1] != 0 or end < at or (kind[2], kind[3], kind[4]) != (column.stored.encoding, RLE, RLE):
            raise ValueError
        if not 1 <= values <= most - first:
            raise DamagedShard("a page has more values than its rows")
        if not 0 <= size <= values * column.stored.size + LEVEL_BYTES * (values // column.width + 2):
            raise OtherLayout("a page is larger than its values can be")
        if checksums and zlib.crc32(view[at:end]) != checksum:
            raise DamagedShard("a page does not match its checksum")
        yield Page(first, values, size, view[at:end])
        first, at = first + values, end


def _unpacked(pages: Sequence[Page]) -> Iterator[memoryview]:
    """The unpacked bytes of each page.

    Small pages are unpacked in one call, as zstd's frames may follow each other: it takes ten microseconds to begin,
    more than these pages take.
    """
    small = [page for page in pages if page.size <= SMALL_PAGE]
    together, at = _unzip(b"".join(page.packed for page in small), sum(page.size for page in small)), 0
    for page in pages:
        if page.size > SMALL_PAGE:
            yield _unzip(page.packed, page.size)
        else:
            yield together[at : at + page.size]
            at += page.size


def _unzip(packed: memoryview | bytes, size: int) -> memoryview:
    """Raises OSError unless `packed` unpacks to `size` bytes."""
    return memoryview(_ZSTD.decompress(pa.py_buffer(packed), size)).cast("B") if size else memoryview(b"")


def _decode(data: memoryview, page: Page, column: Wanted) -> None:
    """Fills a page's part of a column from its unpacked bytes."""
    stored, count = column.stored, page.values
    if column.stored == TOKENS:  # a list has levels that say where rows begin
        begin = partial(_rows_begin, first=page.first % column.width, count=count, width=column.width)
        data = _after_levels(data, begin)
    data = _after_levels(data, partial(_none_is_null, defined=stored.defined, count=count))
    if len(data) != count * stored.size:
        raise DamagedShard("a page does not hold its values")
    _join(np.frombuffer(data, np.uint8), stored, column.values[page.first : page.first + count])


def _join(data: np.ndarray, stored: Stored, values: np.ndarray) -> None:
    """Fills values [value] from the bytes that they are stored in: uint8[byte]."""
    if stored.encoding == PLAIN:
        values[:] = data.view(values.dtype.newbyteorder("<"))
        return
    width = values.itemsize
    streams = data.reshape(stored.size, len(values))  # all lowest bytes, all second ones, ...
    if width < stored.size and streams[width:].max():
        raise DamagedShard("a page has values that are too large")
    np.multiply(streams[width - 1], 256, out=values, dtype=values.dtype)  # one pass, where `=` and `<<=` take two
    values |= streams[width - 2]
    for stream in streams[: width - 2][::-1]:
        values <<= 8
        values |= stream


def _after_levels(page: memoryview, regular: Callable[[bytes], bool]) -> memoryview:
    """What follows a page's levels, which say where rows begin and what is null; they must be as our rows have them."""
    end = 4 + int.from_bytes(page[:4], "little")
    if not regular(bytes(page[4:end])):
        raise DamagedShard("a page has rows of other lengths, or nulls")
    return page[end:]


@lru_cache
def _rows_begin(levels: bytes, first: int, count: int, width: int) -> bool:
    """Whether values first, first + 1, ... of a list column are those of rows of `width`: level 0 begins a row."""
    rows, rest = divmod(count, width)
    if rows > 1 and first == rest == 0:
        one = levels[: len(levels) // rows]
        # Where all rows are written alike, and none of a row's runs goes on in the next, one row tells of all.
        if one * rows == levels and sum(length for length, _ in _runs(one, 1)) == width:
            return _rows_begin(one, 0, width, width)
    wanted = np.ones(count, np.uint8)
    wanted[-first % width :: width] = 0
    return bool((_levels(levels, 1, count) == wanted).all())


@lru_cache
def _none_is_null(levels: bytes, defined: int, count: int) -> bool:
    return bool((_levels(levels, defined.bit_length(), count) == defined).all())


def _levels(levels: bytes, bits: int, count: int) -> np.ndarray:
    """The first `count` levels of `bits` bits: uint8[count]."""
    found, done = np.empty(count, np.uint8), 0
    for length, run in _runs(levels, bits):
        found[done : done + length] = run[: count - done]
        done += length
        if done >= count:
            return found
    raise DamagedShard(CUT_SHORT)


def _runs(levels: bytes, bits: int) -> Iterator[tuple[int, np.ndarray]]:
    """The runs of Parquet's mix of repeated levels and packed groups of eight.

    Of each its length and its levels, uint8[length], or uint8[1] for a repeated one.
    """
    at = 0
    while at < len(levels):
        header, at = read_unsigned(levels, at)
        packed, length = header & 1, header >> 1
        some = levels[at : at + (length * bits if packed else 1)]
        if not length or len(some) < (length * bits if packed else 1):
            raise DamagedShard(CUT_SHORT)
        if packed:
            digits = np.unpackbits(np.frombuffer(some, np.uint8), bitorder="little").reshape(-1, bits)
            yield length * 8, (digits << np.arange(bits, dtype=np.uint8)).sum(axis=1)
        else:
            yield length, np.frombuffer(some, np.uint8)
        at += len(some)
