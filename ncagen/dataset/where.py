"""A selection of rows by their integer columns: "gzip_bytes >= 864 and gzip_bytes < 1000".

Comparisons of a column with a whole number, joined by `and`; nothing else, and nothing is evaluated. Integers are
compared exactly, by every engine alike. `gzip_ratio` is not offered: it is a float32, and "gzip_ratio > 0.6" selects
other rows where an engine compares in double precision; the same limit in bytes is exact.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from ncagen.errors import NcagenError
from ncagen.spec import Spec

COLUMNS = ("candidate", "gzip_bytes")
RATIO = "gzip_ratio"
LEAST, MOST = 0, 2**64 - 1  # of a number that a column can have

_COMPARISON = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*(-?[0-9][0-9_]{0,30})\s*")
_RATIO = re.compile(r"\s*gzip_ratio\s*(<=|>=|<|>)\s*([0-9]{0,9}\.?[0-9]{1,20})\s*")


@dataclass(frozen=True)
class Where:
    """Rows whose columns lie within limits.

    limits: for each column that is compared, its least and greatest value; none where every row is selected.
    """

    limits: tuple[tuple[str, int, int], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are compared."""
        return tuple(name for name, _, _ in self.limits)

    def __str__(self) -> str:
        """The same selection in one wording, whatever it was typed as."""
        parts = []
        for name, least, most in self.limits:
            if least == most:
                parts.append(f"{name} == {least}")
                continue
            parts += [f"{name} >= {least}"] * (least > LEAST) + [f"{name} <= {most}"] * (most < MOST)
        return " and ".join(parts)

    def selects(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Which rows are selected. columns: integers [row] of each column that is compared. Returns bool[row]."""
        return np.logical_and.reduce([_between(columns[name], least, most) for name, least, most in self.limits])


def _between(column: np.ndarray, least: int, most: int) -> np.ndarray:
    """Which values are least to most, compared as numbers of the column's own type: bool[row]."""
    top = int(np.iinfo(column.dtype).max)
    if least > min(most, top):
        return np.zeros(len(column), bool)
    return (column >= column.dtype.type(least)) & (column <= column.dtype.type(min(most, top)))


def parse(text: str, spec: Spec) -> Where:
    """A selection from its text. Raises NcagenError."""
    if not isinstance(text, str):
        raise _unlike(text, spec)
    limits: dict[str, tuple[int, int]] = {}
    for part in re.split(r"\band\b", text):
        if match := _RATIO.fullmatch(part):
            exact = _in_bytes(match[1], Fraction(match[2]) * spec.scored_bytes)
            raise NcagenError(
                f"where {part.strip()!r} compares a float32, which engines round in different ways: use {exact!r},"
                " which is exact"
            )
        found = _COMPARISON.fullmatch(part)
        if not found or found[1] not in COLUMNS:
            raise _unlike(text, spec)
        name, least, most = found[1], *_limits(found[2], int(found[3].replace("_", "")))
        before = limits.get(name, (LEAST, MOST))
        limits[name] = max(before[0], least), min(before[1], most)
    return Where(tuple((name, *limits[name]) for name in COLUMNS if name in limits and limits[name] != (LEAST, MOST)))


def _limits(comparison: str, number: int) -> tuple[int, int]:
    """The least and the greatest number that the comparison holds for."""
    return {
        ">=": (number, MOST),
        ">": (number + 1, MOST),
        "<=": (LEAST, number),
        "<": (LEAST, number - 1),
        "==": (number, number),
    }[comparison]


def _in_bytes(comparison: str, limit: Fraction) -> str:
    """The comparison of gzip_bytes that holds for the same rows as that of the exact ratio."""
    if limit.denominator == 1:
        return f"gzip_bytes {comparison} {limit}"
    return f"gzip_bytes >= {ceil(limit)}" if comparison in (">", ">=") else f"gzip_bytes <= {floor(limit)}"


def _unlike(text: object, spec: Spec) -> NcagenError:
    half = -(-spec.scored_bytes // 2)
    return NcagenError(
        f"where {text!r} is not a selection: compare {' or '.join(COLUMNS)} with whole numbers by <, <=, ==, >= or >,"
        f" joined by and, as in where='gzip_bytes >= {half} and gzip_bytes < {spec.scored_bytes}'"
    )
