"""Speed on this machine, as a ratio inside one run: rows written a second times the seconds of one zlib call.

The zlib call is `zlib.compress(..., 9)` of a candidate's scored bytes, what every other generator of such data pays
for each candidate. Builds and zlib calls alternate, so that a machine that slows down slows both. The shares of the
stages are measured on one core between the builds, after a first pass that is not counted.
"""

import shutil
import tempfile
import time
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from ncagen import philox
from ncagen.dataset import atomic_write
from ncagen.dataset.folder import Folder
from ncagen.dataset.shard import Rows
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.factory.make_shard import BuildJob, describe, pack
from ncagen.factory.scheduler import build, threads
from ncagen.selection import Tally, inside, ratios
from ncagen.sources.nca import cpu
from ncagen.sources.nca import source as nca
from ncagen.spec import Spec

CANDIDATES = 4096  # that zlib and the stages are timed on


@dataclass(frozen=True)
class Bench:
    """Medians over the rounds; `ratio` of each round's own figures. Microseconds are of one core, per candidate."""

    rounds: int
    workers: int
    rows: int
    rows_per_second: float
    tokens_per_second: float
    zlib_microseconds: float
    ratio: float
    ratios: list[float]
    acceptance: float
    stage_microseconds: dict[str, float]


def bench(spec: Spec, storage: str, workers: int, rounds: int) -> Bench:
    """Builds the spec `rounds` times in a temporary folder, with zlib timed before and after each."""
    _, acceptance, scored = _stages(spec, storage)
    stages, build_seconds, zlib_seconds = [], [], [_zlib_seconds(scored)]
    rows = len(spec.bands) * (spec.rows("train") + spec.rows("validation"))
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="ncagen-bench-"))
        try:
            begun = time.perf_counter()
            order = BuildJob(spec, storage, Folder(folder / "dataset"))
            build(order, threads(order, workers, lambda rows, candidates: None))
            build_seconds.append(time.perf_counter() - begun)
        finally:
            shutil.rmtree(folder)
        zlib_seconds.append(_zlib_seconds(scored))
        stages.append(_stages(spec, storage)[0])
    calls = [(a + b) / 2 for a, b in pairwise(zlib_seconds)]
    each = [rows / seconds * call for seconds, call in zip(build_seconds, calls, strict=True)]
    return Bench(
        rounds=rounds,
        workers=workers,
        rows=rows,
        rows_per_second=rows / median(build_seconds),
        tokens_per_second=rows * spec.seq_len / median(build_seconds),
        zlib_microseconds=median(calls) * 1e6,
        ratio=median(each),
        ratios=each,
        acceptance=acceptance,
        stage_microseconds={name: median(stage[name] for stage in stages) for name in stages[0]},
    )


def _zlib_seconds(scored: np.ndarray) -> float:
    """One call's mean over the candidates."""
    texts = [row.tobytes() for row in scored.astype("<u4")]
    begun = time.perf_counter()
    for text in texts:
        zlib.compress(text, 9)
    return (time.perf_counter() - begun) / len(texts)


def _stages(spec: Spec, storage: str) -> tuple[dict[str, float], float, np.ndarray]:
    """Microseconds per candidate of each stage, the share kept in any band, and the scored tokens."""
    stream = philox.STREAMS["pilot"]
    at_least = min(band.lengths(spec.scored_bytes)[0] for band in spec.bands)
    spent = dict.fromkeys(("rules", "rollout", "tokens", "score", "write"), 0.0)
    clock = time.perf_counter
    all_patches, all_rows = [], []
    for first in range(0, CANDIDATES, 512):
        candidates = np.arange(first, first + 512, dtype=np.uint64)
        t = clock()
        rules, starts = cpu.sample(spec, stream, candidates)
        spent["rules"] += clock() - t
        t = clock()
        grids = cpu.rollout(spec, stream, candidates, rules, starts, 0, spec.scored_frames)
        spent["rollout"] += clock() - t
        t = clock()
        patches = cpu.patch_tokens(spec, grids)
        spent["tokens"] += clock() - t
        t = clock()
        lengths = token_gzip_lengths(patches.reshape(len(candidates), -1), at_least)
        spent["score"] += clock() - t
        kept = np.flatnonzero(np.any([inside(spec, band, lengths) for band in spec.bands], axis=0))
        t = clock()
        kept_rows = nca.rows(nca.Batch(spec, stream, candidates, rules, grids, patches, lengths), kept)
        spent["rollout"] += clock() - t
        all_patches.append(patches.reshape(len(candidates), -1))
        all_rows.append(Rows(kept_rows, candidates[kept], lengths[kept], ratios(spec, lengths[kept])))
    kept_count = sum(len(rows.candidate) for rows in all_rows)
    rows = Rows(*(np.concatenate(columns) for columns in zip(*all_rows, strict=True)))
    with tempfile.TemporaryDirectory(prefix="ncagen-bench-") as folder:
        t = clock()
        _, data = pack(spec, storage, "train", "bench", 0, rows, Tally(kept=kept_count))
        describe(data)
        atomic_write.write(Path(folder) / "shard", data)
        spent["write"] = clock() - t
    microseconds = {stage: seconds / CANDIDATES * 1e6 for stage, seconds in spent.items()}
    return microseconds, kept_count / CANDIDATES, np.concatenate(all_patches)
