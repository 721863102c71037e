"""Decodes Thrift's compact protocol, as far as Parquet's footers and page headers use it.

Structs become dicts by field number; of strings only the length is stored. What fields mean is defined in
`parquet_footer`, `parquet_pages` and `parquet_bounds`. Source: Apache Thrift's thrift-compact-protocol.md.

A shard's footer has about three thousand numbers, most of them one byte long. Such a number is decoded where it stands:
a call takes longer than the rest of the work.
"""

from collections.abc import Callable, Mapping
from typing import Any

_TRUE, _FALSE, _BYTE, _INTEGERS, _BINARY, _LIST, _STRUCT = 1, 2, 3, (5, 6, 4), 8, 9, 12
_DEEPEST = 8

View = memoryview | bytes
Read = Callable[[View, int, int], tuple[Any, int]]
"""Reads a value from a place at a depth of structs: the value, and where it ends."""
Lists = Mapping[int, Read]


def read_struct(view: View, at: int, depth: int = 0, lists: Lists | None = None) -> tuple[dict[int, Any], int]:
    """A struct's fields by number, and where it ends. Raises ValueError, LookupError.

    Fields must rise: of one that came twice, readers would take different values. lists: what reads each value of some
    fields that are lists of structs, by field number; the others are read by this function.
    """
    fields: dict[int, Any] = {}
    last = 0
    while kind := view[at]:
        at += 1
        number = last + (kind >> 4)
        if kind < 16:
            number, at = read_integer(view, at)
        if number <= last or depth > _DEEPEST:
            raise ValueError
        last, kind = number, kind & 15
        if kind in _INTEGERS and (value := view[at]) < 128:
            fields[number], at = value >> 1 ^ -(value & 1), at + 1
        elif kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        elif lists and number in lists and kind == _LIST:
            fields[number], at = _list(view, at, depth + 1, lists[number])
        else:
            fields[number], at = _READ[kind](view, at, depth + 1)
    return fields, at + 1


def _list(view: View, at: int, depth: int, read: Read = read_struct) -> tuple[list, int]:
    """A list's values, and where it ends; not of lists, which nothing here has. read: reads a struct in it."""
    count, item = view[at] >> 4, view[at] & 15
    at += 1
    if count == 15:
        count, at = read_unsigned(view, at)
    if item == _LIST:
        raise ValueError
    values: list[Any] = []
    for _ in range(count):
        if item in _INTEGERS and (value := view[at]) < 128:
            value, at = value >> 1 ^ -(value & 1), at + 1
        elif item in (_TRUE, _FALSE):
            value, at = view[at] == _TRUE, at + 1
        elif item == _STRUCT:
            value, at = read(view, at, depth)
        else:
            value, at = _READ[item](view, at, depth)
        values.append(value)
    return values, at


def _byte(view: View, at: int, depth: int = 0) -> tuple[int, int]:
    return view[at], at + 1


def read_integer(view: View, at: int, depth: int = 0) -> tuple[int, int]:
    value, at = read_unsigned(view, at)
    return value >> 1 ^ -(value & 1), at


def _text(view: View, at: int, depth: int = 0) -> tuple[int, int]:
    """A text's length, and where it ends."""
    size, at = read_unsigned(view, at)
    return size, at + size


def read_unsigned(view: View, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, seven bits each, and where it ends. Raises ValueError, IndexError."""
    value = shift = 0
    while (byte := view[at]) > 127:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if shift == 70:
            raise ValueError
    return value | byte << shift, at + 1


_READ: dict[int, Read] = {_BYTE: _byte, _BINARY: _text, _LIST: _list, _STRUCT: read_struct}
_READ |= dict.fromkeys(_INTEGERS, read_integer)
