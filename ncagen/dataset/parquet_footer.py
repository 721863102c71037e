"""Reads the footer of a shard's Parquet file: its schema, and where each row group has its columns.

pyarrow's accessors for a footer's columns end the process on damaged ones, so it is decoded here. Its pages are decoded
by `parquet_pages`, or by pyarrow after `parquet_bounds`. Source: parquet-format's parquet.thrift.

Most of a footer is an entry for each column of each row group. Entries as ncagen and pyarrow write them match a
pattern, which takes a fifth of the time of `parquet_thrift`; that one reads the others, and the numbers are the same.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa

from ncagen.dataset.parquet_thrift import View, read_integer, read_struct
from ncagen.dataset.shard import DamagedShard
from ncagen.row_format import RowFormat

# Of the footer, and of each row group in it, for each column; one takes some hundred bytes.
LARGEST_FOOTER = 1 << 12
LARGEST_FOOTER_GROUP = 1 << 10

END = b"PAR1"
# Physical types by NumPy's names: INT32, INT64, FLOAT; unsigned integers are annotated ones.
PHYSICAL = {"uint16": 1, "uint32": 1, "int32": 1, "uint64": 2, "float32": 4}
# Of the root and the outer two of a list's three levels: physical type and repetition (REQUIRED 0, OPTIONAL 1,
# REPEATED 2).
LIST_OF_TOKENS = [(None, 0), (None, 1), (None, 2)]


# What an entry is made of, each with its letter: a number, a text of less than 32 bytes, a list of up to seven numbers.
NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
PARTS = {
    b"N": NUMBER,
    b"T": b"(?:%s)" % b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(32)),
    b"L": b"(?:%s)" % b"|".join(re.escape(bytes([count << 4 | 6])) + NUMBER * count for count in range(8)),
}
# Before a value stands its type, with how much its field's number is above that of the field before.
STATISTICS = rb"\x3c(?:\x18T\x18T)?[\x16\x36]N\x28T\x18T\x11?\x11?\x00"
SIZES = rb"\x3c(?:\x16N)?\x29L\x19L\x00"
COLUMN = (
    rb"\x15N\x19\x25NN\x19(?:\x18T|\x38TTT)"  # 1 type, 2 two encodings, 3 path
    rb"\x15(N)\x16(N)\x16N\x16(N)\x26(N)"  # 4 codec, 5 values, 6 bytes unpacked, 7 bytes, 9 first data page
    rb"(?:" + STATISTICS + rb"\x19|\x49)\x1c\x15N\x15N\x15N\x00(?:" + SIZES + rb")?\x00"  # 12, 13 encodings, 16
)
ENTRY = rb"\x26N\x1c" + COLUMN + rb"(?:\x16N\x15N){0,2}\x00"  # 2 where it was, 3 column, 4 to 7 page index
USUAL_ENTRY = re.compile(re.sub(rb"[NTL]", lambda letter: PARTS[letter[0]], ENTRY), re.DOTALL)


class Chunk(NamedTuple):
    """What the footer says of a column in a row group.

    start: where its first page is in the file, the dictionary's where it has one. packed: bytes of all its pages there.
    """

    codec: int
    values: int
    has_dictionary: bool
    start: int
    packed: int


class RowGroup(NamedTuple):
    """The footer's entry for a row group."""

    rows: int
    chunks: list[Chunk]


def read_footer(data: pa.Buffer, row_format: RowFormat, most_groups: int) -> list[RowGroup]:
    """The row groups of a Parquet file. Raises DamagedShard for a file that is not built as a shard is.

    most_groups: how many there may be, by what a row group takes of a footer at most.
    """
    with otherwise("its footer is not that of a shard"):
        (size,) = struct.unpack("<I", data[-8:-4].to_pybytes())
        columns, start = len(row_format.columns), data.size - 8 - size
        most = columns * (LARGEST_FOOTER + LARGEST_FOOTER_GROUP * most_groups)
        if data[-4:].to_pybytes() != END or start < 0 or size > most:
            raise ValueError
        footer, _ = read_struct(data[start:].to_pybytes(), 0, lists={4: _row_group})  # FileMetaData: 2 schema, 4 groups
        if [(element.get(1), element.get(3)) for element in footer[2]] != _schema(row_format):
            raise DamagedShard("its columns are not those of its manifest's spec")
        groups = []
        for group in footer[4]:  # RowGroup: 1 columns, 3 rows
            if len(group[1]) != columns:
                raise ValueError
            groups.append(RowGroup(group[3], [_chunk(entry) for entry in group[1]]))
        return groups


def _row_group(view: View, at: int, depth: int) -> tuple[dict, int]:
    return read_struct(view, at, depth, lists={1: read_entry})


def read_entry(view: View, at: int, depth: int) -> tuple[Chunk | dict, int]:
    """The entry for a column of a row group, and where it ends: a Chunk, or the fields of one that is not as usual."""
    usual = USUAL_ENTRY.match(view, at)
    if not usual:
        return read_struct(view, at, depth)
    codec, values, packed, start = (read_integer(digits, 0)[0] for digits in usual.groups())
    return Chunk(codec, values, False, start, packed), usual.end()


def _schema(row_format: RowFormat) -> list[tuple[int | None, int]]:
    """Physical type and repetition of every element of the schema."""
    return LIST_OF_TOKENS + [(PHYSICAL[column.dtype], 1) for column in row_format.columns]


def _chunk(entry: Chunk | dict) -> Chunk:
    """entry: a Chunk, or the fields: 1 another file's path, 3 the column, 8 and 9 how it is encrypted."""
    if isinstance(entry, Chunk):
        return entry
    if entry.keys() & {1, 8, 9}:
        raise ValueError
    column = entry[3]  # ColumnMetaData: 4 codec, 5 values, 7 bytes, 9 first data page, 11 dictionary page
    has_dictionary = 11 in column
    # As pyarrow has it: some writers name a dictionary page at 0, or after the data, where there is none.
    start = min(column[9], column[11]) if column.get(11, 0) > 0 else column[9]
    return Chunk(column[4], column[5], has_dictionary, start, column[7])


@contextmanager
def otherwise(line: str, error: type[DamagedShard] = DamagedShard) -> Iterator[None]:
    """Says this of whatever cannot be read."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OSError, struct.error, pa.ArrowException):
        raise error(line) from None
