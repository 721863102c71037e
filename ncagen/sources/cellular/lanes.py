"""Makes the arrays of a batch for `lane_kernels` and calls them: start grids, and rows from starts and rules.

Not covered: the definitions that these are compared with (`ncagen.sources.cellular.source`).
"""

import numpy as np

from ncagen.sources.cellular import lane_kernels
from ncagen.sources.patches import DELIMITERS, GridRows


def starts(shape: GridRows, threshold: int, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    """Draws start grids: uint8[candidate, y, x].

    threshold: a cell is 1 where its 16-bit word is below it. key: seed and stream. candidates: uint64[candidate].
    """
    words = np.empty(shape.cells + 8, np.uint16)
    cells = np.empty((len(candidates), shape.cells), np.uint8)
    lane_kernels.draw_starts(key, candidates, threshold, words, cells)
    return cells.reshape(len(candidates), shape.height, shape.width)


def rows(shape: GridRows, entries: int, rules: np.ndarray, starts: np.ndarray, warmup: int) -> np.ndarray:
    """Runs automata and returns their rows: uint16 or uint32 [row, token].

    entries: of a rule. rules: int32[row]. starts: uint8[row, y, x]. warmup: steps before the first recorded grid.
    """
    bordered = shape.height + 2, shape.width + 2
    grid, ones, twos = np.empty((3, *bordered), np.uint64)
    scratch = np.empty(entries, np.uint64), grid, grid.reshape(-1), ones, twos
    tokens = np.empty((len(rules), shape.frames * (shape.patches + DELIMITERS)), shape.token_dtype)
    times = warmup, shape.stride, shape.frames
    flat = np.ascontiguousarray(starts).reshape(len(rules), shape.cells)
    lane_kernels.trajectories(flat, rules, times, scratch, _order(shape), tokens)
    return tokens


def _order(shape: GridRows) -> np.ndarray:
    """Where the cells of each patch are in a bordered grid, the lowest digit first: uint64[digit, patch]."""
    deep, wide = shape.patch_height, shape.patch
    tops, lefts = np.mgrid[0 : shape.height : deep, 0 : shape.width : wide].reshape(2, 1, -1)
    y, x = np.mgrid[0:deep, 0:wide].reshape(2, -1, 1)
    return ((tops + y + 1) * (shape.width + 2) + lefts + x + 1).astype(np.uint64)
