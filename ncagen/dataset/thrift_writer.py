"""Encodes Thrift's compact protocol, as far as Parquet's footers and page headers use it.

A value is a pair: its type's number and its bytes. `struct` and `items` take such pairs and return one. Source: Apache
Thrift's thrift-compact-protocol.md. `parquet_thrift` decodes the same.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

Value = tuple[int, bytes]

TRUE, FALSE = 1, 2
I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12


@lru_cache(maxsize=1 << 12)  # most numbers of a footer come again and again
def unsigned(number: int) -> bytes:
    """A number of at least 0, seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def i32(number: int) -> Value:
    """A number of 32 bits; zigzag, so that small negative ones are short."""
    return I32, unsigned(number << 1 ^ number >> 31)


def i64(number: int) -> Value:
    """A number of 64 bits; zigzag."""
    return I64, unsigned(number << 1 ^ number >> 63)


def binary(data: bytes) -> Value:
    """Bytes or a text's UTF-8."""
    return BINARY, unsigned(len(data)) + data


def boolean(value: bool) -> Value:
    """A truth value: as a field it is all in its type, in a list it is one byte."""
    return (TRUE if value else FALSE), b""


def items(values: Sequence[Value]) -> Value:
    """A list of at least one value, all of one type."""
    kind, count = values[0][0], len(values)
    if kind in (TRUE, FALSE):
        kind, values = TRUE, [(TRUE, bytes([value])) for value, _ in values]
    start = bytes([count << 4 | kind]) if count < 15 else bytes([15 << 4 | kind]) + unsigned(count)
    return LIST, start + b"".join(data for _, data in values)


def struct(fields: Mapping[int, Value]) -> Value:
    """A struct by field number; the numbers rise, each by at most 15."""
    out, last = bytearray(), 0
    for number, (kind, data) in fields.items():
        out.append(number - last << 4 | kind)
        out += data
        last = number
    out.append(0)
    return STRUCT, bytes(out)
