"""Mixes several datasets, bands or token streams, with weights that may change over training. NumPy only.

Positions come in cycles of 1,024. `schedule` computes how many of a cycle's positions each part gets, in closed form
and in the same time for any row; a keyed shuffle chooses which ones. So the rows of a part are counted exactly, and
each part runs through its own shuffled order, epoch after epoch, independent of the other parts.

Rows already given do not change when later weights do: `then` makes such a mixture, and `identity` shows whether two
mixtures give the same rows up to a given row.
"""

import copy
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from ncagen.dataset.formats import Part
from ncagen.dataset.order_keys import SLOTS, shuffled
from ncagen.dataset.reader import Dataset
from ncagen.dataset.schedule import Line, Points, Schedule, units
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.numbers import shares, shown, whole

CYCLE = 1024
MOST_ROWS = 2**40  # within these a weight's rounding is below a row

Weights = Sequence[float] | np.ndarray

_EXAMPLE = "[(0, [1, 0]), (80_000, [0, 1])]"


class Mixture:
    """Datasets, and tokens of one's own, to be read as one by a `Stream`. All datasets must have the same shape."""

    def __init__(
        self,
        parts: Sequence[Part],
        weights: Weights | None = None,
        schedule: Iterable[tuple[int, Weights]] | None = None,
        rows: int | None = None,
    ):
        """weights: each part's share of the rows, in any unit, as a list or array; their own sizes if left out.

        schedule: (row, weights) points instead, between which weights change in a straight line: a curriculum. It
        starts anew with each epoch.
        rows: length of an epoch of the mixture; left out, as many as no part needs to give twice.
        Raises NcagenError.
        """
        self.parts = _checked(parts)
        sizes = [len(part) for part in self.parts]
        if weights is None and schedule is None:
            weights, rows = sizes, sum(sizes) if rows is None else rows
        self._schedule = Schedule(_points(weights, schedule, len(self.parts)))
        if schedule is not None and rows is None:
            raise NcagenError("rows is missing: a schedule needs the length of the training, as in rows=160_000")
        self._changes: list[tuple[int, Schedule, tuple[int, ...]]] = []  # from which row on, and what was given before
        if rows is None:
            rows = _rows_given_once(shares("weights", weights), sizes, self._schedule)
        self._length = whole("rows", rows, 1, MOST_ROWS)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        given = zip(self._given(self._length), self.parts, strict=True)
        listed = ", ".join(f"{rows:,} of {part!r}" for rows, part in given)
        return f"<ncagen.Mixture: {self._length:,} rows an epoch, in the first {listed}>"

    def then(
        self, row: int, weights: Weights | None = None, schedule: Iterable[tuple[int, Weights]] | None = None
    ) -> "Mixture":
        """This mixture up to a row, other weights from there on: a state from before that row loads in both.

        row: rows over all epochs before the change, epoch * len(mixture) + position of a state; it takes effect with
        the next cycle, up to 1,023 rows later. weights: from there to the end, however many epochs. schedule: points
        instead, at rows over all epochs too; it does not start anew with each epoch.
        Raises NcagenError.
        """
        last = self._changes[-1][0] if self._changes else 0
        start = self._cycle_end(whole("row", row, last))
        changed = copy.copy(self)
        after = Schedule(_points(weights, schedule, len(self.parts)), start)
        changed._changes = [some for some in self._changes if some[0] < start] + [(start, after, self._given(start))]
        return changed

    def identity(self, row: int | None = None) -> dict:
        """What decides which part gives each row up to one, as plain values for JSON; for None, all rows.

        Two mixtures of the same parts with the same identity up to a row give the same rows before it.
        row: over all epochs, as for `then`.
        """
        end = None if row is None else self._cycle_end(row)
        found: dict = {"end": end, "rows": self._length if row is None or row >= self._length else None}
        starts = [0, *(start for start, _, _ in self._changes)]
        stops = [*starts[1:], None]
        stops[0] = self._length if stops[0] is None else min(stops[0], self._length)
        schedules = [self._schedule, *(schedule for _, schedule, _ in self._changes)]
        found["parts"] = [
            [start, _before(schedule, [stop, end])]
            for start, stop, schedule in zip(starts, stops, schedules, strict=True)
            if end is None or start < end
        ]
        return found

    def at(self, seed: int, epoch: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part at each position of an epoch, and how many rows that part has given before it, over all epochs.

        positions: int64[n], each 0 to len - 1. Returns int64[n], int64[n].
        """
        part, before = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        starts = np.asarray(self._starts(epoch), np.int64)
        start = starts[np.searchsorted(starts, positions, side="right") - 1]
        firsts = positions - (positions - start) % CYCLE
        for first in np.unique(firsts).tolist():
            here = firsts == first
            part[here], before[here] = self._cycle(seed, epoch, first, positions[here] - first)
        return part, before

    def _cycle(self, seed: int, epoch: int, first: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for positions in the cycle that starts at a given one."""
        row = epoch * self._length + first
        end = self._cycle_end(row + 1)
        before = np.asarray(self._given(row), np.int64)
        counts = np.asarray(self._given(end), np.int64) - before
        ends = np.cumsum(counts)
        places = shuffled(seed, SLOTS, epoch, np.arange(first, first + end - row)) - first
        place = places[slots]
        part = np.searchsorted(ends, place, side="right")
        return part, before[part] + place - (ends - counts)[part]

    def _starts(self, epoch: int) -> list[int]:
        """The positions of an epoch from which cycles are counted: its start and where weights change."""
        first = epoch * self._length
        return [0, *(start - first for start, _, _ in self._changes if first < start < first + self._length)]

    def _cycle_end(self, row: int) -> int:
        """The first row from this one on, over all epochs, at which no cycle is in progress."""
        epoch, position = divmod(row, self._length)
        start = max(some for some in self._starts(epoch) if some <= position)
        return epoch * self._length + min(position + -(position - start) % CYCLE, self._length)

    def _given(self, row: int) -> tuple[int, ...]:
        """How many rows each part gives before a row, over all epochs."""
        for start, schedule, before in reversed(self._changes):
            if row >= start:
                return tuple(a + b for a, b in zip(before, schedule.given(row), strict=True))
        epoch, position = divmod(row, self._length)
        here = self._schedule.given(position)
        if not epoch:
            return here
        return tuple(epoch * a + b for a, b in zip(self._schedule.given(self._length), here, strict=True))


def _rows_given_once(parts: Sequence[Fraction], sizes: list[int], schedule: Schedule) -> int:
    """The most rows for which no part needs to give one twice, its rounding included."""

    def is_too_many(rows: int) -> bool:
        return any(given > size for given, size in zip(schedule.given(rows), sizes, strict=True))

    due = min(int(size / share) for size, share in zip(sizes, parts, strict=True) if share)
    return bisect_left(range(due + 1), True, key=is_too_many) - 1


def _before(schedule: Schedule, ends: list[int | None]) -> list[Line]:
    return schedule.lines_before(min((end for end in ends if end is not None), default=None))


def _checked(parts: Sequence[Part]) -> list[Part]:
    """The parts, which are datasets and tokens, the datasets of one shape. Raises NcagenError."""
    if not isinstance(parts, list | tuple):
        raise NcagenError(f"the parts {shown(parts)} are not a list: use a list of datasets, as in [low, high]")
    if not parts:
        raise NcagenError("a mixture needs parts: give one dataset or more")
    for part in parts:
        if not isinstance(part, Dataset | Tokens):
            raise NcagenError(f"the part {shown(part)} is not a dataset: use ncagen.open(...) or ncagen.Tokens(...)")
    datasets = [part for part in parts if isinstance(part, Dataset)]
    for name in ("row_tokens", "vocabulary", "unpredictable", "structural", "seq_len", "facts"):
        values = [getattr(part.row_format, name) for part in datasets]
        for part, value in zip(datasets, values, strict=True):
            if value != values[0]:
                raise NcagenError(
                    f"{part.folder} has {name} {value}, {datasets[0].folder} has {values[0]}: mix datasets of one shape"
                )
    return list(parts)


def _points(weights: Weights | None, schedule: Iterable[tuple[int, Weights]] | None, parts: int) -> Points:
    """The points of a schedule, or the one of weights. Raises NcagenError."""
    if (weights is None) == (schedule is None):
        raise NcagenError(f"weights and schedule are {'both given' if weights is not None else 'missing'}: use one")
    try:
        points = [(0, weights)] if schedule is None else [(row, some) for row, some in schedule]
    except (TypeError, ValueError):
        points = []
    if not points:
        raise NcagenError(
            f"schedule {shown(schedule)} is not a list of points: use rows with weights, as in {_EXAMPLE}"
        )
    rows = [whole("schedule row", row, 0) for row, _ in points]
    if rows != sorted(set(rows)):
        raise NcagenError(f"schedule at rows {rows}: use whole numbers that rise, as in {_EXAMPLE}")
    return [(row, _units(some, parts)) for row, (_, some) in zip(rows, points, strict=True)]


def _units(weights: Weights | None, parts: int) -> tuple[int, ...]:
    found = shares("weights", weights)
    if len(found) != parts:
        listed = weights.tolist() if isinstance(weights, np.ndarray) else weights
        raise NcagenError(f"weights {shown(listed)} are {len(found)}, the datasets are {parts}: give one for each")
    return units(found)
