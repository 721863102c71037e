"""Measures learnable structure in integers: by how many cells a linear learner beats one that remembers.

gzip counts noise as complexity. Two learners without a free choice see the scored grids once, cell by cell: for the
grids t = 1, 2, ... and each cell in order they predict the cell from the 3 x 3 neighbourhood in the grid before (with
the positions 0 to 8 in row order, on the torus), and then see it.

    lookup   keeps an entry of a state and votes for each whole neighbourhood seen and for each cross (positions 1, 3,
             4, 5, 7), and counts of the states that followed each centre. It predicts the state of the whole
             neighbourhood's entry; without one that of the cross's; without one the state that first reached the
             centre's highest count, or 0. The cell's state then votes in both entries: one vote more if it is the
             entry's; one less if not, unless there is only one, when it takes the entry over with one vote.
    linear   has weights[position, neighbour's state, state], all 0. z[s] is the sum of the nine weights of s. It
             predicts the lowest s of the largest z. Let r be the lowest s of the largest z but the cell's state y. If
             z[r] + MARGIN >= z[y], then the nine weights of y rise by one and those of r fall by one.

The gap is the number of cells that linear predicts right minus that of lookup, at least 0. A neighbourhood is the sum
of state * states**position modulo 2**64. All values are integers, so the gap is exact on every platform; the ratio is
the gap by the number of predicted cells. Not covered: losses in nats (`ncagen.evaluate`).
"""

import numpy as np

from ncagen.sources.nca import structure_kernels
from ncagen.sources.nca.settings import Settings


def neighbours(settings: Settings) -> np.ndarray:
    """Returns the cells around each cell, itself fourth, in row order: int64[cell, position]."""
    cells = np.arange(settings.cells).reshape(settings.height, settings.width)
    shifts = [(1 - row, 1 - column) for row in range(3) for column in range(3)]
    return np.stack([np.roll(cells, shift, axis=(0, 1)).ravel() for shift in shifts], axis=1)


def right_cells(settings: Settings, grids: np.ndarray) -> np.ndarray:
    """Counts the cells that both learners predict right.

    grids: uint8[row, frame, cell]. Returns int64[row, learner], lookup first.
    """
    rows, frames, cells = grids.shape
    states = settings.states
    entries = 1 << max(4, (2 * frames * cells).bit_length())  # less than half full, so a free entry is near
    pitch = -(-states // 16) * 16  # whole vectors
    right = np.zeros((rows, 2), np.int64)
    structure_kernels.right_cells(
        np.ascontiguousarray(grids),
        neighbours(settings),
        np.uint64(states),
        (np.empty(entries, np.uint64), np.empty(entries, np.int32), np.empty(entries, np.int32)),
        (np.empty(entries, np.uint64), np.empty(entries, np.int32), np.empty(entries, np.int32)),
        (np.empty(states, np.int32), np.empty((states, states), np.int32)),
        np.empty((9 * states, pitch), np.int32),
        np.empty(pitch, np.int32),
        right,
    )
    return right


def linear_gaps(settings: Settings, grids: np.ndarray) -> np.ndarray:
    """Computes the gap of rows. grids: uint8[row, frame, cell], the scored ones. Returns int32[row], cells."""
    lookup, linear = right_cells(settings, grids).T
    return np.maximum(linear - lookup, 0).astype(np.int32)
