"""The counts of `lookup` as a compiled kernel: the same predictions as by NumPy, without arrays of all states."""

import numpy as np

from ncagen.kernels import inlined, kernel

_ONE = np.int32(1)


@kernel
def predict(after, levels, counts, histograms, p, chance, right):
    """Predicts the cells of each grid from those before it, then counts the grid.

    after: uint8[row, grid, cell], the states to predict. levels: int64[row, grid, cell] each, numbers of
    neighbourhoods, the weakest prediction first. counts: int32[number, state] for each level, zeros, filled.
    histograms: float64[row, grid, state], what the first level is mixed with. p: float64[state], scratch. chance:
    float64[row, grid, cell], gets the probability of the state. right: bool[row, grid, cell], whether the state is the
    first of the most probable.
    """
    rows, grids, cells = after.shape
    weak, middle, strong = levels
    weak_counts, middle_counts, strong_counts = counts
    for r in range(np.uint64(rows)):
        for g in range(np.uint64(grids)):
            for c in range(np.uint64(cells)):
                for s in range(np.uint64(len(p))):
                    p[s] = histograms[r, g, s]
                mix(p, weak_counts, np.uint64(weak[r, g, c]))
                mix(p, middle_counts, np.uint64(middle[r, g, c]))
                mix(p, strong_counts, np.uint64(strong[r, g, c]))
                chance[r, g, c] = p[after[r, g, c]]
                right[r, g, c] = _likeliest(p) == after[r, g, c]
            for c in range(np.uint64(cells)):
                weak_counts[np.uint64(weak[r, g, c]), after[r, g, c]] += _ONE
                middle_counts[np.uint64(middle[r, g, c]), after[r, g, c]] += _ONE
                strong_counts[np.uint64(strong[r, g, c]), after[r, g, c]] += _ONE


@inlined
def mix(p, counts, number):
    """Mixes a prediction with the counts of a neighbourhood, Witten-Bell; it stays where there are none.

    p: float64[state], changed. counts: int32[number, state]. number: of the neighbourhood.
    """
    total, distinct = np.int64(0), np.int64(0)
    for s in range(np.uint64(len(p))):
        total += np.int64(counts[number, s])
        distinct += np.int64(counts[number, s] > 0)
    if total > 0:
        share, whole = np.float64(distinct), np.float64(total + distinct)
        for s in range(np.uint64(len(p))):
            p[s] = (np.float64(counts[number, s]) + share * p[s]) / whole


@inlined
def _likeliest(p):
    """Returns the first of the most probable states."""
    best = np.uint64(0)
    for s in range(np.uint64(1), np.uint64(len(p))):
        if p[s] > p[best]:
            best = np.uint64(s)
    return best
