"""Gathers rows from row groups: copies rows of any order from the few or many row groups that they are in. NumPy only.

A shuffled stream takes some tens of rows from each of a hundred row groups at a time, so what counts beside the copies
is the number of calls for a row group. Opening, checking and holding row groups is `reader`'s.
"""

from collections.abc import Callable

import numpy as np

from ncagen.row_format import Rows


def gather(
    groups: np.ndarray,
    at: np.ndarray,
    read: Callable[[int], Rows],
    found: dict[str, np.ndarray],
) -> None:
    """Fills columns with rows, in their order.

    groups: the number of each row's row group, int64[row]; at: its place there, int64[row]; at least one row. read:
    gives the columns of a row group by its number. found: the columns wanted, each [row] or [row, token].
    """
    order = np.argsort(groups, kind="stable")
    groups, at = groups[order], at[order]
    bounds = np.flatnonzero(np.diff(groups, prepend=-1, append=-1))
    facts: dict[str, list[np.ndarray]] = {name: [] for name in found if name != "input_ids"}
    for number, start, end in zip(groups[bounds[:-1]].tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        group = read(number)
        if "input_ids" in found:
            _items(found["input_ids"])[order[start:end]] = _items(group["input_ids"]).take(at[start:end])
        for name, columns in facts.items():
            columns.append(group[name])
    for name, columns in facts.items():
        sizes = [len(column) for column in columns]
        firsts = np.repeat(np.cumsum(sizes) - sizes, np.diff(bounds))
        found[name][order] = np.concatenate(columns)[firsts + at]


def _items(tokens: np.ndarray) -> np.ndarray:
    """Rows [row, token] as single values [row], which NumPy copies whole."""
    return tokens.view(f"V{tokens.shape[1] * tokens.itemsize}").reshape(-1)
