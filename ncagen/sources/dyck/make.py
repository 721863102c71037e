"""Rows of bracket words by the kernels: arrays of the right shapes, and the rows that 64 bits cannot decide."""

from fractions import Fraction

import numpy as np

from ncagen.sources.dyck import counts, definition, kernels
from ncagen.sources.dyck.settings import Settings


def rows(settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    """Makes rows, as `definition.rows`: uint16[candidate, token]. key: seed and stream. candidates: uint64[candidate].

    A row in which 64 bits of a draw agree with a threshold, about one draw in 2**64, is made by the definition.
    """
    out = np.empty((len(candidates), settings.row_tokens), np.uint16)
    undecided = np.zeros(len(candidates), np.bool_)
    limits = np.array(
        [
            settings.k,
            settings.length,
            settings.min_length,
            settings.min_depth,
            settings.max_depth,
            settings.shuffle,
            settings.uniform,
            settings.cut,
        ],
        np.int64,
    )
    stack = np.empty(settings.max_depth + 2, np.int64)
    order, places, opened = np.empty((3, settings.k), np.int64)
    types = order, places, opened, np.empty(settings.max_depth + 2, np.int64)
    first = np.empty((kernels.KINDS, -(-settings.row_tokens // 8) * 8), np.uint16)
    words, state = (first, np.empty(8, np.uint16)), np.zeros(4, np.int64)
    keys, numbers = np.array(key, np.int64), np.ascontiguousarray(candidates, np.uint64)
    kernels.rows(keys, numbers, limits, _odds(settings), stack, types, words, state, out, undecided)
    for row in np.flatnonzero(undecided):
        out[row] = definition.rows(settings, key, candidates[row : row + 1])[0]
    return out


def _odds(settings: Settings) -> tuple[np.ndarray, ...]:
    """The arrays `odds` of the kernels."""
    if settings.uniform:
        found = counts.tables(*settings.machine, settings.length)
        return found.first, found.closing, found.group, found.following, found.slot, found.thresholds
    threshold = int(Fraction(settings.open_probability) * 2**64)
    return *(np.zeros(1, np.int64) for _ in range(5)), np.array([[threshold]], np.uint64)
