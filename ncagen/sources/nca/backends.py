"""What runs candidates: the protocol `Backend`, and `CPU`, the one of this machine's processor.

A backend draws rules and start grids, runs them through the grids that are scored, and runs the kept ones to the end of
their rows. All backends give the same integers. Not covered: other columns than tokens (`batch`), and CUDA (`gpu`).
"""

from typing import Protocol

import numpy as np

from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources import grid_tokens
from ncagen.sources.nca import cpu
from ncagen.sources.nca.facts import stores_oracle
from ncagen.sources.nca.rollout import rollout
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import Settings
from ncagen.sources.source import Stage


class Trajectories(Protocol):
    """Candidates that were run through their scored grids.

    lengths: int32[candidate], their gzip lengths in bytes, or 0 where proven to be below `at_least`; None where bands
    select by another measure.
    """

    lengths: np.ndarray | None

    def patches(self) -> np.ndarray:
        """Returns the patches of scored grids: uint16 or uint32 [candidate, frame, patch]."""

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Runs candidates to the end of their rows. chosen: int64[row]. Returns uint16 or uint32 [row, token]."""

    def entropy_sums(self, chosen: np.ndarray) -> np.ndarray:
        """Adds up the entropy of rows, without their first grid, after `rows`. Returns int64[row], as `cpu.rollout`."""


class Backend(Protocol):
    """Runs candidates."""

    @property
    def name(self) -> str:
        """The device, as in --device."""

    def start(
        self, settings: Settings, key: tuple[int, int], candidates: np.ndarray, at_least: int, stage: Stage
    ) -> Trajectories:
        """Draws candidates, runs them through their scored grids, and scores them if bands select by the gzip length.

        key: seed and stream. candidates: uint64[candidate]. at_least: gzip bytes; a length that is provably smaller may
        be returned as 0. Raises OutOfDeviceMemory where fewer candidates would fit.
        """

    def batch_candidates(self, settings: Settings) -> int:
        """Returns the recommended limit of candidates in a batch."""

    def tables(self) -> dict[str, np.ndarray]:
        """Returns the tables to draw from, with the names and dtypes of `cpu.tables`."""

    def __hash__(self) -> int: ...


class _Cpu:
    """The kernels of `cpu`, on one core for each thread that calls."""

    name = "cpu"

    def start(
        self, settings: Settings, key: tuple[int, int], candidates: np.ndarray, at_least: int, stage: Stage
    ) -> "_OfCpu":
        return _OfCpu(settings, key, candidates, at_least, stage)

    def batch_candidates(self, settings: Settings) -> int:
        return cpu.batch_candidates(settings)

    def tables(self) -> dict[str, np.ndarray]:
        return cpu.tables()


CPU = _Cpu()


class _OfCpu:
    """Trajectories of `CPU`. drawn: their weights. grids: uint8[candidate, frame, cell], the scored ones."""

    def __init__(self, settings: Settings, key: tuple[int, int], candidates: np.ndarray, at_least: int, stage: Stage):
        self._settings, self._key, self._candidates = settings, key, candidates
        with stage("rules"):
            self.drawn, starts = cpu.sample(settings, key, candidates)
        self._entropy = None
        if stores_oracle(settings):
            self._entropy = np.zeros((len(candidates), settings.scored_frames), np.int64)
        with stage("rollout"):
            first = 0, settings.scored_frames
            self.grids = rollout(settings, key, candidates, self.drawn, starts, *first, self._entropy)
        with stage("tokens"):
            self._patches = cpu.patch_tokens(settings, self.grids)
        self.lengths: np.ndarray | None = None
        self._rest: np.ndarray | None = None
        if settings.measure == "gzip":
            with stage("score"):
                self.lengths = token_gzip_lengths(self._patches.reshape(len(candidates), -1), at_least)

    def patches(self) -> np.ndarray:
        return self._patches

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        settings, first = self._settings, self._settings.scored_frames
        parts = [self._patches[chosen]]
        if settings.frames > first:
            drawn = Rules(*(weights[chosen] for weights in self.drawn))
            self._rest = None
            if self._entropy is not None:
                self._rest = np.zeros((len(chosen), settings.frames - first), np.int64)
            last, count = self.grids[chosen, -1], settings.frames - first
            rest = rollout(settings, self._key, self._candidates[chosen], drawn, last, first, count, self._rest)
            parts.append(cpu.patch_tokens(settings, rest))
        return grid_tokens.rows(settings, *parts)

    def entropy_sums(self, chosen: np.ndarray) -> np.ndarray:
        assert self._entropy is not None  # without the column nobody asks
        rest = 0 if self._rest is None else self._rest.sum(axis=1)
        return self._entropy[chosen, 1:].sum(axis=1) + rest
