"""Defines the order of rows in an epoch: a pure function of dataset sizes, seed and epoch. NumPy only.

    key(number, epoch) = the first 64 bits of Philox at counter (0, epoch, number), key (seed, stream)

The row groups of a dataset are sorted by their keys; every 16 consecutive ones are a window, and the rows of a window
are sorted by theirs. So any row may come at any position of an epoch, while a reader needs to hold only one window,
whatever the file format. The rows of one dataset are independent draws, so this is as good as one shuffle of all; where
neighbours share a rule (`trajectories_per_rule`), a window spreads them among 4,096 rows.

Ranks, batches and several datasets are not covered: see `stream` and `mixture`.
"""

from functools import partial

import numpy as np

from ncagen.dataset.gather import distinct
from ncagen.dataset.lru import LruCache
from ncagen.philox import philox

ORDER_VERSION = 2
WINDOW = 16  # row groups

# Streams of Philox beyond those of the splits (philox.py).
GROUPS, ROWS, SLOTS = 16, 17, 18

_HELD_EPOCHS, _HELD_WINDOWS = 2, 4


def keys(seed: int, stream: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """Random 64-bit numbers, addressed by number and epoch. numbers: int64[n]. Returns uint64[n]."""
    counter = np.zeros((len(numbers), 4), np.uint32)
    counter[:, 1] = epoch
    counter[:, 2] = numbers & 0xFFFFFFFF
    counter[:, 3] = numbers >> 32
    bits = philox(counter, (seed, stream)).astype(np.uint64)
    return bits[:, 0] | bits[:, 1] << np.uint64(32)


def shuffled(seed: int, stream: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """The numbers in the order of their keys; equal keys keep their order. numbers: int64[n], and so returned."""
    return numbers[np.argsort(keys(seed, stream, epoch, numbers), kind="stable")]


class Shuffle:
    """Maps each position of each epoch to a row of a dataset."""

    def __init__(self, sizes: np.ndarray, seed: int = 0, shuffle: bool = True, window: int | None = WINDOW):
        """sizes: rows of each row group, int64[group]. window: row groups shuffled together, None for all."""
        self.length = int(sizes.sum())
        self._sizes, self._firsts = sizes, np.cumsum(sizes) - sizes
        self._seed, self._shuffle = seed, shuffle
        self._window = window or len(sizes)
        self._epochs: LruCache[int, tuple[np.ndarray, np.ndarray]] = LruCache(_HELD_EPOCHS)
        self._windows: LruCache[tuple[int, int], np.ndarray] = LruCache(_HELD_WINDOWS)

    def rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The row numbers at positions of an epoch. positions: int64[n], each 0 to length - 1. Returns int64[n]."""
        if not self._shuffle:
            return positions
        groups, starts = self._epochs.get(epoch, lambda: self._groups(epoch))
        windows = np.searchsorted(starts, positions, side="right") - 1
        found = np.empty(len(positions), np.int64)
        for window in distinct(windows).tolist():
            here = windows == window
            some = groups[window * self._window : (window + 1) * self._window]
            rows = self._windows.get((epoch, window), partial(self._shuffled, epoch, some))
            found[here] = rows[positions[here] - starts[window]]
        return found

    def _groups(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The row groups in the epoch's order, and the position at which each window starts."""
        groups = shuffled(self._seed, GROUPS, epoch, np.arange(len(self._sizes)))
        sizes = self._sizes[groups]
        return groups, (np.cumsum(sizes) - sizes)[:: self._window]

    def _shuffled(self, epoch: int, groups: np.ndarray) -> np.ndarray:
        """The rows of a window's row groups in their order: int64[row]."""
        rows = np.concatenate([np.arange(self._firsts[g], self._firsts[g] + self._sizes[g]) for g in groups])
        # Their keys decide, whatever order they are gathered in; sorted, so that equal keys are told apart alike.
        return shuffled(self._seed, ROWS, epoch, np.sort(rows))
