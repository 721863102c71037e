"""Decodes Thrift's compact protocol, as far as Parquet's footers and page headers use it.

Structs become dicts by field number; of strings only the length is stored. The meaning of fields is defined in
`parquet_pages` and `parquet_bounds`. Source: Apache Thrift's thrift-compact-protocol.md.
"""

from typing import Any

_TRUE, _FALSE, _BYTE, _INTEGERS, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 8, 9, 12
_DEEPEST = 8


def read_struct(view: memoryview, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A struct's fields by number, and where it ends. Raises ValueError, IndexError.

    Fields must rise: of one that came twice, readers would take different values.
    """
    fields: dict[int, Any] = {}
    last = 0
    while kind := view[at]:
        at += 1
        if kind >> 4:
            number = last + (kind >> 4)
        else:
            number, at = _integer(view, at)
        if number <= last or depth > _DEEPEST:
            raise ValueError
        last, kind = number, kind & 15
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(view, at, kind, depth)
    return fields, at + 1


def _value(view: memoryview, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a type, and where it ends; of texts only the length."""
    if kind == _BYTE:
        return view[at], at + 1
    if kind in _INTEGERS:
        return _integer(view, at)
    if kind == _BINARY:
        size, at = read_unsigned(view, at)
        return size, at + size
    if kind == _STRUCT:
        return read_struct(view, at, depth + 1)
    if kind != _LIST:
        raise ValueError
    count, item = view[at] >> 4, view[at] & 15
    at += 1
    if count == 15:
        count, at = read_unsigned(view, at)
    values = []
    for _ in range(count):
        if item in (_TRUE, _FALSE):
            value, at = view[at] == _TRUE, at + 1
        elif item == _LIST:
            raise ValueError
        else:
            value, at = _value(view, at, item, depth)
        values.append(value)
    return values, at


def _integer(view: memoryview, at: int) -> tuple[int, int]:
    value, at = read_unsigned(view, at)
    return value >> 1 ^ -(value & 1), at


def read_unsigned(view: memoryview | bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, seven bits each, and where it ends. Raises ValueError, IndexError."""
    value = 0
    for shift in range(0, 70, 7):
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError
