"""Several datasets or bands as one, with weights that may change over training. NumPy only.

Positions come in cycles of 1,024. How many of a cycle's positions each part gets is the weights at the cycle's middle
times its length, rounded so that what was given never strays from what is due by as much as a row or so; which of
them it gets is shuffled by key. So a part's own rows are counted exactly, and each part walks through its own order,
epoch after epoch, whatever the others do.
"""

import math
import threading
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ncagen.dataset.order import SLOTS, shuffled
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError

CYCLE = 1024
_ONE = 2**40  # a weight of 1 in integers: fine enough for 2**30 cycles

Schedule = Sequence[tuple[int, Sequence[float]]]


class Mixture:
    """Datasets to be read as one by a `Stream`. Their rows must have the same shape and vocabulary."""

    def __init__(
        self,
        parts: Sequence[Dataset],
        weights: Sequence[float] | None = None,
        schedule: Schedule | None = None,
        rows: int | None = None,
    ):
        """weights: each part's share of the rows, in any unit; their own sizes if left out.

        schedule: (row, weights) points instead, between which weights change in a straight line: a curriculum.
        rows: length of an epoch of the mixture; left out, as many as no part needs to give twice.
        Raises NcagenError.
        """
        if weights is not None and schedule is not None:
            raise NcagenError("weights and schedule are both given: use one")
        self.parts = list(parts)
        _check_parts(self.parts)
        self.schedule = _checked(schedule or [(0, weights or [len(part) for part in self.parts])], len(self.parts))
        self._points = [(at, _ends(weights)) for at, weights in self.schedule]
        if rows is None and schedule is not None:
            raise NcagenError("rows is missing: a schedule needs the length of the training, as in rows=160_000")
        if rows is None and weights is None:
            rows = sum(len(part) for part in self.parts)
        elif rows is None:
            shares = zip(self.parts, self._units(0), strict=True)
            rows = min(len(part) * _ONE // units for part, units in shares if units)
        if type(rows) is not int or rows < 1:
            raise NcagenError(f"rows {rows!r} is not a number of rows: use 1 or more, as in rows=160_000")
        self._length = rows
        self._lock = threading.Lock()
        self._given = [[0] * len(self.parts)]
        self._due = [0] * len(self.parts)

    def __len__(self) -> int:
        return self._length

    def at(self, seed: int, epoch: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part at each position of an epoch, and how many rows that part has given before it, over all epochs.

        positions: int64[n], each 0 to len - 1. Returns int64[n], int64[n].
        """
        part, before = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        cycles = positions // CYCLE
        for cycle in np.unique(cycles):
            here = cycles == cycle
            part[here], before[here] = self._cycle(seed, epoch, int(cycle), positions[here] - cycle * CYCLE)
        if epoch:
            before += epoch * np.asarray(self._counted(-(-self._length // CYCLE)))[part]
        return part, before

    def _cycle(self, seed: int, epoch: int, cycle: int, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = cycle * CYCLE
        size = min(CYCLE, self._length - first)
        before, after = np.asarray(self._counted(cycle)), np.asarray(self._counted(cycle + 1))
        ends = np.cumsum(after - before)
        places = shuffled(seed, SLOTS, epoch, np.arange(first, first + size)) - first
        place = places[slots]
        part = np.searchsorted(ends, place, side="right")
        return part, before[part] + place - (ends - (after - before))[part]

    def _counted(self, cycle: int) -> list[int]:
        """How many rows each part gives in the cycles before this one."""
        with self._lock:
            while len(self._given) <= cycle:
                self._count(len(self._given) - 1)
        return self._given[cycle]

    def _count(self, cycle: int) -> None:
        size = min(CYCLE, self._length - cycle * CYCLE)
        units = self._units(cycle * CYCLE + size // 2)
        self._due = [due + size * unit for due, unit in zip(self._due, units, strict=True)]
        owed = [due - given * _ONE for due, given in zip(self._due, self._given[-1], strict=True)]
        counts = _apportion(owed, size)
        self._given.append([given + count for given, count in zip(self._given[-1], counts, strict=True)])

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def _units(self, row: int) -> list[int]:
        """The weights at a row, as integers that sum to _ONE."""
        after = next((i for i, (at, _) in enumerate(self._points) if at > row), len(self._points))
        (start, low), (end, high) = self._points[max(after - 1, 0)], self._points[min(after, len(self._points) - 1)]
        ends = [a + (b - a) * (row - start) // max(end - start, 1) for a, b in zip(low, high, strict=True)]
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _ends(weights: list[float]) -> list[int]:
    """Where each part's share ends on a line from 0 to _ONE, exactly rounded."""
    exact = [Fraction(weight) for weight in weights]
    return [round(sum(exact[: i + 1]) / sum(exact) * _ONE) for i in range(len(exact))]


def _apportion(owed: list[int], size: int) -> list[int]:
    """Whole rows for each part that sum to `size`: what it is owed rounded down, then one more by largest remainder.

    owed: in units of 1 / _ONE row; they sum to size rows.
    """
    counts = [max(0, some // _ONE) for some in owed]
    while (missing := size - sum(counts)) != 0:
        step = 1 if missing > 0 else -1
        able = [i for i in range(len(owed)) if counts[i] + step >= 0]
        counts[max(able, key=lambda i: step * (owed[i] - counts[i] * _ONE))] += step
    return counts


def _check_parts(parts: list[Dataset]) -> None:
    if not parts:
        raise NcagenError("a mixture of nothing: give one dataset or more")
    for name in ("row_tokens", "tokens_per_grid", "patch_ids", "seq_len"):
        values = [getattr(part.manifest.spec, name) for part in parts]
        for part, value in zip(parts, values, strict=True):
            if value != values[0]:
                raise NcagenError(
                    f"{part.folder} has {name} {value}, {parts[0].folder} has {values[0]}: mix datasets of one shape"
                )


def _checked(schedule: Schedule, parts: int) -> list[tuple[int, list[float]]]:
    """The points of a schedule as plain numbers. Raises NcagenError."""
    points = [(at, [float(weight) for weight in weights]) for at, weights in schedule]
    rows = [at for at, _ in points]
    if any(type(at) is not int or at < 0 for at in rows) or rows != sorted(set(rows)):
        raise NcagenError(
            f"schedule at rows {rows}: use whole numbers that rise, as in [(0, [1, 0]), (80_000, [0, 1])]"
        )
    for _, weights in points:
        if len(weights) != parts:
            raise NcagenError(f"weights {weights} are {len(weights)}, the datasets are {parts}: give one for each")
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
            raise NcagenError(f"weights {weights} are not shares: use numbers of 0 or more, one of them above 0")
    return points
