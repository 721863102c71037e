"""Estimates what a build needs from a short pilot: candidates, bytes, time; and checks that its bands can be reached.

The pilot tries candidates of a stream of its own, so it never touches the dataset's rules. How many depends on the
spec alone, so that every machine refuses the same bands. Its times are measured here and now and are estimates; its
scores are exact.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ncagen.dataset.manifest import SPLITS, File
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import pack
from ncagen.factory.search import MOST_TOKENS
from ncagen.philox import STREAMS
from ncagen.row_format import Measure, RowFormat, band_measure
from ncagen.selection import BANDS, Band, Tally, inside
from ncagen.sources import source_of
from ncagen.sources.source import Batch, Source
from ncagen.spec import BuildSpec

# Candidates of a pilot, and those that are tried before a band that none fell into is called out of reach; fewer, by
# the work that a candidate is, where these would take more than about 2 and 20 seconds of a core.
PILOT_CANDIDATES, PILOT_WORK = 2048, 2 * 10**9
SEARCH_CANDIDATES, SEARCH_WORK = 65536, 20 * 10**9
BATCH = 256
DRIVER_SECONDS = 0.003  # that handing out a shard takes on a cluster; measured by benchmarks/executors.py


@dataclass(frozen=True)
class Pilot:
    """scores: int32[candidate], exact. noise: the same of pure noise, [sample]. Seconds are of one core."""

    measure: Measure | None
    scores: np.ndarray
    noise: np.ndarray
    candidate_seconds: float
    row_seconds: float
    row_bytes: float

    def share(self, band: Band) -> float:
        """The share of candidates in a band."""
        return float(inside(self.measure, band, self.scores).mean())


@dataclass(frozen=True)
class Plan:
    """What a build will take. Counts of rows and shards are exact, the others are estimates."""

    rows: int
    row_tokens: int
    shards: int
    files: int
    candidates: int
    bytes: int
    seconds: float
    core_hours: float
    nodes: int
    workers: int
    acceptance: dict[str, float]
    shares: dict[str, float]
    noise_ratio: float | None


def trials(source: Source) -> tuple[int, int]:
    """How many candidates a pilot tries, and how many at most before it gives a band up: whole batches."""
    work = source.candidate_work()
    few = min(PILOT_CANDIDATES, max(BATCH, PILOT_WORK // work // BATCH * BATCH))
    return few, min(SEARCH_CANDIDATES, max(few, SEARCH_WORK // work // BATCH * BATCH))


def pilot(spec: BuildSpec, file_format: str = "parquet") -> Pilot:
    """Tries a few thousand candidates. Raises NcagenError for a band that cannot be reached.

    Where a band gets none of them, more are tried before it is given up.
    """
    source, key = source_of(spec), (spec.seed, STREAMS["pilot"])
    source.check()
    measure = band_measure(source.measures)
    noise = source.noise_scores()
    scores: list[np.ndarray] = []
    few, most = trials(source)
    begun = time.perf_counter()
    while True:
        first = sum(map(len, scores))
        if first >= few:
            seen = np.concatenate(scores)
            missing = [band for band in spec.bands if not inside(measure, band, seen).any()]
            unreachable = [band for band in missing if len(noise) and band.limits(measure)[0] > noise.max()]
            if measure and (unreachable or (missing and first >= most)):
                raise _out_of_reach(source.card().row, measure, (unreachable or missing)[0], seen, noise)
            if not missing:
                break
        scores.append(source.batch(key, np.arange(first, first + BATCH, dtype=np.uint64)).score)
    candidate_seconds = (time.perf_counter() - begun) / len(seen)
    each = min(BATCH, max(1, MOST_TOKENS // source.row_format.row_tokens)) // len(spec.bands) + 1
    kept = np.concatenate([np.flatnonzero(inside(measure, band, seen))[:each] for band in spec.bands])
    row_seconds, row_bytes = _row_cost(spec, source.batch(key, kept.astype(np.uint64)), file_format)
    return Pilot(measure, seen, noise, candidate_seconds, row_seconds, row_bytes)


def plan(spec: BuildSpec, workers: int, nodes: int, tried: Pilot) -> Plan:
    """The whole build from its pilot, on a number of machines like this one with so many workers each."""
    acceptance = {band.name: tried.share(band) for band in spec.bands}
    rows = sum(spec.rows(split) for split in SPLITS)
    candidates = rows / min(acceptance.values())
    core_seconds = candidates * tried.candidate_seconds + rows * len(spec.bands) * tried.row_seconds
    shards = sum(spec.shards(split) for split in SPLITS)
    measure = tried.measure
    regions = {"below": (0.0, 0.2), **BANDS} if measure and len(tried.noise) else {}
    rounds = -(-shards // (workers * nodes))  # the last of them may leave most workers without a shard
    return Plan(
        rows=rows * len(spec.bands),
        row_tokens=source_of(spec).row_format.row_tokens,
        shards=shards,
        files=shards * len(spec.bands),
        candidates=round(candidates),
        bytes=round(rows * len(spec.bands) * tried.row_bytes),
        seconds=max(core_seconds / shards * rounds, shards * DRIVER_SECONDS),
        core_hours=core_seconds / 3600,
        nodes=nodes,
        workers=workers,
        acceptance=acceptance,
        shares={name: tried.share(Band(name, *limits)) for name, limits in regions.items()},
        noise_ratio=float(tried.noise.mean() / measure.denominator) if measure and len(tried.noise) else None,
    )


def warnings(spec: BuildSpec) -> tuple[str, ...]:
    """What a user should know of a spec before a build, one line each, from a few candidates of the pilot's stream."""
    source = source_of(spec)
    return *_without_loss(source.row_format), *source.warnings((spec.seed, STREAMS["pilot"]))


def _without_loss(rows: RowFormat) -> Iterator[str]:
    """A warning of rows of which a model reads nothing but what nothing predicts."""
    if rows.unpredictable >= rows.seq_len:
        yield (
            f"no token has a loss by default: nothing predicts the first {rows.unpredictable} of a row, and a model"
            f" reads {rows.seq_len}: use --seq-len {rows.unpredictable + 1} or more"
        )


def _row_cost(spec: BuildSpec, batch: Batch, file_format: str) -> tuple[float, float]:
    """Seconds and bytes of one row beyond its score: the rest of its tokens, its file, the hashes."""
    begun = time.perf_counter()
    rows = batch.rows(np.arange(len(batch.candidates)))
    _, data = pack(spec, file_format, "train", "pilot", 0, rows, Tally(kept=len(rows)))
    size = File.of(data, file_format).bytes
    return (time.perf_counter() - begun) / len(rows), size / len(rows)


def _out_of_reach(row: str, measure: Measure, band: Band, scores: np.ndarray, noise: np.ndarray) -> NcagenError:
    scale = float(measure.denominator)
    seen = scores / scale
    pure = ""
    if len(noise):
        pure = f"pure noise scores {noise.mean() / scale:.3f} there (at most {noise.max() / scale:.3f}), and "
    return NcagenError(
        f"band {band.name} ({band.text(measure)}) is out of reach of {row}:"
        f" {pure}{len(scores)} candidates scored"
        f" {seen.min():.3f} to {seen.max():.3f}, half of them {np.median(seen):.3f} or more: use a band within that"
    )
