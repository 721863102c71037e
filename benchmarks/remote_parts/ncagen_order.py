"""ncagen's order and cache for a dataset that is not there; prints what peer_orders.py does for the others."""

import json
import sys

import numpy as np
from measure import fetched_by_lru, report

from ncagen.dataset.division import Division
from ncagen.dataset.shard import ROW_GROUP_ROWS
from ncagen.dataset.shuffle import Shuffle
from ncagen.dataset.stream import READ_ROWS

SEED, BATCH, HELD_GROUPS = 1, 32, 36


def ranks(shards: int, shard_rows: int, world: int) -> list[np.ndarray]:
    groups = np.full(shards * shard_rows // ROW_GROUP_ROWS, ROW_GROUP_ROWS)
    order = Shuffle(groups, SEED)
    rows = shards * shard_rows
    epoch = order.rows(0, np.arange(rows))
    divisions = [Division(0, rows, rows, rank, world, BATCH, 1, "drop", False) for rank in range(world)]
    return [epoch[division.positions(range(len(division)))] for division in divisions]


def main() -> None:
    order = json.loads(sys.argv[2])
    shards, shard_rows = order["shards"], order["shard_rows"]
    units = shards * shard_rows // ROW_GROUP_ROWS
    for world in order["worlds"]:
        given = ranks(shards, shard_rows, world)
        found = report(given, shards * shard_rows, shard_rows)
        found["fetched"] = sum(fetched_by_lru(rows, ROW_GROUP_ROWS, READ_ROWS, HELD_GROUPS) for rows in given) / units
        print(json.dumps({"world": world} | found), flush=True)


if __name__ == "__main__":
    main()
