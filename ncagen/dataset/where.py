"""Selects rows by their integer columns: "gzip_bytes >= 864 and gzip_bytes < 1000".

A selection is comparisons of a column with an integer, joined by `and`; nothing else is accepted, and nothing is
evaluated. Integers compare exactly in every engine. A measure's ratio, such as `gzip_ratio`, is not supported: it is a
float32, and "gzip_ratio > 0.6" selects different rows where an engine compares in double precision; the same limit on
the measure itself is exact.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from ncagen.errors import NcagenError
from ncagen.row_format import Measure, RowFormat

LEAST, MOST = 0, 2**64 - 1  # of a number that a column can have

_COMPARISON = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*(-?[0-9][0-9_]{0,30})\s*")
_RATIO = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([0-9]{0,9}\.?[0-9]{1,20})\s*")


@dataclass(frozen=True)
class Where:
    """Selects rows whose columns are within limits.

    limits: name, least and greatest value of each column that is compared; empty if every row is selected.
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


def parse(text: str, row_format: RowFormat, measure: Measure | None) -> Where:
    """A selection from its text. Raises NcagenError."""
    names = [column.name for column in row_format.columns[1:] if np.dtype(column.dtype).kind in "iu"]
    if not isinstance(text, str):
        raise _unlike(text, names, measure)
    limits: dict[str, tuple[int, int]] = {}
    for part in re.split(r"\band\b", text):
        if measure and (match := _RATIO.fullmatch(part)) and match[1] == measure.ratio:
            exact = _exactly(measure.column, match[2], Fraction(match[3]) * measure.denominator)
            raise NcagenError(
                f"where {part.strip()!r} compares a float32, which engines round in different ways: use {exact!r},"
                " which is exact"
            )
        found = _COMPARISON.fullmatch(part)
        if not found or found[1] not in names:
            raise _unlike(text, names, measure)
        name, least, most = found[1], *_limits(found[2], int(found[3].replace("_", "")))
        before = limits.get(name, (LEAST, MOST))
        limits[name] = max(before[0], least), min(before[1], most)
    return Where(tuple((name, *limits[name]) for name in names if name in limits and limits[name] != (LEAST, MOST)))


def _limits(comparison: str, number: int) -> tuple[int, int]:
    """The least and the greatest number that the comparison holds for."""
    return {
        ">=": (number, MOST),
        ">": (number + 1, MOST),
        "<=": (LEAST, number),
        "<": (LEAST, number - 1),
        "==": (number, number),
    }[comparison]


def _exactly(column: str, comparison: str, limit: Fraction) -> str:
    """The comparison of a measure that holds for the same rows as that of its exact ratio."""
    if limit.denominator == 1:
        return f"{column} {comparison} {limit}"
    return f"{column} >= {ceil(limit)}" if comparison in (">", ">=") else f"{column} <= {floor(limit)}"


def _unlike(text: object, names: list[str], measure: Measure | None) -> NcagenError:
    example = "candidate < 1000"
    if measure:
        example = f"{measure.column} >= {ceil(measure.denominator / 2)} and {measure.column} < {measure.denominator}"
    return NcagenError(
        f"where {text!r} is not a selection: compare {' or '.join(names)} with whole numbers by <, <=, ==, >= or >,"
        f" joined by and, as in where={example!r}"
    )
