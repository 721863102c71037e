"""What a build will take, from a short pilot: candidates, bytes, time; and whether its bands can be reached at all.

The pilot tries candidates of a stream of its own, so it never touches the dataset's rules. How many depends on the
spec alone, so that every machine refuses the same bands. Its times are measured here and now and are estimates; its
lengths are exact.
"""

import time
from dataclasses import dataclass

import numpy as np

from ncagen import philox
from ncagen.dataset.manifest import SPLITS
from ncagen.dataset.shard import Rows
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import describe, pack
from ncagen.selection import Tally, inside, ratios
from ncagen.sources.nca import selfcheck
from ncagen.sources.nca import source as nca
from ncagen.spec import BANDS, Band, Spec

# Candidates of a pilot, and those that are tried before a band that none fell into is called out of reach; fewer, by
# the work that a candidate is, where these would take more than about 2 and 20 seconds of a core.
PILOT_CANDIDATES, PILOT_WORK = 2048, 2 * 10**9
SEARCH_CANDIDATES, SEARCH_WORK = 65536, 20 * 10**9
BATCH = 256
DRIVER_SECONDS = 0.003  # that handing out a shard takes on a cluster; measured by benchmarks/engines.py
NOISE_SAMPLES = 64


@dataclass(frozen=True)
class Pilot:
    """lengths: int32[candidate], exact gzip bytes. noise: the same of pure noise. Seconds are of one core."""

    spec: Spec
    lengths: np.ndarray
    noise: np.ndarray
    candidate_seconds: float
    row_seconds: float
    row_bytes: float

    def share(self, band: Band) -> float:
        """The share of candidates in a band."""
        return float(inside(self.spec, band, self.lengths).mean())


@dataclass(frozen=True)
class Plan:
    """What a build will take. Counts of rows and shards are exact, the others are estimates."""

    rows: int
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
    noise_ratio: float


def noise_lengths(spec: Spec) -> np.ndarray:
    """Gzip lengths of grids whose cells are drawn uniformly: as complex as this alphabet gets. int32[sample]."""
    tokens = spec.scored_frames * spec.patches
    numbers = np.arange(NOISE_SAMPLES, dtype=np.uint64)
    cells = tokens * spec.patch**2
    draws = philox.words(0, philox.STREAMS["pilot"], philox.START_CELLS, numbers, cells).astype(np.uint64)
    digits = (draws * np.uint64(spec.states) >> np.uint64(16)).reshape(NOISE_SAMPLES, tokens, -1)
    powers = spec.states ** np.arange(spec.patch**2, dtype=np.uint64)
    return token_gzip_lengths((digits @ powers).astype(spec.token_dtype))


def warm_up(spec: Spec) -> None:
    """Compiles the kernels that a build needs, or loads them, and checks what they compute. Raises SelfCheckFailed."""
    selfcheck.check(spec)


def trials(spec: Spec) -> tuple[int, int]:
    """How many candidates a pilot tries, and how many at most before it gives a band up: whole batches.

    Both follow from the work of a candidate, in units of about a nanosecond of a core: an addition for each cell, state
    and step, and the search for matches, which grows with the square of the scored bytes within gzip's window. The
    factor of it was measured (docs/log.md).
    """
    steps = spec.warmup + (spec.scored_frames - 1) * spec.stride
    work = steps * spec.grid**2 * spec.states + spec.scored_bytes * min(spec.scored_bytes, 32768) // 80
    few = min(PILOT_CANDIDATES, max(BATCH, PILOT_WORK // work // BATCH * BATCH))
    return few, min(SEARCH_CANDIDATES, max(few, SEARCH_WORK // work // BATCH * BATCH))


def pilot(spec: Spec, storage: str = "parquet") -> Pilot:
    """Tries a few thousand candidates. Raises NcagenError for a band that cannot be reached.

    Where a band gets none of them, more are tried before it is given up.
    """
    stream = philox.STREAMS["pilot"]
    warm_up(spec)
    noise = noise_lengths(spec)
    lengths: list[np.ndarray] = []
    few, most = trials(spec)
    begun = time.perf_counter()
    while True:
        first = sum(map(len, lengths))
        if first >= few:
            seen = np.concatenate(lengths)
            missing = [band for band in spec.bands if not inside(spec, band, seen).any()]
            hopeless = [band for band in missing if band.low * spec.scored_bytes > noise.max()]
            if hopeless or (missing and first >= most):
                raise _out_of_reach(spec, (hopeless or missing)[0], seen, noise)
            if not missing:
                break
        lengths.append(nca.batch(spec, stream, np.arange(first, first + BATCH, dtype=np.uint64)).lengths)
    candidate_seconds = (time.perf_counter() - begun) / len(seen)
    each = BATCH // len(spec.bands) + 1
    kept = np.concatenate([np.flatnonzero(inside(spec, band, seen))[:each] for band in spec.bands])
    row_seconds, row_bytes = _row_cost(spec, nca.batch(spec, stream, kept.astype(np.uint64)), storage)
    return Pilot(spec, seen, noise, candidate_seconds, row_seconds, row_bytes)


def plan(spec: Spec, workers: int, nodes: int, tried: Pilot) -> Plan:
    """The whole build from its pilot, on a number of machines like this one with so many workers each."""
    acceptance = {band.name: tried.share(band) for band in spec.bands}
    rows = sum(spec.rows(split) for split in SPLITS)
    candidates = rows / min(acceptance.values())
    core_seconds = candidates * tried.candidate_seconds + rows * len(spec.bands) * tried.row_seconds
    shards = sum(spec.shards(split) for split in SPLITS)
    rounds = -(-shards // (workers * nodes))  # the last of them may leave most workers without a shard
    return Plan(
        rows=rows * len(spec.bands),
        shards=shards,
        files=shards * len(spec.bands),
        candidates=round(candidates),
        bytes=round(rows * len(spec.bands) * tried.row_bytes),
        seconds=max(core_seconds / shards * rounds, shards * DRIVER_SECONDS),
        core_hours=core_seconds / 3600,
        nodes=nodes,
        workers=workers,
        acceptance=acceptance,
        shares={name: tried.share(Band(name, *limits)) for name, limits in {"below": (0.0, 0.2), **BANDS}.items()},
        noise_ratio=float(tried.noise.mean() / spec.scored_bytes),
    )


def _row_cost(spec: Spec, batch: nca.Batch, storage: str) -> tuple[float, float]:
    """Seconds and bytes of one row beyond its score: the rest of its trajectory, its file, the hashes."""
    begun = time.perf_counter()
    ids = nca.rows(batch, np.arange(len(batch.candidates)))
    rows = Rows(ids, batch.candidates, batch.lengths, ratios(spec, batch.lengths))
    _, data = pack(spec, storage, "train", "pilot", 0, rows, Tally(kept=len(ids)))
    size = describe(data).bytes
    return (time.perf_counter() - begun) / len(ids), size / len(ids)


def _out_of_reach(spec: Spec, band: Band, lengths: np.ndarray, noise: np.ndarray) -> NcagenError:
    seen, top = lengths / spec.scored_bytes, noise.max() / spec.scored_bytes
    return NcagenError(
        f"band {band.name} ({band.low:g} to {band.high:g}) is out of reach with {spec.states} states: pure noise scores"
        f" {noise.mean() / spec.scored_bytes:.3f} there (at most {top:.3f}), and {len(lengths)} candidates scored"
        f" {seen.min():.3f} to {seen.max():.3f}, half of them {np.median(seen):.3f} or more: use a band within that"
    )
