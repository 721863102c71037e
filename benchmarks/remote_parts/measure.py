"""Measures of an epoch's order, from the numbers of its rows alone. NumPy only; runs in every reader's environment.

Ranks are a list of int64[row]: the rows of each rank, in the order in which it gives them.
"""

from collections import OrderedDict

import numpy as np

BATCH = 32  # rows of a batch of one rank
STEP_ROWS = 1024  # consecutive rows of an epoch whose shards are counted


def fetched(ranks: list[np.ndarray], unit: int, units: int) -> float:
    """How often a unit of so many rows (a shard, a row group) is fetched, if each rank keeps what it has fetched."""
    return sum(np.count_nonzero(np.bincount(rows // unit)) for rows in ranks) / units


def fetched_by_lru(rows: np.ndarray, unit: int, together: int, held: int) -> int:
    """How many units one rank fetches that keeps the `held` used last, and reads so many rows together."""
    kept: OrderedDict[int, None] = OrderedDict()
    count = 0
    for start in range(0, len(rows), together):
        for number in np.unique(rows[start : start + together] // unit).tolist():
            count += number not in kept
            kept[number] = None
            kept.move_to_end(number)
            if len(kept) > held:
                kept.popitem(last=False)
    return count


def open_at_once(ranks: list[np.ndarray], unit: int) -> int:
    """The most units of which a rank has given a row and has others to give: what it keeps, to fetch none twice."""
    most = 0
    for rows in ranks:
        numbers, places = rows // unit, np.arange(len(rows))
        first, last = np.full((2, numbers.max() + 1), -1)
        first[numbers[::-1]] = places[::-1]  # of several, the last is assigned
        last[numbers] = places
        opened = np.bincount(first[first >= 0], minlength=len(rows) + 1)
        closed = np.bincount(last[last >= 0] + 1, minlength=len(rows) + 1)
        most = max(most, int(np.cumsum(opened - closed).max()))
    return most


def counts(ranks: list[np.ndarray], rows: int) -> dict[str, int]:
    """How many of the dataset's rows come in no rank's epoch, and how many come again."""
    seen = np.bincount(np.concatenate(ranks), minlength=rows)
    return {"missing": int((seen == 0).sum()), "repeated": int((seen[seen > 1] - 1).sum())}


def in_order(ranks: list[np.ndarray]) -> np.ndarray:
    """The rows of all ranks in the order of training: a batch of each rank is a step. int64[row]."""
    steps = max(-(-len(rows) // BATCH) for rows in ranks)
    table = np.full((steps, len(ranks), BATCH), -1)
    for rank, rows in enumerate(ranks):
        flat = np.full(steps * BATCH, -1)
        flat[: len(rows)] = rows
        table[:, rank] = flat.reshape(steps, BATCH)
    return table[table >= 0]


def quality(order: np.ndarray, rows: int, shard_rows: int) -> dict[str, float]:
    """How far apart two neighbours of a shard come, in rows: 1 %, 50 % and 99 %; and how many shards a step mixes."""
    position = np.full(rows, -1)
    position[order] = np.arange(len(order))
    both = (position[1:] >= 0) & (position[:-1] >= 0) & (np.arange(1, rows) % shard_rows > 0)
    apart = np.abs(np.diff(position))[both]
    low, middle, high = np.percentile(apart, [1, 50, 99]).tolist()
    steps = (order[: len(order) // STEP_ROWS * STEP_ROWS] // shard_rows).reshape(-1, STEP_ROWS)
    steps = np.sort(steps, axis=1)
    mixed = (np.diff(steps, axis=1) > 0).sum(axis=1) + 1
    return {"apart_1": low, "apart_50": middle, "apart_99": high, "shards_a_step": float(np.median(mixed))}


def by_node(ranks: list[np.ndarray], node_ranks: int) -> list[np.ndarray]:
    """The rows of each node of so many ranks, whose ranks share what they fetch."""
    return [np.concatenate(ranks[start : start + node_ranks]) for start in range(0, len(ranks), node_ranks)]


def report(ranks: list[np.ndarray], rows: int, shard_rows: int, with_quality: bool) -> dict:
    """The measures of a reader that fetches whole shards, and keeps them.

    fetched: times the dataset. kept: rows of the shards that are open at once in one rank.
    """
    shards = -(-rows // shard_rows)
    found = {"fetched": fetched(ranks, shard_rows, shards), "kept": open_at_once(ranks, shard_rows) * shard_rows}
    return found | counts(ranks, rows) | (quality(in_order(ranks), rows, shard_rows) if with_quality else {})
