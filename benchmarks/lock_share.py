"""Shows at how many threads a build stops to scale: python benchmarks/lock_share.py [--threads 1,16,64] [--json].

A thread of a build holds the interpreter's lock except in kernels, hashes, compression and checksums. First one thread
makes shards, and its processor time within these is taken: what remains, the share of the lock, counts NumPy's and
pyarrow's own calls as if they held it, so it is too high rather than too low. Then as many threads as asked for repeat
the sequence: each piece with the lock runs Python for as long as it took, each piece without sleeps as long. Sleeping
takes no core, so this shows what the lock alone allows on machines with more cores than this one; memory bandwidth and
turbo clocks are not in it.
"""

import argparse
import hashlib
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from ncagen import kernels
from ncagen.cuda import host
from ncagen.dataset import parquet_writer, shard
from ncagen.factory.make_shard import _collect, pack
from ncagen.factory.search import search
from ncagen.factory.settings import from_settings
from ncagen.selection import Tally
from ncagen.sources import source_of

# Pieces of time, in seconds and in turn: with the lock, without it, with it, ...
Pieces = list[float]


class Watch:
    """Divides the processor time of this thread into pieces with and without the lock."""

    def __init__(self) -> None:
        self.pieces: Pieces = []
        self.since = time.thread_time()
        self.inside = False

    def free(self, function: Callable) -> Callable:
        """The same function, whose time counts as without the lock."""

        def timed(*args: Any, **options: Any) -> Any:
            if self.inside:
                return function(*args, **options)
            begun = time.thread_time()
            self.inside = True
            try:
                return function(*args, **options)
            finally:
                ended = time.thread_time()
                self.inside = False
                self.pieces += (begun - self.since, ended - begun)
                self.since = ended

        return timed


def watched(settings: dict, shards: int, device: str) -> tuple[Pieces, int]:
    """Makes shards in this thread. Returns the pieces of its time, and how many rows it made."""
    spec = from_settings({"tokens": shards * 4096 * 1024, "validation": "0", **settings})
    rows, watch = 0, Watch()
    make_one(spec, 0, device)  # compiles and loads
    with replaced(watch):
        watch.since = time.thread_time()
        for number in range(shards):
            rows += make_one(spec, number, device)
    return watch.pieces, rows


def make_one(spec: Any, number: int, device: str) -> int:
    """Makes a shard as a build does, up to its bytes. Returns its rows."""
    [band] = spec.bands
    tallies = {band: Tally()}
    rows = source_of(spec).row_format.empty(4096)
    _collect(search(spec, "train", number, 4096, tallies, device), {band: rows}, lambda made, tried: None)
    _, data = pack(spec, "parquet", "train", band.name, number, rows, tallies[band])
    shard.File.of(data, "parquet")
    return len(rows)


class TimedHash:
    """A sha256 whose work is counted as without the lock."""

    def __init__(self, watch: Watch, data: Any = b"") -> None:
        self._watch, self._digest = watch, watch.free(hashlib.sha256)(data)
        self.update, self.hexdigest = watch.free(self._digest.update), self._digest.hexdigest


@contextmanager
def replaced(watch: Watch) -> Iterator[None]:
    """Has `watch` time the machine code of kernels, hashes, compression and checksums while it lasts."""
    library = kernels._library()
    if library is None:
        sys.exit("lock_share.py: error: kernels are not in a library here: run make kernels")
    for variants in library._found.values():
        for types, (function, result) in variants.items():
            variants[types] = watch.free(function), result
    launch = host.Kernels.launch
    host.Kernels.launch = watch.free(launch)
    before = shard.hashlib, parquet_writer.hashlib, parquet_writer.zlib, parquet_writer._ZSTD
    shard.hashlib = parquet_writer.hashlib = SimpleNamespace(sha256=lambda data=b"": TimedHash(watch, data))
    parquet_writer.zlib = SimpleNamespace(crc32=watch.free(zlib.crc32))
    parquet_writer._ZSTD = SimpleNamespace(compress=watch.free(before[3].compress))
    try:
        yield
    finally:
        shard.hashlib, parquet_writer.hashlib, parquet_writer.zlib, parquet_writer._ZSTD = before
        host.Kernels.launch = launch


def simulated(pieces: Pieces, threads: int, seconds: float) -> float:
    """Repeats the pieces in threads. Returns the time of a thread's own pieces that all threads did, by the clock."""
    done, stop = [0.0] * threads, time.perf_counter() + seconds

    def run(number: int) -> None:
        at = number * len(pieces) // threads // 2 * 2  # so that they do not all begin with the same
        while time.perf_counter() < stop:
            held, free = pieces[at], pieces[at + 1]
            end = time.thread_time() + held
            while time.thread_time() < end:
                pass
            time.sleep(free)
            done[number] += held + free
            at = (at + 2) % len(pieces)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--threads", default="1,8,16,32,64,96,128,192", help="numbers of threads  [%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as states=64")
    parser.add_argument(
        "--device", default="cpu", help="cpu, or host: a GPU's calls, its kernels on the processor  [cpu]"
    )
    parser.add_argument("--shards", type=int, default=2, help="that are timed  [%(default)s]")
    parser.add_argument("--seconds", type=float, default=5, help="of each simulation  [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    settings = {"band": ["high"]} | dict(each.split("=", 1) for each in given.set)
    pieces, rows = watched(settings, given.shards, given.device)
    held, free = sum(pieces[::2]), sum(pieces[1::2])
    found: dict[str, Any] = {
        "rows": rows,
        "seconds": held + free,
        "held_a_shard": held / given.shards,
        "lock_share": held / (held + free),
        "pieces_a_row": len(pieces) / 2 / rows,
        "as_many_as": {
            number: simulated(pieces, number, given.seconds) for number in map(int, given.threads.split(","))
        },
    }
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print(f"with the lock    {found['lock_share']:.1%} of the time of a thread that made {rows:,} rows")
    print(f"a shard          {found['held_a_shard'] * 1e3:.1f} ms with the lock")
    for threads, times in found["as_many_as"].items():
        print(f"{threads:4} threads     {times:6.1f} times one thread's work")


if __name__ == "__main__":
    main()
