"""Measures this machine's speed as a ratio inside one run: rows written a second times the seconds of one zlib call.

The zlib call is `zlib.compress(..., 9)` of as many bytes as a candidate's score looks at, what every other generator of
such data pays for each candidate. Builds and zlib calls alternate, so that a machine that slows down slows both. The
shares of the stages are measured on one core between the builds, after a first pass that is not counted.
"""

import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from ncagen.dataset import atomic_write
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import SPLITS, File
from ncagen.factory.make_shard import BuildJob, pack
from ncagen.factory.scheduler import build, local
from ncagen.philox import STREAMS
from ncagen.row_format import Rows, band_measure
from ncagen.selection import Tally, inside
from ncagen.sources import source_of
from ncagen.spec import BuildSpec

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
    scored_bytes: int
    ratio: float
    ratios: list[float]
    acceptance: float
    stage_microseconds: dict[str, float]


def bench(spec: BuildSpec, file_format: str, workers: int, rounds: int) -> Bench:
    """Builds the spec `rounds` times in a temporary folder, with zlib timed before and after each."""
    _, acceptance, scored = _stages(spec, file_format)
    stages, build_seconds, zlib_seconds = [], [], [_zlib_seconds(scored)]
    rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp(prefix="ncagen-bench-"))
        try:
            begun = time.perf_counter()
            job = BuildJob(spec, file_format, Folder(folder / "dataset"))
            build(job, local(job, workers))
            build_seconds.append(time.perf_counter() - begun)
        finally:
            shutil.rmtree(folder)
        zlib_seconds.append(_zlib_seconds(scored))
        stages.append(_stages(spec, file_format)[0])
    calls = [(a + b) / 2 for a, b in pairwise(zlib_seconds)]
    each = [rows / seconds * call for seconds, call in zip(build_seconds, calls, strict=True)]
    return Bench(
        rounds=rounds,
        workers=workers,
        rows=rows,
        rows_per_second=rows / median(build_seconds),
        tokens_per_second=rows * spec.seq_len / median(build_seconds),
        zlib_microseconds=median(calls) * 1e6,
        scored_bytes=len(scored[0]),
        ratio=median(each),
        ratios=each,
        acceptance=acceptance,
        stage_microseconds={name: median(stage[name] for stage in stages) for name in stages[0]},
    )


def _zlib_seconds(texts: list[bytes]) -> float:
    """One call's mean over the texts."""
    begun = time.perf_counter()
    for text in texts:
        zlib.compress(text, 9)
    return (time.perf_counter() - begun) / len(texts)


class _Stopwatch:
    """Seconds spent in each stage, in the order in which the stages first ran."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun


def _stages(spec: BuildSpec, file_format: str) -> tuple[dict[str, float], float, list[bytes]]:
    """Microseconds per candidate of each stage, the share kept in any band, and the bytes that were scored."""
    source, stopwatch = source_of(spec), _Stopwatch()
    measure = band_measure(source.measures)
    at_least = min(band.limits(measure)[0] for band in spec.bands)
    texts: list[bytes] = []
    parts: list[Rows] = []
    for first in range(0, CANDIDATES, 512):
        candidates = np.arange(first, first + 512, dtype=np.uint64)
        batch = source.batch((spec.seed, STREAMS["pilot"]), candidates, at_least, stage=stopwatch)
        kept = np.flatnonzero(np.any([inside(measure, band, batch.score) for band in spec.bands], axis=0))
        parts.append(batch.rows(kept))
        texts += batch.scored_bytes()
    rows = Rows.concatenate(parts)
    with tempfile.TemporaryDirectory(prefix="ncagen-bench-") as folder, stopwatch("write"):
        _, data = pack(spec, file_format, "train", "bench", 0, rows, Tally(kept=len(rows)))
        File.of(data, file_format)
        atomic_write.write(Path(folder) / "shard", data)
    microseconds = {stage: seconds / CANDIDATES * 1e6 for stage, seconds in stopwatch.seconds.items()}
    return microseconds, len(rows) / CANDIDATES, texts
