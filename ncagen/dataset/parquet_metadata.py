"""Encodes the metadata of a shard's Parquet file: page headers, page index and footer, in Thrift's compact protocol.

What is the same in all shards is written out as templates, in which %b takes a value: a shard has about a thousand
numbers that differ, and a general encoder would hold the interpreter's lock several times as long. In a template a byte
before a value is its field: four bits of how much its number is above that of the field before, four bits of type (1
true, 5 and 6 integers, 8 text, 9 list, 12 struct); %% is the byte 0x25. A zero byte ends a struct. `parquet_thrift`
decodes what is written here. Sources: parquet-format's parquet.thrift, Apache Thrift's thrift-compact-protocol.md.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import pyarrow as pa

MAGIC = b"PAR1"
# Physical types by NumPy's names: INT32, INT64, FLOAT. Unsigned integers are annotated ones.
PHYSICAL = {"uint16": 1, "uint32": 1, "int32": 1, "uint64": 2, "float32": 4}
CREATED_BY = b"ncagen version 1.0.0"  # of the way in which files are written, not of the program

_INTEGER, _TEXT, _STRUCT = 6, 8, 12

# PageHeader: 1 type (0 is a data page), 2 bytes unpacked, 3 packed, 4 checksum, 5 DataPageHeader: 1 values, 2 encoding,
# 3 and 4 of the levels (RLE).
PAGE = b"\x15\x00\x15%b\x15%b\x15%b\x1c\x15%b\x15%b\x15\x06\x15\x06\x00\x00"

# Statistics: 1 and 2 extremes for old readers, where order is signed; 3 nulls, 5 greatest, 6 least, 7 and 8 exact.
_EXACT = b"\x28%(high)b\x18%(low)b\x11\x11\x00"
STATISTICS = b"\x3c\x36\x00" + _EXACT
SIGNED_STATISTICS = b"\x3c\x18%(high)b\x18%(low)b\x16\x00" + _EXACT
NO_EXTREMES = b"\x3c\x36\x00\x00"

# SizeStatistics: 2 how many values have each repetition level, 3 each definition level.
COUNTS = b"\x3c\x29%b\x19%b\x00"

# ColumnChunk: 2 where it was, 3 ColumnMetaData: 1 type, 2 encodings (RLE of levels, that of values), 3 path, 4 codec
# (zstd), 5 values, 6 bytes unpacked, 7 packed, 9 first page; 12 statistics, of columns that have them; 13
# PageEncodingStats: 1 type, 2 encoding, 3 pages; 16 SizeStatistics. The page index follows.
_BEGIN = b"\x26\x00\x1c\x15%b\x19%%\x06%b\x19%b\x15\x0c\x16%b\x16%b\x16%b\x26%b"
_END = b"\x1c\x15\x00\x15%b\x15%b\x00%b\x00"
ENTRY = _BEGIN + b"\x49" + _END
ENTRY_WITH_STATISTICS = _BEGIN + b"%b\x19" + _END
# ColumnChunk: 4 and 5 place and size of the OffsetIndex, 6 and 7 of the ColumnIndex.
INDEXED = b"\x16%b\x15%b"

# PageLocation: 1 place, 2 bytes, 3 first row in the row group.
LOCATION = b"\x16%b\x15%b\x16%b\x00"
# ColumnIndex of one page: 1 whether it has only nulls, 2 least, 3 greatest, 4 order (ascending), 5 nulls, 7 how many
# values have each definition level.
COLUMN_INDEX = b"\x19\x11\x02\x19\x18%b\x19\x18%b\x15\x02\x19\x16\x00\x29%b\x00"

# RowGroup: 1 columns, 2 bytes unpacked, 3 rows, 5 place, 6 bytes packed.
GROUP = b"\x19%b\x16%b\x16%b\x26%b\x16%b\x00"
# FileMetaData: 1 version, 2 schema, 3 rows, 4 row groups, 5 keys and values, 6 writer, 7 orders of the columns.
FOOTER = b"\x15\x04\x19%b\x16%b\x19%b\x19%b\x18%b\x19%b\x00"
KEY_VALUE = b"\x18%b\x18%b\x00"
TYPE_ORDER = b"\x1c\x00\x00"

# SchemaElement: 1 type, 3 repetition (REQUIRED 0, OPTIONAL 1, REPEATED 2), 4 name, 5 children, 6 converted type,
# 10 logical type.
ROOT = b"\x35\x00\x18%b\x15%b\x00"
LIST = b"\x35\x02\x18%b\x15\x02\x15\x06\x4c\x3c\x00\x00\x00"
REPEATED = b"\x35\x04\x18%b\x15\x02\x00"
VALUE = b"\x15%b%%\x02\x18%b%b\x00"
# Converted and logical types of unsigned integers: UINT_16, UINT_32, UINT_64; IntType: 1 bits, 2 signed.
UNSIGNED = {
    f"uint{bits}": b"%%%b\x4c\xac\x13%b\x12\x00\x00" % (bytes([converted << 1]), bytes([bits]))
    for bits, converted in ((16, 12), (32, 13), (64, 14))
}


Part: TypeAlias = bytes | pa.Buffer


class Chunk(NamedTuple):
    """A column of a row group: its pages' bytes, its entry in the footer up to the page index, and its page index.

    unpacked, packed: bytes of the pages with their headers. column_index: None where a column has no extremes.
    """

    parts: list[Part]
    unpacked: int
    packed: int
    entry: bytes
    locations: list[bytes]
    column_index: bytes | None = None


class Group(NamedTuple):
    """A row group: its rows, its place in the file, and its columns."""

    rows: int
    start: int
    chunks: list[Chunk]

    @property
    def parts(self) -> list[Part]:
        """Its bytes, as they follow each other in the file."""
        return [part for chunk in self.chunks for part in chunk.parts]

    @property
    def packed(self) -> int:
        """How many bytes it has."""
        return sum(chunk.packed for chunk in self.chunks)

    def without_parts(self) -> "Group":
        """What the footer needs of it."""
        return self._replace(chunks=[chunk._replace(parts=[]) for chunk in self.chunks])


def page_index(groups: Sequence[Group], at: int) -> tuple[list[bytes], list[list[bytes]]]:
    """The bytes of a file's page index, all ColumnIndexes first, and for each chunk where its part is.

    at: the place of the index in the file. Returns the parts, and fields 4 to 7 of each ColumnChunk, [group][column].
    """
    parts: list[bytes] = []

    def placed(data: bytes | None) -> bytes:
        nonlocal at
        if data is None:
            return b""
        parts.append(data)
        at += len(data)
        return INDEXED % (integer(at - len(data)), integer(len(data)))

    columns = [[placed(chunk.column_index) for chunk in group.chunks] for group in groups]
    offsets = [
        [placed(b"\x19" + list_of(_STRUCT, chunk.locations) + b"\x00") for chunk in group.chunks] for group in groups
    ]
    return parts, [[o + c for o, c in zip(*row, strict=True)] for row in zip(offsets, columns, strict=True)]


def footer(
    schema: Sequence[bytes],
    groups: Sequence[Group],
    indexed: Sequence[Sequence[bytes]],
    metadata: Mapping[bytes, bytes],
) -> bytes:
    """The end of a file, from FileMetaData to the last magic.

    schema: its elements. indexed: as `page_index` returns it. metadata: keys and values, in their order.
    """
    entries = [
        GROUP
        % (
            list_of(
                _STRUCT, [chunk.entry + place + b"\x00" for chunk, place in zip(group.chunks, places, strict=True)]
            ),
            *map(integer, (sum(chunk.unpacked for chunk in group.chunks), group.rows, group.start, group.packed)),
        )
        for group, places in zip(groups, indexed, strict=True)
    ]
    pairs = [KEY_VALUE % (text(key), text(value)) for key, value in metadata.items()]
    data = FOOTER % (
        list_of(_STRUCT, schema),
        integer(sum(group.rows for group in groups)),
        list_of(_STRUCT, entries),
        list_of(_STRUCT, pairs),
        text(CREATED_BY),
        list_of(_STRUCT, [TYPE_ORDER] * len(groups[0].chunks)),
    )
    return data + len(data).to_bytes(4, "little") + MAGIC


def root(columns: int) -> bytes:
    """The schema's first element."""
    return ROOT % (text(b"schema"), integer(columns))


def lists(name: str, dtype: str) -> list[bytes]:
    """The elements of a column of lists. dtype: that of a value, as NumPy names it."""
    return [LIST % text(name.encode()), REPEATED % text(b"list"), value("element", dtype)]


def value(name: str, dtype: str) -> bytes:
    """The element of a column, or of a list's values."""
    return VALUE % (integer(PHYSICAL[dtype]), text(name.encode()), UNSIGNED.get(dtype, b""))


def unsigned(value: int) -> bytes:
    """A number that is not negative: seven bits a byte, from the lowest on, the eighth where another follows."""
    if value < 1 << 7:
        return bytes((value,))
    if value < 1 << 14:
        return bytes((value & 127 | 128, value >> 7))
    return bytes((value & 127 | 128, value >> 7 & 127 | 128)) + unsigned(value >> 14)


def integer(value: int) -> bytes:
    """A signed number: 0, -1, 1, -2, ... are 0, 1, 2, 3, ..."""
    return unsigned(value << 1 if value >= 0 else ~value << 1 | 1)


def text(value: bytes) -> bytes:
    """A text with its size before it."""
    return unsigned(len(value)) + value


@lru_cache
def counts(*values: int) -> bytes:
    """A list of numbers. Row groups of as many rows have the same."""
    return list_of(_INTEGER, [integer(value) for value in values])


def list_of(kind: int, values: Sequence[bytes]) -> bytes:
    """A list of encoded values of one type."""
    count = len(values)
    return (bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + unsigned(count)) + b"".join(values)


def plain_path(name: str) -> bytes:
    """Where a column with one value a row is in the schema."""
    return list_of(_TEXT, [text(name.encode())])


def tokens_path(name: str) -> bytes:
    """Where a column of lists is in the schema."""
    return list_of(_TEXT, [text(part) for part in (name.encode(), b"list", b"element")])
