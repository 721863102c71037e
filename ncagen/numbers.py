"""Checks every number that a user gives: whole numbers, and shares that sum to 1. No other package is needed.

Python's numbers and the scalars of NumPy and torch are taken alike and become Python's int or Fraction, so that what is
kept of them is JSON and does not depend on who gave them. A bool, a str and a float are no whole numbers, even where
they look like one.
"""

import operator
import re
from collections.abc import Sequence
from fractions import Fraction

from ncagen.errors import NcagenError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_SHOWN = 100  # characters of a value that an error quotes


def whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number within a range, as Python's int.

    value: an int, an integer scalar of NumPy, or a tensor or array of an integer type without dimensions.
    Raises NcagenError where it is none, or not from `least` to `most` (inclusive; None for no end).
    """
    allowed = f"{least} or more" if most is None else f"{least} to {most}"
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # its TypeError is the check
    except TypeError:
        number = None
    if number is None or _is_bool(value) or _dimensions(value):
        raise NcagenError(f"{name} {shown(value)} is not a whole number: use {allowed}")
    if number < least or (most is not None and number > most):
        raise NcagenError(f"{name} {shown(number)} is out of range: use {allowed}")
    return number


def byte_count(name: str, value: object) -> int:
    """A number of bytes of 1 or more: whole, or a text such as "10GB" (KB, MB, GB, TB: powers of 1000).

    Raises NcagenError.
    """
    if not isinstance(value, str):
        return whole(name, value, 1)
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?)B", value.strip(), re.IGNORECASE)
    count = int(Fraction(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if count < 1:
        raise NcagenError(f"{name} {shown(value)} is not a size: use bytes, or a number with a unit, as in 10GB")
    return count


def shares(name: str, values: object) -> tuple[Fraction, ...]:
    """Exact shares that sum to 1, in proportion to the values given: [1, 1] and [2, 2] are the same.

    values: a sequence, NumPy array or tensor of one dimension: finite numbers of 0 or more, at least one above 0.
    Raises NcagenError.
    """
    listed = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence) or _is_nested(listed):
        raise NcagenError(f"{name} {shown(listed)} are not shares: use a list of numbers, as in [1, 3]")
    if not listed:
        raise NcagenError(f"{name} [] are no shares: give one number or more, as in [1, 3]")
    exact = [_fraction(value) for value in listed]
    finite = [value for value in exact if value is not None and value >= 0]
    total = sum(finite)
    if len(finite) < len(exact) or not total:
        raise NcagenError(f"{name} {shown(listed)} are not shares: use numbers of 0 or more, one of them above 0")
    return tuple(value / total for value in finite)


def _fraction(value: object) -> Fraction | None:
    """The exact value of a finite real number, None for anything else."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool) or not hasattr(plain, "as_integer_ratio"):
        return None
    try:
        return Fraction(*plain.as_integer_ratio())
    except (ValueError, OverflowError):  # not a number, infinite
        return None


def _is_nested(values: Sequence) -> bool:
    return any(_dimensions(value) or (isinstance(value, Sequence) and not isinstance(value, str)) for value in values)


def _is_bool(value: object) -> bool:
    """Whether it is a truth value of Python, NumPy or torch; all of these have an index in some version."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _dimensions(value: object) -> int:
    """Dimensions of an array; torch gives an index of any tensor with one element."""
    return len(getattr(value, "shape", ()))


def shown(value: object) -> str:
    """A value as an error quotes it: in one line that is not too long."""
    try:
        line = " ".join(repr(value).split())
    except ValueError:  # Python prints no int of more digits than sys.get_int_max_str_digits()
        return f"of more than {_SHOWN} digits"
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
