"""Copies rows of any order out of the row groups that hold them. NumPy only.

A shuffled stream takes some rows from each of a hundred row groups at a time, so calls for a row group cost as much as
copies. `HeldGroups` keeps decoded row groups in one array, out of which one call copies all rows; `gather` copies from
separate arrays. Opening and checking files is not here: see `reader`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from ncagen.row_format import RowFormat

Columns = dict[str, np.ndarray]
"""Columns by name, each [row] or [row, token]."""

Announce = Callable[[list[int]], Iterable[int]]
"""Given the numbers of all row groups that are going to be read, yields them in this order."""


class HeldGroups:
    """Holds the row groups used last, decoded, and copies rows out of them.

    One array a column holds them all, and is filled again and again: memory that is new to a process costs as much time
    as decoding into it. Only one thread at a time uses it.
    """

    def __init__(self, row_format: RowFormat, most: int):
        """most: how many row groups are held."""
        self._row_format, self._most, self._size = row_format, most, row_format.group_rows
        self._columns: Columns = {}
        self._places: OrderedDict[int, int] = OrderedDict()  # of each row group held; the one used last comes last
        self._free = list(range(most))
        self._lock = threading.Lock()

    def gather(self, groups: np.ndarray, at: np.ndarray, fill: Callable[[int, Columns], None], found: Columns) -> bool:
        """Fills columns with rows, in their order. False, and nothing is filled, while another thread is in here.

        groups: the number of each row's row group, int64[row]. at: each row's place in it, int64[row]. fill: fills
        columns with room for a row group with one, by its number; what it raises is raised. found: the columns wanted.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if not found.keys() <= self._columns.keys():
                self._empty({**self._columns, **found})
            numbers, which = _by_last_use(groups)
            for start in range(0, len(numbers), self._most):
                places = self._hold(numbers[start : start + self._most], fill)
                here = slice(None) if len(places) == len(numbers) else (start <= which) & (which < start + len(places))
                rows = places[which[here] - start] * self._size + at[here]
                for name, column in found.items():
                    self._take(name, rows, column, here)
        finally:
            self._lock.release()
        return True

    def _take(self, name: str, rows: np.ndarray, column: np.ndarray, here: slice | np.ndarray) -> None:
        """Fills a column, or those of its rows that are `here`, with held rows, by their places among all held."""
        held = _values(self._columns[name])
        if isinstance(here, slice):
            held.take(rows, out=_values(column), mode="clip")
        else:
            _values(column)[here] = held.take(rows)

    def _empty(self, names: Iterable[str]) -> None:
        """Lets go of all row groups and makes room for these columns."""
        empty = self._row_format.empty(self._most * self._size).columns
        self._columns = {name: empty[name] for name in names}
        self._places, self._free = OrderedDict(), list(range(self._most))

    def _hold(self, numbers: list[int], fill: Callable[[int, Columns], None]) -> np.ndarray:
        """The places of at most as many row groups as can be held, which are filled where they are not held."""
        for number in numbers:
            if number in self._places:
                self._places.move_to_end(number)
        for number in (number for number in numbers if number not in self._places):
            self._free = self._free or [self._places.popitem(last=False)[1]]
            first = self._free[-1] * self._size
            fill(number, {name: column[first : first + self._size] for name, column in self._columns.items()})
            self._places[number] = self._free.pop()
        for number in numbers:
            self._places.move_to_end(number)
        return np.asarray([self._places[number] for number in numbers])


def gather(
    groups: np.ndarray, at: np.ndarray, read: Callable[[int], Columns], found: Columns, announce: Announce = iter
) -> None:
    """Fills columns with rows, in their order.

    groups: the number of each row's row group, int64[row]. at: each row's place in it, int64[row]. read: gives the
    columns of a row group by its number. found: the columns wanted. announce: is told which row groups follow.
    """
    numbers, which = _by_last_use(groups)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=len(numbers))).tolist()
    facts: dict[str, list[np.ndarray]] = {name: [] for name, column in found.items() if column.ndim == 1}
    for number, start, end in zip(announce(numbers), [0, *ends], ends, strict=False):
        group, here = read(number), order[start:end]
        if "input_ids" in found:
            _values(found["input_ids"])[here] = _values(group["input_ids"]).take(at[here])
        for name, parts in facts.items():
            parts.append(group[name])
    for name, parts in facts.items():  # small, so that calls would take longer than a copy of all
        firsts = np.cumsum([0, *map(len, parts[:-1])])
        np.concatenate(parts).take(firsts[which] + at, out=found[name], mode="clip")


def _by_last_use(groups: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The distinct row groups of rows, the last row's last, and the place of each row's among them: int64[row]."""
    known = distinct(groups)
    which = np.searchsorted(known, groups)
    last = np.zeros(len(known), np.int64)
    np.maximum.at(last, which, np.arange(len(groups)))
    order = np.argsort(last)
    return known[order].tolist(), np.argsort(order)[which]


def distinct(numbers: np.ndarray) -> np.ndarray:
    """The numbers that occur, rising. np.unique would do, but the first call of it takes eight milliseconds."""
    numbers = np.sort(numbers)
    return numbers[np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))]


def _values(column: np.ndarray) -> np.ndarray:
    """A column [row]; the rows of one [row, token] as single values, which NumPy copies whole."""
    return column if column.ndim == 1 else column.view(f"V{column.shape[1] * column.itemsize}").reshape(-1)
