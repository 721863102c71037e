"""The order of rows in an epoch: a pure function of dataset sizes, seed and epoch. NumPy only.

    key(number, epoch) = the first 64 bits of Philox at counter (0, epoch, number), key (seed, stream)

The row groups of a dataset stand in the order of their keys; every 16 of them in a row are a window, and the rows of
a window stand in the order of theirs. So any row may come at any place of an epoch, while a reader needs to hold one
window only, whatever the format. The rows of one dataset are independent draws, so this is as good as one shuffle of
all; where neighbours share a rule (`trajectories_per_rule`), a window parts them among 4,096 rows.

This knows nothing of ranks, batches or several datasets: see `stream` and `mixture`.
"""

from collections import OrderedDict

import numpy as np

from ncagen.automaton.rng import philox

ORDER_VERSION = 1
WINDOW = 16  # row groups

# Streams of Philox beyond those of the splits (automaton/rng.py).
GROUPS, ROWS, SLOTS = 16, 17, 18

_HELD_WINDOWS = 4


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


class Order:
    """Which row of a dataset stands at each position of each epoch."""

    def __init__(self, sizes: np.ndarray, seed: int = 0, shuffle: bool = True, window: int | None = WINDOW):
        """sizes: rows of each row group, int64[group]. window: row groups shuffled together, None for all."""
        self.length = int(sizes.sum())
        self._sizes, self._firsts = sizes, np.cumsum(sizes) - sizes
        self._seed, self._shuffle = seed, shuffle
        self._window = window or len(sizes)
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        self._windows: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The row numbers at positions of an epoch. positions: int64[n], each 0 to length - 1. Returns int64[n]."""
        if not self._shuffle:
            return positions
        groups, starts = self._groups(epoch)
        windows = np.searchsorted(starts, positions, side="right") - 1
        found = np.empty(len(positions), np.int64)
        for window in np.unique(windows):
            here = windows == window
            found[here] = self._rows_of(epoch, int(window), groups)[positions[here] - starts[window]]
        return found

    def _groups(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The row groups in the epoch's order, and the position at which each window starts."""
        if self._epoch is None or self._epoch[0] != epoch:
            groups = shuffled(self._seed, GROUPS, epoch, np.arange(len(self._sizes)))
            ends = np.cumsum(self._sizes[groups])
            self._epoch = epoch, groups, (ends - self._sizes[groups])[:: self._window]
        return self._epoch[1:]

    def _rows_of(self, epoch: int, window: int, groups: np.ndarray) -> np.ndarray:
        """The rows of a window in their order: int64[row]."""
        if (epoch, window) not in self._windows:
            some = groups[window * self._window : (window + 1) * self._window]
            rows = np.concatenate([np.arange(self._firsts[g], self._firsts[g] + self._sizes[g]) for g in some])
            # Their keys decide, whatever order they are gathered in; sorted, so that equal keys are told apart alike.
            self._windows[epoch, window] = shuffled(self._seed, ROWS, epoch, np.sort(rows))
            if len(self._windows) > _HELD_WINDOWS:
                self._windows.popitem(last=False)
        return self._windows[epoch, window]
