"""ncagen's order and cache for a dataset that is not there; prints what peer_orders.py does for the others.

    python ncagen_order.py ncagen '{"shards": 9, "shard_rows": 4096, "worlds": [1, 8], "node_ranks": 8, "quality": [1]}'

Fetched are row groups, without footers, by ranks that hold as many as `Stream` has them hold and have no cache on disk.
The ranks of a node have one, which holds what they read.
"""

import json
import sys

import numpy as np
from measure import BATCH, by_node, fetched, fetched_by_lru, report

from ncagen.dataset.division import Division
from ncagen.dataset.reader import HELD_GROUPS
from ncagen.dataset.shuffle import Shards, Shuffle
from ncagen.dataset.stream import READ_ROWS
from ncagen.row_format import ROW_GROUP_ROWS

SEED = 1
PART = 1 << 16  # positions that are looked up at a time


def epoch_rows(order: Shuffle) -> np.ndarray:
    """The row at each position of the first epoch: int64[position]."""
    starts = range(0, order.length, PART)
    return np.concatenate([order.rows(0, np.arange(start, min(order.length, start + PART))) for start in starts])


def ranks(order: Shuffle, epoch: np.ndarray, world: int) -> list[np.ndarray]:
    """The rows of each rank in an epoch."""
    end = order.length
    divisions = [Division(0, end, end, rank, world, BATCH, 1, "drop", False, order.lanes) for rank in range(world)]
    return [epoch[division.positions(range(len(division)))] for division in divisions]


def main() -> None:
    """A line for each world."""
    asked = json.loads(sys.argv[2])
    shards, shard_rows = asked["shards"], asked["shard_rows"]
    groups = shards * shard_rows // ROW_GROUP_ROWS
    order = Shuffle(Shards(np.full(shards, shard_rows)), SEED)
    epoch = epoch_rows(order)
    for world in asked["worlds"]:
        given = ranks(order, epoch, world)
        found = report(given, order.length, shard_rows, world in asked["quality"])
        held = max(HELD_GROUPS, order.open_row_groups(world))
        found["kept"] = held * ROW_GROUP_ROWS
        found["fetched"] = sum(fetched_by_lru(rows, ROW_GROUP_ROWS, READ_ROWS, held) for rows in given) / groups
        if world % asked["node_ranks"] == 0:
            found["fetched_by_nodes"] = fetched(by_node(given, asked["node_ranks"]), ROW_GROUP_ROWS, groups)
        print(json.dumps({"world": world} | found), flush=True)


if __name__ == "__main__":
    main()
