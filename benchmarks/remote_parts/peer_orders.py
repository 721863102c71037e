"""The orders of mosaicml-streaming and litdata for a dataset that is not there, from their own code.

    python peer_orders.py READER '{"shards": 9, "shard_rows": 4096, "worlds": [1, 8], "node_ranks": 8, "quality": [1]}'

Prints a line of JSON for each world with `measure`'s figures. Options are defaults. Each rank is a node, as in
epoch.py, but in what nodes of `node_ranks` fetch.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import BATCH, by_node, fetched, report

SEED = 1

Ranks = list[np.ndarray]


def mosaicml(shards: int, shard_rows: int, nodes: int, node_ranks: int, canonical: int | None = None) -> Ranks:
    """As StreamingDataset does; canonical nodes: as many as nodes, its default, or so many."""
    import mosaic_import  # noqa: F401  # before streaming
    from streaming.base.partition import get_partitions
    from streaming.base.shuffle import get_shuffle

    canonical = canonical or nodes
    ids = get_partitions("relaxed", shards * shard_rows, canonical, nodes, node_ranks, 1, BATCH)
    block = max(4_000_000 // canonical, 1 << 18)
    order = get_shuffle("py1e", np.full(shards, shard_rows), canonical, SEED, 0, block)
    return [order[rank[rank >= 0]] for rank in ids.reshape(nodes * node_ranks, -1)]


def mosaicml_24(shards: int, shard_rows: int, nodes: int, node_ranks: int) -> Ranks:
    """With one order for several world sizes."""
    return mosaicml(shards, shard_rows, nodes, node_ranks, 24)


def litdata(shards: int, shard_rows: int, nodes: int, node_ranks: int) -> Ranks:
    """As StreamingDataset does with an index."""
    from litdata import StreamingDataset, TokensLoader
    from litdata.streaming.shuffle import FullShuffle
    from litdata.utilities.env import _DistributedEnv, _WorkerEnv

    with tempfile.TemporaryDirectory() as folder:
        _write_index(Path(folder), shards, shard_rows)
        rows = StreamingDataset(folder, item_loader=TokensLoader(block_size=1), shuffle=True, seed=SEED)
        cache = rows._create_cache(_WorkerEnv.detect())
        world = nodes * node_ranks
        shuffle = FullShuffle(cache, SEED, drop_last=world > 1)
        env = _DistributedEnv(world, 0, nodes)
        parts = zip(*shuffle.get_chunks_and_intervals_per_workers(env, 1, BATCH, 1), strict=True)
        return [_in_chunks(shuffle, shards, *part) for part in parts]


def _in_chunks(shuffle: Any, shards: int, chunks: list[int], intervals: list) -> np.ndarray:
    """The rows of one worker."""
    spans = [(chunk, np.arange(first, end)) for chunk, (_, first, end, _) in zip(chunks, intervals, strict=True)]
    return np.concatenate([shuffle(rows, shards, 1, chunk) for chunk, rows in spans])


def _write_index(folder: Path, shards: int, shard_rows: int) -> None:
    """An index of chunks of one token a row."""
    chunk = {"chunk_bytes": 2 * shard_rows, "chunk_size": shard_rows, "dim": shard_rows}
    chunks = [chunk | {"filename": f"chunk-0-{number}.bin"} for number in range(shards)]
    config = {"chunk_bytes": None, "chunk_size": shard_rows, "compression": None, "encryption": None}
    leaf = '[1, {"type": null, "context": null, "children_spec": []}]'
    config |= {"data_format": ["no_header_numpy:5"], "data_spec": leaf, "item_loader": "TokensLoader"}
    (folder / "index.json").write_text(json.dumps({"chunks": chunks, "config": config, "updated_at": "0"}))


def main() -> None:
    """A line for each world."""
    asked = json.loads(sys.argv[2])
    make = {"mosaicml": mosaicml, "mosaicml_24": mosaicml_24, "litdata": litdata}[sys.argv[1]]
    sizes, node_ranks = (asked["shards"], asked["shard_rows"]), asked["node_ranks"]
    for world in asked["worlds"]:
        try:
            ranks = make(*sizes, world, 1)
        except ValueError as error:
            print(json.dumps({"world": world, "refused": str(error)}), flush=True)
            continue
        found = report(ranks, sizes[0] * sizes[1], sizes[1], world in asked["quality"])
        if world % node_ranks == 0:
            nodes = by_node(make(*sizes, world // node_ranks, node_ranks), node_ranks)
            found["fetched_by_nodes"] = fetched(nodes, sizes[1], sizes[0])
        print(json.dumps({"world": world} | found), flush=True)


if __name__ == "__main__":
    main()
