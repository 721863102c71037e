"""The automaton on a device, in trajectories a second: python benchmarks/gpu.py cuda|cpu|torch [BATCHES]

`cpu` is the numba kernels, `torch` the CUDA code on the host. First rollouts alone, of whole rows of the default spec
(36 steps, 27 recorded grids), on 1, 2, 4 ... threads, each with BATCHES batches of the device's own size. Then one
thread's time for what a build does with a candidate of the high band: its rule and start, the rollout of the scored
frames, the copy of their tokens to the host, the score, the rest of the rollout of the rows that are kept, and their
file. The score and the file are the host's work in any case.
"""

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

from ncagen.dataset.shard import Rows
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import describe, pack
from ncagen.philox import STREAMS
from ncagen.selection import Tally, choose, ratios
from ncagen.sources.nca import source as nca
from ncagen.sources.nca.devices import backend
from ncagen.spec import Spec, from_settings

STREAM = STREAMS["pilot"]
SPEC = from_settings({"tokens": "1M", "band": "high"})


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


def rollouts(automaton: nca.Backend, spec: Spec, first: int, batches: int, size: int) -> None:
    """Whole trajectories of batches of candidates."""
    for batch in range(batches):
        start = first + batch * size
        candidates = np.arange(start, start + size, dtype=np.uint64)
        drawn, starts = automaton.sample(spec, STREAM, candidates)
        automaton.rollout(spec, STREAM, candidates, drawn, starts, 0, spec.frames)


def speed(automaton: nca.Backend, spec: Spec, threads: int, batches: int) -> float:
    """Trajectories a second of several threads at once."""
    size = automaton.batch_candidates(spec)
    with ThreadPoolExecutor(threads) as pool:
        firsts = [thread * batches * size for thread in range(threads)]
        list(pool.map(lambda first: rollouts(automaton, spec, first, 1, size), firsts))  # streams and memory
        begun = time.perf_counter()
        list(pool.map(lambda first: rollouts(automaton, spec, first, batches, size), firsts))
        return threads * batches * size / (time.perf_counter() - begun)


def stages(automaton: nca.Backend, spec: Spec, batches: int) -> dict[str, float]:
    """Microseconds per candidate of each stage of a build, on one thread."""
    spent = dict.fromkeys(("rules", "rollout", "copy", "score", "rollout of kept", "write"), 0.0)
    size, band = automaton.batch_candidates(spec), spec.bands[0]

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        spent[stage] += time.perf_counter() - begun

    for batch in range(batches):
        candidates = np.arange(batch * size, (batch + 1) * size, dtype=np.uint64)
        with timed("rules"):
            drawn, starts = automaton.sample(spec, STREAM, candidates)
        with timed("rollout"):
            grids = automaton.rollout(spec, STREAM, candidates, drawn, starts, 0, spec.scored_frames)
        with timed("copy"):
            patches = automaton.patch_tokens(spec, grids)
        with timed("score"):
            lengths = token_gzip_lengths(patches.reshape(size, -1), band.lengths(spec.scored_bytes)[0])
        tally = Tally()
        kept = choose(spec, band, lengths, size, tally)
        scored = nca.Batch(spec, STREAM, candidates, drawn, grids, patches, lengths)
        with timed("rollout of kept"):
            ids = nca.rows(scored, kept, automaton)
        with timed("write"), tempfile.TemporaryDirectory(prefix="ncagen-gpu-") as folder:
            rows = Rows(ids, candidates[kept], lengths[kept], ratios(spec, lengths[kept]))
            _, data = pack(spec, "parquet", "train", band.name, 0, rows, tally)
            describe(data)
            (Path(folder) / "shard").write_bytes(data)
    return {stage: seconds / (batches * size) * 1e6 for stage, seconds in spent.items()}


def main(device: str, batches: int) -> None:
    """Prints the figures."""
    automaton = backend(device)
    hardware(device)
    print(f"batches of {automaton.batch_candidates(SPEC)} candidates, {batches} for each thread")
    threads = 1
    while threads <= len(os.sched_getaffinity(0)):
        print(
            f"{threads:3} threads: {speed(automaton, SPEC, threads, batches):10,.0f} trajectories a second", flush=True
        )
        threads *= 2
    stages(automaton, SPEC, 1)  # compiles
    spent = stages(automaton, SPEC, batches)
    print("microseconds for a candidate of one thread")
    for stage, microseconds in spent.items():
        print(f"{stage:16} {microseconds:8.2f}  {microseconds / sum(spent.values()):4.0%}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.splitlines()[0])
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
    except NcagenError as error:
        sys.exit(str(error))
