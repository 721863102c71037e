"""Makes the rows of one shard number, batch by batch: tries candidates in order, or repeats known ones.

Shard k tries the candidates k * 2**32, k * 2**32 + 1, ... in order, and each band keeps the first that fall into it,
until all bands have their rows. So what a shard holds depends on the spec and k alone. Whoever keeps the choices (a
receipt) can have the rows again without the candidates between them. This module knows no file and no other shard.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ncagen.dataset.shard import SHARD_CANDIDATES
from ncagen.errors import NcagenError
from ncagen.philox import STREAMS
from ncagen.row_format import Rows, band_measure
from ncagen.selection import Band, Tally, choose
from ncagen.sources import source_of
from ncagen.sources.source import Batch, OutOfDeviceMemory, Source
from ncagen.spec import BuildSpec

FEWEST_CANDIDATES = 16  # a batch has a cost of its own
# Of the rows that a source makes in one call, so that its memory is bounded where rows are long: 256 rows of 16,384.
MOST_TOKENS = 2**22


class Step(NamedTuple):
    """What one batch gave: how many candidates were run, and the rows of the bands that kept any."""

    candidates: int
    kept: dict[Band, Rows]


def search(
    spec: BuildSpec, split: str, shard: int, wanted: int, tallies: Mapping[Band, Tally], device: str = "cpu"
) -> Iterator[Step]:
    """The first `wanted` rows of a shard in each band, from one pass over its candidates; counts into `tallies`.

    Raises NcagenError where the shard runs out of candidates, or the device does not compute what ncagen defines.
    """
    source = source_of(spec)
    source.check(device)
    measure = band_measure(source.measures)
    limits = {band: band.limits(measure) for band in tallies}
    tried = 0
    while unfilled := [band for band in tallies if tallies[band].kept < wanted]:
        needed = _candidates_needed([tallies[band] for band in unfilled], wanted)
        size = max(FEWEST_CANDIDATES, min(source.batch_candidates(device), needed))
        if tried + size > SHARD_CANDIDATES:
            raise NcagenError(f"shard {shard} has no candidates left: {unfilled[0].name} is too rare for this spec")
        first = shard * SHARD_CANDIDATES + tried
        candidates = np.arange(first, first + size, dtype=np.uint64)
        at_least = min(limits[band][0] for band in unfilled)
        try:
            batch = source.batch((spec.seed, STREAMS[split]), candidates, at_least, device)
        except OutOfDeviceMemory:
            continue
        kept = {}
        for band in unfilled:
            chosen = choose(limits[band], batch.score, wanted - tallies[band].kept, tallies[band])
            if len(chosen):
                kept[band] = rows_of(source, batch, chosen)
        yield Step(size, kept)
        tried += size


def repeat(spec: BuildSpec, split: str, known: Mapping[Band, np.ndarray], device: str = "cpu") -> Iterator[Step]:
    """The rows of known candidates of each band. known: uint64[row]. Raises NcagenError as `search` does."""
    source = source_of(spec)
    source.check(device)
    for band, candidates in known.items():
        first = 0
        while first < len(candidates):
            some = candidates[first : first + source.batch_candidates(device)]
            try:
                batch = source.batch((spec.seed, STREAMS[split]), some, device=device)
            except OutOfDeviceMemory:
                continue
            yield Step(len(some), {band: rows_of(source, batch, np.arange(len(some)))})
            first += len(some)


def rows_of(source: Source, batch: Batch, chosen: np.ndarray) -> Rows:
    """The rows of some candidates of a batch, made so many at a time as MOST_TOKENS allows. chosen: int64[row]."""
    size = max(1, MOST_TOKENS // source.row_format.row_tokens)
    if len(chosen) <= size:
        return batch.rows(chosen)
    return Rows.concatenate(batch.rows(chosen[first : first + size]) for first in range(0, len(chosen), size))


def _candidates_needed(unfilled: list[Tally], wanted: int) -> int:
    """About as many candidates as the scarcest band still takes."""
    return max((wanted - tally.kept) * max(tally.tried, 1) // max(tally.kept, 1) for tally in unfilled)
