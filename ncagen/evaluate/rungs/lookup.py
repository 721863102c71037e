"""The lookup: what followed the same neighbourhood earlier in the row, with back-off to smaller neighbourhoods.

A cell's next state is predicted from its 3 x 3 neighbourhood, then from the cross of 5 cells, the cell itself, and the
row's histogram of cells. Each level is smoothed with the next one (Witten and Bell, as in `counts`); `lookup_kernels`
does the arithmetic. Not covered: anything that generalises between neighbourhoods (`fitted`).
"""

from collections.abc import Callable

import numpy as np

from ncagen.evaluate.rungs.counts import histogram
from ncagen.evaluate.rungs.lookup_kernels import predict
from ncagen.evaluate.rungs.scores import Scores, of_cells
from ncagen.evaluate.sample import GridSample

MOST_COUNTS = 2**23  # numbers in the largest array: rows are taken together up to that


def lookup(sample: GridSample, done: Callable[[int], object]) -> Scores:
    """Predicts each cell from the transitions that the row has shown before."""
    shape, cells = sample.shape, sample.cells
    probability = histogram(sample)
    together = max(1, MOST_COUNTS // (sample.grids * shape.cells * shape.states))
    parts = []
    for first in range(0, len(sample), together):
        some = slice(first, first + together)
        parts.append(_predicted(cells[some], probability[some]))
        done(len(cells[some]))
    nats, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    return of_cells(shape, nats, right)


def _predicted(cells: np.ndarray, histograms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses and hits of the cells of some rows: float64 and bool [row, grid - 1, cell].

    cells: uint8[row, grid, y, x]. histograms: float64[row, grid - 1, state], the weakest prediction of each grid.
    """
    rows, grids = cells.shape[:2]
    states = histograms.shape[2]
    after = np.ascontiguousarray(cells[:, 1:]).reshape(rows, grids - 1, -1)
    levels = tuple(level.reshape(rows, grids - 1, -1) for level in neighbourhoods(cells[:, :-1]))
    counts = tuple(np.zeros((level.max() + 1, states), np.int32) for level in levels)
    chance, right = np.empty(after.shape), np.empty(after.shape, bool)
    predict(after, levels, counts, np.ascontiguousarray(histograms), np.empty(states), chance, right)
    return -np.log(chance), right


def neighbourhoods(cells: np.ndarray) -> list[np.ndarray]:
    """Numbers for the neighbourhoods of cells on a torus: equal in one row if and only if they are equal.

    cells: uint8[row, grid, y, x]. Returns int64[row, grid, y, x] for the cell itself, the cross of 5, and 3 x 3; each
    level's numbers begin with 0 and count those of all rows.
    """
    row = np.arange(len(cells))[:, None, None, None]
    centre = row * 256 + cells
    cross = corners = np.zeros(cells.shape, np.int64)
    for away, axis in ((1, 2), (-1, 2), (1, 3), (-1, 3)):
        cross = cross * 256 + np.roll(cells, away, axis).astype(np.int64)
    for both in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        corners = corners * 256 + np.roll(cells, both, (2, 3)).astype(np.int64)
    centre = _numbered(centre)
    cross = _numbered(centre << 32 | cross)
    return [centre, cross, _numbered(cross << 32 | corners)]


def _numbered(values: np.ndarray) -> np.ndarray:
    """Each value as its number among the different ones, in rising order; same shape."""
    return np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int64)
