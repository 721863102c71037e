"""Predictors that count: uniform, unigram, a row's cells, its patches, and the copy of an earlier grid.

Counts are of the grids before the predicted one. Witten-Bell smoothing mixes counts with a weaker prediction q:
P(x) = (count(x) + D q(x)) / (N + D), N counts of D different values (Witten and Bell, IEEE Trans. Inf. Theory 37,
1991, method C). Not covered: neighbourhoods (`lookup`).
"""

import math
from collections.abc import Callable

import numpy as np

from ncagen.evaluate.rungs.scores import Scores, of_cells, without_first
from ncagen.evaluate.sample import GridSample, Sample

LONGEST_COPY = 8  # grids back
HALF = 0.5  # added to each count of a cell's states: Krichevsky and Trofimov


def uniform(sample: Sample, done: Callable[[int], object]) -> Scores:
    """Predicts every id with the same probability."""
    shape = (len(sample), sample.grids - 1, 1)
    done(len(sample))
    return without_first(np.full(shape, math.log(sample.ids)), np.full(shape, 1 / sample.ids))


def unigram(sample: Sample, done: Callable[[int], object]) -> Scores:
    """Predicts the frequencies of ids in the dataset's other rows, Witten-Bell with uniform.

    The row itself is left out of the counts; accuracy is that of their most frequent id.
    """
    ids, totals = sample.corpus
    nats, right = np.empty((2, *sample.patches[:, 1:].shape))
    for row, patches in enumerate(sample.patches[:, 1:]):
        own, counts = np.unique(patches, return_counts=True)
        others = totals.copy()
        others[np.searchsorted(ids, own)] -= counts
        values = others[np.searchsorted(ids, patches)]
        total, distinct = others.sum(), (others > 0).sum()
        backed = (values + max(distinct, 1) / sample.ids) / (total + max(distinct, 1))
        nats[row], right[row] = -np.log(backed), patches == ids[others.argmax()]
        done(1)
    return without_first(nats, right)


def cell_histogram(sample: GridSample, done: Callable[[int], object]) -> Scores:
    """Predicts each cell by how often the row had each state."""
    done(len(sample))
    return of_cells(sample.shape, *cells_by_histogram(sample))


def cells_by_histogram(sample: GridSample) -> tuple[np.ndarray, np.ndarray]:
    """Losses and hits of the cell histogram: float64 and bool [row, grid - 1, cell]."""
    probability = histogram(sample)
    after = sample.cells[:, 1:].reshape(len(sample), sample.grids - 1, -1)
    nats = -np.log(np.take_along_axis(probability, after.astype(np.int64), axis=2))
    return nats, after == probability.argmax(axis=2)[..., None]


def histogram(sample: GridSample) -> np.ndarray:
    """The shares of states in the grids before each, with HALF added to each count: float64[row, grid - 1, state]."""
    rows, grids = sample.cells.shape[:2]
    states = sample.shape.states
    at = np.arange(rows * grids)[:, None] * states + sample.cells.reshape(rows * grids, -1)
    counts = np.bincount(at.ravel(), minlength=rows * grids * states).reshape(rows, grids, states)
    before = counts.cumsum(axis=1)[:, :-1] + HALF
    return before / before.sum(axis=2, keepdims=True)


def patch_histogram(sample: Sample, done: Callable[[int], object]) -> Scores:
    """Predicts each patch by how often the row had it, Witten-Bell with the cell histogram (uniform without cells)."""
    weaker = _weaker(sample)
    nats, right = np.empty((2, *sample.patches[:, 1:].shape))
    for row, patches in enumerate(sample.patches):
        ids, index = np.unique(patches, return_inverse=True)
        index = index.reshape(patches.shape)
        counts = np.zeros(len(ids), np.int64)
        for grid in range(1, sample.grids):
            counts += np.bincount(index[grid - 1], minlength=len(ids))
            distinct, after = (counts > 0).sum(), index[grid]
            backed = (counts[after] + distinct * weaker[row, grid - 1]) / (counts.sum() + distinct)
            nats[row, grid - 1], right[row, grid - 1] = -np.log(backed), after == counts.argmax()
        done(1)
    return without_first(nats, right)


def copy(sample: Sample, done: Callable[[int], object]) -> Scores:
    """Predicts the patch at the same place of an earlier grid, the most right so far of the last LONGEST_COPY.

    P(x) = p [x is the copy] + (1 - p) q(x), p the share of copies that were right, with HALF added to right and wrong
    ones, and q the cell histogram, or uniform without cells. Accuracy is that of the copy.
    """
    weaker, patches = _weaker(sample), sample.patches
    hits, tried = _copies(patches)
    nats, right = np.empty((2, *patches[:, 1:].shape))
    for grid in range(1, sample.grids):
        share = (hits[:, :grid].sum(axis=1) + HALF) / (tried[:grid].sum(axis=0) + 2 * HALF)
        share[:, 1:] *= tried[:grid].sum(axis=0)[1:] > 0  # no distance is chosen before it was tried, but the first
        back = share.argmax(axis=1)
        equal = patches[np.arange(len(sample)), grid - 1 - back] == patches[:, grid]
        best = share.max(axis=1)[:, None]
        nats[:, grid - 1] = -np.log(best * equal + (1 - best) * weaker[:, grid - 1])
        right[:, grid - 1] = equal
    done(len(sample))
    return without_first(nats, right)


def _copies(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many patches of each grid equal those 1, 2, ... grids before: int64[row, grid, distance - 1].

    And how many there are to compare: int64[grid, distance - 1].
    """
    rows, grids, size = patches.shape
    hits, tried = np.zeros((rows, grids, LONGEST_COPY), np.int64), np.zeros((grids, LONGEST_COPY), np.int64)
    for back in range(1, min(LONGEST_COPY, grids - 1) + 1):
        hits[:, back:, back - 1] = (patches[:, back:] == patches[:, :-back]).sum(axis=2)
        tried[back:, back - 1] = size
    return hits, tried


def _weaker(sample: Sample) -> np.ndarray:
    """The probability of each patch that followed under the cell histogram, or uniform without cells.

    Returns float64[row, grid - 1, patch].
    """
    if not isinstance(sample, GridSample):
        return np.full(sample.patches[:, 1:].shape, 1 / sample.ids)
    shape = sample.shape
    cells = np.exp(-cells_by_histogram(sample)[0])
    high, wide = shape.height // shape.patch_height, shape.width // shape.patch
    by_patch = cells.reshape(*cells.shape[:2], high, shape.patch_height, wide, shape.patch)
    return by_patch.prod(axis=(3, 5)).reshape(*cells.shape[:2], -1)
