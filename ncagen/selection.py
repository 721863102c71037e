"""Gzip lengths to bands: which candidates a band keeps, and by what name it rejects the others.

Only integers are compared. The length itself comes from `score`.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.spec import Band, Spec


@dataclass
class Tally:
    """Counts over the candidates a band has seen, up to the last one it kept."""

    kept: int = 0
    below: int = 0
    above: int = 0

    @property
    def tried(self) -> int:
        """All candidates seen."""
        return self.kept + self.below + self.above


def inside(spec: Spec, band: Band, lengths: np.ndarray) -> np.ndarray:
    """Which gzip lengths are in the band. lengths: int32[candidate]. Returns bool[candidate]."""
    first, end = band.lengths(spec.scored_bytes)
    return (lengths >= first) & (lengths < end)


def choose(spec: Spec, band: Band, lengths: np.ndarray, wanted: int, tally: Tally) -> np.ndarray:
    """The first `wanted` candidates in the band, as indices into lengths: int32[candidate]; counts into `tally`.

    A length of 0 stands for "proven to be below every band" and is below this one.
    """
    first, end = band.lengths(spec.scored_bytes)
    chosen = np.flatnonzero(inside(spec, band, lengths))[:wanted]
    seen = lengths[: chosen[-1] + 1] if len(chosen) == wanted else lengths
    tally.kept += len(chosen)
    tally.below += int((seen < first).sum())
    tally.above += int((seen >= end).sum())
    return chosen


def ratio_counts(ratios: np.ndarray) -> np.ndarray:
    """How many ratios lie in each two hundredths from 0 on: int64[bin]. ratios: float[row].

    A ratio on a bin's limit belongs above it, however it was rounded.
    """
    return np.bincount(np.floor(ratios * 50 + 1e-6).astype(np.int64))


def ratios(spec: Spec, lengths: np.ndarray) -> np.ndarray:
    """Gzip ratio, compressed bytes by scored bytes. lengths: int32[row]. Returns float32[row]."""
    return (lengths / spec.scored_bytes).astype(np.float32)
