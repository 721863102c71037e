"""Copies rows of any order out of the row groups that hold them. NumPy only.

A shuffled stream takes some rows from each of a hundred row groups at a time, so calls for a row group cost as much as
copies. `HeldGroups` keeps decoded row groups in one array, out of which one call copies all rows; `gather` copies from
separate arrays. Opening and checking files is not here: see `reader`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ncagen.dataset.shard import ROW_GROUP_ROWS
from ncagen.row_format import RowFormat

Columns = dict[str, np.ndarray]
"""Columns by name, each [row] or [row, token]."""


class HeldGroups:
    """Holds the row groups used last, decoded, and copies rows out of them.

    One array a column holds them all, and is filled again and again: memory that is new to a process costs as much time
    as decoding into it. Only one thread at a time uses it.
    """

    def __init__(self, row_format: RowFormat, most: int):
        """most: how many row groups are held."""
        self._row_format, self._most = row_format, most
        self._columns: Columns = {}
        self._places: OrderedDict[int, int] = OrderedDict()  # of each row group held; the one used last comes last
        self._free = list(range(most))
        self._lock = threading.Lock()

    def gather(self, groups: np.ndarray, at: np.ndarray, fill: Callable[[int, Columns], None], found: Columns) -> bool:
        """Fills columns with rows, in their order. False, and nothing is filled, while another thread is in here.

        groups: the number of each row's row group, int64[row]. at: each row's place in it, int64[row]. fill: fills
        columns of 256 rows with a row group, by its number; what it raises is raised. found: the columns wanted.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            known = distinct(groups)
            for start in range(0, len(known), self._most):
                some = known[start : start + self._most]
                if len(some) == len(known):
                    self._take(groups, at, some, fill, found)
                else:
                    here = (some[0] <= groups) & (groups <= some[-1])
                    part = {name: column[here] for name, column in found.items()}
                    self._take(groups[here], at[here], some, fill, part)
                    for name, column in part.items():
                        found[name][here] = column
        finally:
            self._lock.release()
        return True

    def _take(self, groups: np.ndarray, at: np.ndarray, known: np.ndarray, fill: Callable, found: Columns) -> None:
        """`gather` for at most as many row groups as are held. known: their numbers, rising."""
        self._make_room(found)
        places = np.asarray(self._hold(known.tolist(), fill))
        rows = places[np.searchsorted(known, groups)] * ROW_GROUP_ROWS + at
        for name, column in found.items():
            _values(self._columns[name]).take(rows, out=_values(column), mode="clip")

    def _make_room(self, found: Columns) -> None:
        """Begins anew with more columns where one is wanted that is not held yet."""
        if not found.keys() <= self._columns.keys():
            empty = self._row_format.empty(self._most * ROW_GROUP_ROWS).columns
            self._columns = {name: empty[name] for name in empty if name in found or name in self._columns}
            self._places, self._free = OrderedDict(), list(range(self._most))

    def _hold(self, numbers: list[int], fill: Callable) -> list[int]:
        """The places of some row groups, which are filled where they are not held."""
        for number in numbers:
            if number in self._places:
                self._places.move_to_end(number)
        for number in numbers:
            if number not in self._places:
                self._free = self._free or [self._places.popitem(last=False)[1]]
                place = self._free[-1] * ROW_GROUP_ROWS
                fill(number, {name: column[place : place + ROW_GROUP_ROWS] for name, column in self._columns.items()})
                self._places[number] = self._free.pop()
        return [self._places[number] for number in numbers]


def gather(groups: np.ndarray, at: np.ndarray, read: Callable[[int], Columns], found: Columns) -> None:
    """Fills columns with rows, in their order.

    groups: the number of each row's row group, int64[row]. at: each row's place in it, int64[row]. read: gives the
    columns of a row group by its number. found: the columns wanted.
    """
    order = np.argsort(groups, kind="stable")
    known = distinct(groups)
    ends = np.searchsorted(groups[order], known, side="right").tolist()
    for number, start, end in zip(known.tolist(), [0, *ends], ends, strict=False):
        group, here = read(number), order[start:end]
        for name, column in found.items():
            _values(column)[here] = _values(group[name]).take(at[here])


def distinct(numbers: np.ndarray) -> np.ndarray:
    """The numbers that occur, rising. np.unique would do, but the first call of it takes eight milliseconds."""
    numbers = np.sort(numbers)
    return numbers[np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))]


def _values(column: np.ndarray) -> np.ndarray:
    """A column [row]; the rows of one [row, token] as single values, which NumPy copies whole."""
    return column if column.ndim == 1 else column.view(f"V{column.shape[1] * column.itemsize}").reshape(-1)
