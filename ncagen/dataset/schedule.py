"""Counts the rows that each part of a mixture has given by any row, in closed form. Standard library only.

Weights change linearly, so the rows due to a part are a quadratic function of the row, whose inverse is a square root.
The parts are halved repeatedly; of the m rows that one half gives together, its first half gives

    left(m) = what is due to it when m rows are due to both, rounded to the nearest whole number

The dues of both halves rise, so left(m + 1) - left(m) is 0 or 1: no part's count ever falls, and all counts sum to the
rows given. Each halving adds at most half a row of rounding: a part differs from its due by at most half a row for each
time that the parts can be halved (half a row for two parts, one row for four). All arithmetic is on integers.
"""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import isqrt
from typing import NamedTuple

ONE = 2**40  # a weight of 1: its rounding is below one row in 2**40 rows

Units = tuple[int, ...]  # weights as whole numbers that sum to ONE
Points = Sequence[tuple[int, Units]]  # weights at some rows


def units(shares: Sequence[Fraction]) -> Units:
    """Shares that sum to 1 in units of 1 / ONE, where equal shares of other origin ([7, 3], [0.7, 0.3]) are equal."""
    return _steps([round(end * ONE) for end in accumulate(shares)])


class Line(NamedTuple):
    """Weights from row `first` on: `low` there, `high` at row `last`, straight in between; constant without these."""

    first: int
    low: Units
    last: int | None = None
    high: Units | None = None


class Schedule:
    """The counts along lines between points; what rounding left over at the end of a line counts in the next."""

    def __init__(self, points: Points, first: int = 0):
        """points: by row. first: the row from which rows are counted. Weights are constant beside the points."""
        self.lines = _lines(points, first)
        self._firsts = [line.first for line in self.lines]
        parts = len(points[0][1])
        self._given = [(0,) * parts]
        self._splits = [_Split(self.lines[0], (0,) * parts)]
        for line in self.lines[1:]:
            split, rows = self._splits[-1], line.first - self._firsts[len(self._splits) - 1]
            counts = split.counts(rows)
            self._splits.append(_Split(line, split.owed(rows, counts)))
            self._given.append(tuple(a + b for a, b in zip(self._given[-1], counts, strict=True)))

    def given(self, row: int) -> Units:
        """Rows of each part among those from `first` up to, but not including, this row."""
        at = bisect_right(self._firsts, row) - 1
        counts = self._splits[at].counts(row - self._firsts[at])
        return tuple(a + b for a, b in zip(self._given[at], counts, strict=True))

    def lines_before(self, row: int | None) -> list[Line]:
        """The lines that decide the counts up to a row; all for None."""
        return [line for line in self.lines if row is None or line.first < row]


class _Split:
    """One line's rows among the parts. Dues are whole numbers in units of 1 / scale row, as sums over parts 0 to i."""

    def __init__(self, line: Line, owed: Units):
        """owed: what each part was due and did not get before, in units of 1 / ONE row; they sum to 0."""
        self._parts = len(line.low)
        if line.high is None or line.last is None:
            self._length, self._scale = None, ONE
            slope, curve = line.low, (0,) * self._parts
        else:  # the due after t rows: low * t + (high - low) * t**2 / (2 * length)
            self._length = line.last - line.first
            self._scale = 2 * self._length * ONE
            slope = tuple(2 * self._length * low for low in line.low)
            curve = tuple(high - low for low, high in zip(line.low, line.high, strict=True))
        self._slope, self._curve = _sums(slope), _sums(curve)
        self._owed = _sums(some * (self._scale // ONE) for some in owed)

    def counts(self, rows: int) -> Units:
        """Rows of each part among the line's first rows."""
        return self._divided(0, self._parts, rows)

    def owed(self, rows: int, counts: Units) -> Units:
        """What each part was due and did not get after some rows, in units of 1 / ONE row."""
        dues = [
            owed + slope * rows + curve * rows**2
            for owed, slope, curve in zip(self._owed[1:], self._slope[1:], self._curve[1:], strict=True)
        ]
        missing = [due - given * self._scale for due, given in zip(dues, accumulate(counts), strict=True)]
        return _steps([(2 * some * ONE + self._scale) // (2 * self._scale) for some in missing])

    def _divided(self, low: int, high: int, rows: int) -> Units:
        """The rows of parts low to high - 1, of so many that they give together."""
        if high - low == 1:
            return (rows,)
        middle = (low + high) // 2
        left = self._left(low, middle, high, rows)
        return self._divided(low, middle, left) + self._divided(middle, high, rows - left)

    def _left(self, low: int, middle: int, high: int, rows: int) -> int:
        both = rows * self._scale - (self._owed[high] - self._owed[low])
        due, divisor = self._due((low, middle), (low, high), both)
        due += (self._owed[middle] - self._owed[low]) * divisor
        unit = self._scale * divisor
        return max(0, min(rows, (2 * due + unit) // (2 * unit)))

    def _due(self, left: tuple[int, int], both: tuple[int, int], due: int) -> tuple[int, int]:
        """What the line makes due to the left parts at the moment when this is due to both, as a fraction."""
        if due <= 0:
            return 0, 1
        a, b = (sums[both[1]] - sums[both[0]] for sums in (self._slope, self._curve))
        c, d = (sums[left[1]] - sums[left[0]] for sums in (self._slope, self._curve))
        row = _last_row(a, b, due, self._length)
        if row is None:  # never due on this line: the halves share what is beyond it alike
            end = self._length or 0
            return 2 * (c * end + d * end**2) + due - (a * end + b * end**2), 2
        more, all_more = c + d * (2 * row + 1), a + b * (2 * row + 1)  # due to them in this row
        return (c * row + d * row**2) * all_more + (due - a * row - b * row**2) * more, all_more


def _last_row(slope: int, curve: int, due: int, length: int | None) -> int | None:
    """The last row t with slope * t + curve * t**2 <= due; None where that is not before the line's end."""
    root = slope**2 + 4 * curve * due
    if root < 0 or slope == curve == 0:
        return None
    if curve > 0:
        row = (isqrt(root) - slope) // (2 * curve)
    elif curve < 0:
        row = (slope - isqrt(max(0, root - 1)) - (root > 0)) // (-2 * curve)  # the root is rounded up
    else:
        row = due // slope
    return row if length is None or row < length else None


def _lines(points: Points, first: int) -> list[Line]:
    """The lines between points, from a row on; those of constant weights that follow each other are one."""
    lines = [Line(first, points[0][1])] if first < points[0][0] else []
    for (start, low), (end, high) in pairwise(points):
        if end > first:
            begin = max(start, first)
            lines.append(Line(begin, _between(start, low, end, high, begin), end, high))
    lines.append(Line(max(points[-1][0], first), points[-1][1]))
    lines = [Line(line.first, line.low) if line.high == line.low else line for line in lines]
    return [line for i, line in enumerate(lines) if not i or line[1:] != lines[i - 1][1:]]


def _between(start: int, low: Units, end: int, high: Units, row: int) -> Units:
    """The weights at a row of a line."""
    ends = zip(accumulate(low), accumulate(high), strict=True)
    return _steps([a + (b - a) * (row - start) // (end - start) for a, b in ends])


def _sums(values) -> list[int]:
    """Sums over the first 0, 1, ... values."""
    return list(accumulate(values, initial=0))


def _steps(sums: Sequence[int]) -> Units:
    """The values with these sums over the first 1, 2, ..."""
    return tuple(end - start for start, end in pairwise([0, *sums]))
