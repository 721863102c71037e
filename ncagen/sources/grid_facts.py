"""Facts of rows of grids that a spec can ask for (`--facts period,entropy`): integers, the same on every platform.

For a row of F grids g[0] to g[F - 1], as recorded, of C cells each, in states below n:

    period          the smallest p > 0 with g[F - 1] = g[F - 1 - p]; 0 if there is none. 1: the row ends frozen.
    transient       the smallest s with g[i] = g[i + period] for all i from s to F - 1 - period; F if period is 0
    changed         how many cells of g[1] to g[F - 1] differ from the same cell of the grid before
    states          how many states occur in the row
    last_states     how many states occur in g[F - 1]
    entropy_micronats   of the frequencies of states in the whole row, in millionths of a nat, rounded to the nearest:
                    with c[s] cells in state s, N = F * C and ln in units of 1/2**24 as in `logarithm`,
                    H = max(ln(N) - (sum of c[s] * ln(c[s]), where c[s] > 0) // N, 0); (H * 10**6 + 2**23) >> 24

A grid that recurs recurs forever under a rule without noise, and `period` and `transient` are those of the automaton,
in recorded grids. With noise (a temperature above 0) they say what the row shows: its last grids repeat from grid
`transient` on. A period of F or more is not seen.

`defined` is the definition in NumPy. `computed` has the same from kernels, a few microseconds a row. A row is a
function of its tokens here: `problems` checks facts without running an automaton. Not covered: facts of the rule.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ncagen.row_format import Rows
from ncagen.sources import grid_facts_kernels, logarithm
from ncagen.sources.fact_columns import GRID_FACTS, column_names
from ncagen.sources.patches import Patching

MICRO = 10**6
DIGIT_ENTRIES = 2**16  # ids whose digits are looked up; those of ids above are divided
_COLUMNS = column_names(GRID_FACTS)


def computed(facts: Iterable[str], grids: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the columns of facts, the same as `defined`. grids: uint8[row, frame, cell]. Returns int32[row] each."""
    names = column_names(facts)
    if not names:
        return {}
    found = np.empty((len(_COLUMNS), len(grids)), np.int64)
    counts = np.empty((4, 256), np.int64)
    grids = np.ascontiguousarray(grids)
    flat = grids.reshape(len(grids), grids.shape[1] * grids.shape[2])
    grid_facts_kernels.grid_facts(grids, flat, logarithm.log_table(), counts, found)
    every = dict(zip(_COLUMNS, found, strict=True))
    every["entropy_micronats"] = _micronats(every["entropy_micronats"])
    return {name: every[name].astype(np.int32) for name in names}


def problems(facts: Iterable[str], grids: np.ndarray, rows: Rows) -> dict[str, np.ndarray]:
    """Checks the columns of facts against the grids of rows. grids: uint8[row, frame, cell].

    Returns bool[row] by the text of each possible problem, true where the row is right.
    """
    found = computed(facts, grids)
    return {f"{name} is not that of the row's grids": column == rows[name] for name, column in found.items()}


def patch_cells(patching: Patching, patches: np.ndarray) -> np.ndarray:
    """Converts patches to cells. patches: integers [row, frame, patch], each an id of a patch; lowest digit first.

    Returns uint8[row, frame, cell].
    """
    deep, wide, digits = patching.patch_height, patching.patch, patching.patch_cells
    shape = patching.height // deep, deep, patching.width // wide, wide
    order = np.arange(patching.cells, dtype=np.uint64).reshape(shape).transpose(0, 2, 1, 3).reshape(-1, digits)
    cells = np.empty((*patches.shape[:2], patching.cells), np.uint8)
    grid_facts_kernels.patch_cells(
        np.ascontiguousarray(patches, np.uint32),  # one type and layout: compiled once
        np.uint64(patching.states),
        np.ascontiguousarray(order),
        _digits(patching.states, digits, min(patching.patch_ids, DIGIT_ENTRIES)),
        cells,
    )
    return cells


def highest_counts(cells: np.ndarray) -> np.ndarray:
    """Counts the cells of the most frequent state. cells: uint8[row, cell]. Returns int64[row]."""
    found = np.empty(len(cells), np.int64)
    grid_facts_kernels.highest_counts(np.ascontiguousarray(cells), np.empty((4, 256), np.int64), found)
    return found


@lru_cache(maxsize=8)
def _digits(states: int, digits: int, ids: int) -> np.ndarray:
    """The digits of ids in base `states`, lowest first: uint8[id, digit]."""
    return (np.arange(ids)[:, None] // states ** np.arange(digits, dtype=np.int64) % states).astype(np.uint8)


def defined(facts: Iterable[str], grids: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the columns of facts by their definition. grids: uint8[row, frame, cell]. Returns int32[row] each."""
    occur = grids[..., None] == np.arange(int(grids.max(initial=0)) + 1, dtype=np.uint8)
    counts = occur.sum(axis=(1, 2))
    periods = np.array([_period(row) for row in grids], np.int32).reshape(-1, 2)
    every = {
        "period": periods[:, 0],
        "transient": periods[:, 1],
        "changed": (grids[:, 1:] != grids[:, :-1]).sum(axis=(1, 2)),
        "states": (counts > 0).sum(axis=1),
        "last_states": occur[:, -1].any(axis=1).sum(axis=1),
        "entropy_micronats": _micronats(_entropies(counts)),
    }
    return {name: every[name].astype(np.int32) for name in column_names(facts)}


def _period(grids: np.ndarray) -> tuple[int, int]:
    """Returns period and transient of a row. grids: uint8[frame, cell]."""
    frames = len(grids)
    for period in range(1, frames):
        repeats = (grids[period:] == grids[:-period]).all(axis=1)
        if repeats[-1]:
            return period, int(np.flatnonzero(~repeats)[-1]) + 1 if not repeats.all() else 0
    return 0, frames


def _entropies(counts: np.ndarray) -> np.ndarray:
    """Entropies of counts: int64[row], in units of 1/2**24 nat. counts: int64[row, state]."""
    total = counts.sum(axis=1)
    weighted = (counts * logarithm.log_integers(np.maximum(counts, 1))).sum(axis=1)
    return np.maximum(logarithm.log_integers(total) - weighted // total, 0)


def _micronats(entropies: np.ndarray) -> np.ndarray:
    """Converts entropies in units of 1/2**24 nat to millionths of a nat. entropies: int64[row]. Returns int64[row]."""
    return entropies * MICRO + 2 ** (logarithm.LOG_BITS - 1) >> logarithm.LOG_BITS
