"""Reads shuffled epochs from a store as the ranks of worlds do; remote.py runs it in each reader's environment.

    python epoch.py READER '{"url": "s3://...", "endpoint": "http://...", "scratch": "...", "worlds": [[1, 0], [8, 0]]}'

worlds: ranks, and DataLoader workers of each. A rank is a forked process, on a node of its own as far as its reader
knows: it has an empty cache, and shares nothing with the others. Imports happen before the fork, and are not measured.
Requests for keys "-/..." tell the store what begins, so that its list of requests shows which belong to which world and
which came before the first batch. Each rank leaves the crc32 of its rows in the scratch folder.
"""

import json
import os
import shutil
import socket
import sys
import time
import traceback
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

BATCH, SEED = 32, 1
TOKENS = 1024  # of a row that are compared; all readers give so many

Epoch = Callable[[str, str, Path, int, int, int], Iterable]  # url, endpoint, cache, rank, world, workers: batches


def ncagen() -> Epoch:
    """The project's own stream; with workers its Loader, whose workers share a cache on disk."""
    from ncagen import Stream, open

    def epoch(url: str, endpoint: str, cache: Path, rank: int, world: int, workers: int) -> Iterable:
        place = {"rank": rank, "world": world}
        if not workers:
            return (batch["input_ids"] for batch in Stream(open(url), BATCH, seed=SEED, **place))
        from ncagen.adapters.torch import Loader

        loader = Loader(open(url, cache_dir=cache), BATCH, seed=SEED, num_workers=workers, **place)
        return (batch["input_ids"].numpy() for batch in loader)

    return epoch


def litdata() -> Epoch:
    """Lightning's StreamingDataset with its loader for tokens; each rank is a node."""
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"  # it refuses a store without TLS otherwise

    def epoch(url: str, endpoint: str, cache: Path, rank: int, world: int, workers: int) -> Iterable:
        os.environ |= {"WORLD_SIZE": str(world), "GLOBAL_RANK": str(rank), "NNODES": str(world)}
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        options = {"endpoint_url": endpoint, **keys}
        rows = StreamingDataset(
            f"{url}/train",
            cache_dir=str(cache),
            item_loader=TokensLoader(block_size=1026),
            shuffle=True,
            seed=SEED,
            storage_options=options,
        )
        loader = StreamingDataLoader(rows, batch_size=BATCH, num_workers=workers)
        return (batch.numpy() for batch in loader)

    return epoch


def mosaicml() -> Epoch:
    """MosaicML's StreamingDataset; each rank is a node."""
    import mosaic_import  # noqa: F401  # before streaming
    from streaming import StreamingDataset
    from streaming.base.shared import prefix
    from torch.utils.data import DataLoader

    def epoch(url: str, endpoint: str, cache: Path, rank: int, world: int, workers: int) -> Iterable:
        os.environ |= {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
        os.environ |= {"S3_ENDPOINT_URL": endpoint}
        prefix._each_prefix_int = lambda: count(1000 * rank)  # nodes do not see each other's shared memory
        rows = StreamingDataset(
            remote=url, local=str(cache), split="train", shuffle=True, batch_size=BATCH, shuffle_seed=SEED
        )
        return iter(DataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=_stacked))

    return epoch


def _stacked(rows: list[dict]) -> np.ndarray:
    """A batch of their tokens alone: the default takes as long for the other columns."""
    return np.stack([row["input_ids"] for row in rows])


def read(epoch: Epoch, order: dict, rank: int, world: int, workers: int) -> None:
    """One rank's epoch, or its first batch alone. Saves the crc32 of each row: uint32[row]."""
    name = f"{world}-{workers}-{rank}"
    cache = Path(order["scratch"]) / f"cache-{name}"
    cache.mkdir(parents=True)
    begun, first, rows = time.monotonic(), 0.0, []
    for batch in epoch(order["url"], order["endpoint"], cache, rank, world, workers):
        if not rows:
            first = time.monotonic() - begun
            mark(order, "first")
        rows += [zlib.crc32(np.ascontiguousarray(row[:TOKENS], np.uint16)) for row in batch]
        if order.get("first_only"):
            break
    shutil.rmtree(cache, ignore_errors=True)
    np.save(Path(order["scratch"]) / f"rows-{name}.npy", np.array(rows, np.uint32))
    print(json.dumps({"world": world, "workers": workers, "rank": rank, "first_seconds": first}), flush=True)


def mark(order: dict, what: str) -> None:
    """Leaves a key in the store's list of requests."""
    with suppress(urllib.error.HTTPError):  # there is no such object
        urllib.request.urlopen(f"{order['endpoint']}/-/{what}").close()


def together(works: list[Callable[[], None]]) -> None:
    """Runs each in a fork of this process, at the same time. Ends this process if one fails."""
    children = [_forked(work) for work in works]
    ends = [os.waitpid(child, 0)[1] for child in children]
    if any(ends):
        sys.exit("a rank failed")


def _forked(work: Callable[[], None]) -> int:
    """The number of a child that does the work and ends."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # whatever threads the reader has left


def main() -> None:
    """Every rank of every world."""
    order = json.loads(sys.argv[2])
    epoch = {"ncagen": ncagen, "litdata": litdata, "mosaicml": mosaicml}[sys.argv[1]]()
    for world, workers in order["worlds"]:
        mark(order, f"{world}-{workers}")
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        together([partial(read, epoch, order, rank, world, workers) for rank in range(world)])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


if __name__ == "__main__":
    main()
