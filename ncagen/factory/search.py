"""One shard number to its rows, batch by batch: by trying candidates in order, or by repeating known ones.

Shard k tries the candidates k * 2**32, k * 2**32 + 1, ... in order, and each band keeps the first that fall into it,
until all bands have their rows. So what a shard holds depends on the spec and k alone. Who keeps the choices (a
receipt) can have the rows again without the candidates between them. Nothing here knows a file or another shard.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ncagen.dataset.shard import SHARD_CANDIDATES, Rows
from ncagen.errors import NcagenError
from ncagen.philox import STREAMS
from ncagen.selection import Tally, choose, ratios
from ncagen.sources.nca import cpu
from ncagen.sources.nca import source as nca
from ncagen.sources.nca.selfcheck import check
from ncagen.spec import Band, Spec

FEWEST_CANDIDATES = 16  # a batch has a cost of its own


class Step(NamedTuple):
    """What one batch gave: how many candidates were run, and the rows of the bands that kept any."""

    candidates: int
    kept: dict[Band, Rows]


def search(
    spec: Spec, split: str, shard: int, wanted: int, tallies: Mapping[Band, Tally], backend: nca.Backend = cpu
) -> Iterator[Step]:
    """The first `wanted` rows of a shard in each band, from one pass over its candidates; counts into `tallies`.

    Raises NcagenError where the shard runs out of candidates, or the backend is not what ncagen defines.
    """
    check(spec, backend)
    tried = 0
    while unfilled := [band for band in tallies if tallies[band].kept < wanted]:
        needed = _candidates_needed([tallies[band] for band in unfilled], wanted)
        size = max(FEWEST_CANDIDATES, min(backend.batch_candidates(spec), needed))
        if tried + size > SHARD_CANDIDATES:
            raise NcagenError(f"shard {shard} has no candidates left: {unfilled[0].name} is too rare for this spec")
        first = shard * SHARD_CANDIDATES + tried
        at_least = min(band.lengths(spec.scored_bytes)[0] for band in unfilled)
        batch = nca.batch(spec, STREAMS[split], np.arange(first, first + size, dtype=np.uint64), at_least, backend)
        yield Step(size, dict(_kept(batch, wanted, {band: tallies[band] for band in unfilled}, backend)))
        tried += size


def repeat(spec: Spec, split: str, known: Mapping[Band, np.ndarray], backend: nca.Backend = cpu) -> Iterator[Step]:
    """The rows of known candidates of each band. known: uint64[row]. Raises NcagenError as `search` does."""
    check(spec, backend)
    size = backend.batch_candidates(spec)
    for band, candidates in known.items():
        for first in range(0, len(candidates), size):
            batch = nca.batch(spec, STREAMS[split], candidates[first : first + size], backend=backend)
            yield Step(len(batch.candidates), {band: _rows(batch, np.arange(len(batch.candidates)), backend)})


def _kept(
    batch: nca.Batch, wanted: int, tallies: Mapping[Band, Tally], backend: nca.Backend
) -> Iterator[tuple[Band, Rows]]:
    """What each band keeps of a batch, where it keeps anything."""
    for band, tally in tallies.items():
        chosen = choose(batch.spec, band, batch.lengths, wanted - tally.kept, tally)
        if len(chosen):
            yield band, _rows(batch, chosen, backend)


def _rows(batch: nca.Batch, chosen: np.ndarray, backend: nca.Backend) -> Rows:
    lengths = batch.lengths[chosen]
    return Rows(nca.rows(batch, chosen, backend), batch.candidates[chosen], lengths, ratios(batch.spec, lengths))


def _candidates_needed(unfilled: list[Tally], wanted: int) -> int:
    """About as many candidates as the scarcest band still takes."""
    return max((wanted - tally.kept) * max(tally.tried, 1) // max(tally.kept, 1) for tally in unfilled)
