"""The automaton on a device, in trajectories a second.

`cpu` is the numba kernels, `torch` the CUDA code on the host. First rollouts alone, of whole rows of the default
settings (36 steps, 27 recorded grids), on 1, 2, 4 ... threads, each with BATCHES batches of the device's own size. Then
one thread's time for what a build does with a candidate of the high band: its rule and start, the rollout of the scored
frames, the copy of their tokens to the host, the score, the rest of the rollout of the rows that are kept, and their
file. The score and the file are the host's work in any case.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ncagen.dataset.manifest import File
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import pack
from ncagen.factory.settings import from_settings
from ncagen.philox import STREAMS
from ncagen.selection import Tally, choose
from ncagen.sources.nca import batch
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.facts import measure
from ncagen.sources.nca.settings import Settings

KEY = 0, STREAMS["pilot"]
SPEC = from_settings({"tokens": "1M", "band": "high"})
SETTINGS = Settings()  # those of SPEC
STAGES = {"rules": "rules", "rollout": "rollout", "tokens": "copy", "score": "score"}


def hardware(device: str) -> None:
    """Prints what the figures were taken on."""
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "numba")))
    if device != "cpu":
        import torch

        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads of its own")
        if device != "torch":
            found = torch.cuda.get_device_properties(device)
            print(f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}")


def rollouts(automaton: batch.Backend, first: int, batches: int, size: int) -> None:
    """Whole trajectories of batches of candidates."""
    for number in range(batches):
        start = first + number * size
        candidates = np.arange(start, start + size, dtype=np.uint64)
        drawn, starts = automaton.sample(SETTINGS, KEY, candidates)
        automaton.rollout(SETTINGS, KEY, candidates, drawn, starts, 0, SETTINGS.frames)


def speed(automaton: batch.Backend, threads: int, batches: int) -> float:
    """Trajectories a second of several threads at once."""
    size = automaton.batch_candidates(SETTINGS)
    with ThreadPoolExecutor(threads) as pool:
        firsts = [thread * batches * size for thread in range(threads)]
        list(pool.map(lambda first: rollouts(automaton, first, 1, size), firsts))  # streams and memory
        begun = time.perf_counter()
        list(pool.map(lambda first: rollouts(automaton, first, batches, size), firsts))
        return threads * batches * size / (time.perf_counter() - begun)


def stages(automaton: batch.Backend, batches: int) -> dict[str, float]:
    """Microseconds per candidate of each stage of a build, on one thread."""
    spent = dict.fromkeys((*STAGES.values(), "rollout of kept", "write"), 0.0)
    size, band = automaton.batch_candidates(SETTINGS), SPEC.bands[0]

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        spent[stage] += time.perf_counter() - begun

    bytes_ = measure(SETTINGS)
    for number in range(batches):
        candidates = np.arange(number * size, (number + 1) * size, dtype=np.uint64)
        least = band.limits(bytes_)[0]
        scored = batch.run(
            SETTINGS, KEY, candidates, least, backend=automaton, stage=lambda stage: timed(STAGES[stage])
        )
        tally = Tally()
        kept = choose(band.limits(bytes_), scored.score, size, tally)
        before = spent["rollout"]
        rows = scored.rows(kept)
        spent["rollout of kept"] += spent["rollout"] - before
        spent["rollout"] = before
        with timed("write"), tempfile.TemporaryDirectory(prefix="ncagen-gpu-") as folder:
            _, data = pack(SPEC, "parquet", "train", band.name, 0, rows, tally)
            File.of(data, "parquet")
            (Path(folder) / "shard").write_bytes(data)
    return {stage: seconds / (batches * size) * 1e6 for stage, seconds in spent.items()}


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", help="cuda, cuda:1, cpu or torch")
    parser.add_argument("batches", nargs="?", type=int, default=10, help="for each thread  [10]")
    arguments = parser.parse_args()
    batches, automaton = arguments.batches, backend(arguments.device)
    hardware(arguments.device)
    print(f"batches of {automaton.batch_candidates(SETTINGS)} candidates, {batches} for each thread")
    threads = 1
    while threads <= len(os.sched_getaffinity(0)):
        print(f"{threads:3} threads: {speed(automaton, threads, batches):10,.0f} trajectories a second", flush=True)
        threads *= 2
    stages(automaton, 1)  # compiles
    spent = stages(automaton, batches)
    print("microseconds for a candidate of one thread")
    for stage, microseconds in spent.items():
        print(f"{stage:16} {microseconds:8.2f}  {microseconds / sum(spent.values()):4.0%}")


if __name__ == "__main__":
    try:
        main()
    except NcagenError as error:
        sys.exit(str(error))
