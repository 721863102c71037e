"""Rows gathered from row groups are those of NumPy's own indexing, whatever is held, and whatever fails meanwhile."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.dataset.gather import Columns, HeldGroups, distinct, gather
from ncagen.row_format import ROW_GROUP_ROWS, Column, RowFormat

GROUPS = 6
FORMAT = RowFormat(vocabulary=1000, row_tokens=5, seq_len=4, facts=(Column("size", "int32"),))
NAMES = ("input_ids", "candidate", "size")


def made(rows: int) -> Columns:
    """Rows that differ in every value."""
    numbers = np.arange(rows)
    tokens = (numbers[:, None] * 5 + np.arange(5)).astype(np.uint16)
    return {"input_ids": tokens, "candidate": numbers.astype(np.uint64), "size": -numbers.astype(np.int32)}


ROWS = made(GROUPS * ROW_GROUP_ROWS)


def group(number: int) -> Columns:
    return {name: column[number * ROW_GROUP_ROWS :][:ROW_GROUP_ROWS] for name, column in ROWS.items()}


class Source:
    """Fills row groups and notes which; those in `broken` fail after they were half filled."""

    def __init__(self):
        self.filled: list[int] = []
        self.broken: set[int] = set()

    def fill(self, number: int, into: Columns) -> None:
        self.filled.append(number)
        for name, column in into.items():
            column[:] = group(number)[name]
            if number in self.broken:
                column[:] = 0
                raise OSError(number)


def taken(held: HeldGroups, source: Source, rows: np.ndarray, names: tuple[str, ...] = NAMES) -> Columns:
    empty = FORMAT.empty(len(rows)).columns
    found = {name: empty[name] for name in names}
    assert held.gather(rows // ROW_GROUP_ROWS, rows % ROW_GROUP_ROWS, source.fill, found)
    return found


def same(found: Columns, rows: np.ndarray) -> bool:
    return all(np.array_equal(column, ROWS[name][rows]) for name, column in found.items())


requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, len(ROWS["size"]) - 1), min_size=1, max_size=40),
        st.sampled_from([NAMES, ("input_ids",), ("size", "candidate"), ("candidate",)]),
        st.sets(st.integers(0, GROUPS - 1), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


@given(requests=requests, most=st.integers(1, GROUPS))
@settings(deadline=None, database=None)
def test_rows_are_those_of_their_numbers(requests, most):
    """Of one request after the other, some of which fail, with few or all row groups held."""
    held, source = HeldGroups(FORMAT, most), Source()
    for numbers, names, broken in requests:
        rows, source.broken = np.asarray(numbers), broken
        try:
            assert same(taken(held, source, rows, names), rows)
        except OSError:
            assert broken & set((rows // ROW_GROUP_ROWS).tolist())
        found = FORMAT.empty(len(rows)).columns
        gather(rows // ROW_GROUP_ROWS, rows % ROW_GROUP_ROWS, group, found)
        assert same(found, rows)


def test_the_row_groups_used_last_are_held():
    held, source = HeldGroups(FORMAT, 3), Source()
    for groups in ([0, 1, 2], [2, 0], [3], [0, 2, 3], [1]):
        taken(held, source, np.asarray(groups) * ROW_GROUP_ROWS)
    assert source.filled == [0, 1, 2, 3, 1]


def test_a_column_that_was_not_held_is_filled():
    held, source = HeldGroups(FORMAT, 3), Source()
    rows = np.asarray([5, 1])
    for names in (("input_ids",), ("candidate",), ("input_ids", "candidate"), ("input_ids",)):
        assert same(taken(held, source, rows, names), rows)
    assert source.filled == [0, 0]


def test_a_thread_that_comes_while_another_is_in_there_is_told_so():
    held, inside, go_on = HeldGroups(FORMAT, 2), threading.Event(), threading.Event()

    def slow(number: int, into: Columns) -> None:
        inside.set()
        go_on.wait(60)
        Source().fill(number, into)

    rows, found = np.asarray([3]), FORMAT.empty(1).columns
    thread = threading.Thread(target=held.gather, args=(rows // 256, rows, slow, found))
    thread.start()
    assert inside.wait(60)
    other = FORMAT.empty(1).columns
    assert held.gather(rows // 256, rows, Source().fill, other) is False
    go_on.set()
    thread.join()
    assert same(found, rows)
    assert held.gather(rows // 256, rows, Source().fill, other) and same(other, rows)


@pytest.mark.parametrize("numbers", [[], [4], [3, 1, 3, -2, 1], [0, 2**62, 0]])
def test_distinct_is_unique(numbers):
    numbers = np.asarray(numbers, np.int64)
    assert np.array_equal(distinct(numbers), np.unique(numbers))
