"""The arrays, numbers and tables that the kernels of a rollout take, made once for the settings and a thread.

A batch makes none of them, so that it needs the interpreter's lock for a short time only. Not covered: what the kernels
compute (`cpu_kernels`), grids and rules (`cpu`).
"""

import threading
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from ncagen.sources.logarithm import log_table
from ncagen.sources.nca import entropy, rules
from ncagen.sources.nca.rules import HIDDEN_UNITS, NEIGHBOURS, PERCEPTION_CHANNELS
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.simd import DIGITS
from ncagen.sources.nca.vectors import BLOCK, COPIED, COPIES, ENTRIES, ENTRY_BITS, GROUP, LANES

LOGITS = 2**11  # to compute before cells that noise may decide are settled: they stay in the cache

_thread = threading.local()


class Noise(NamedTuple):
    """What the steps add to logits. bias and temperature: in their units. reach: what noise decides, 0 without noise.
    lowest, gumbel: uint16[65536]: the Gumbel table as a number and what its entries have more, to half the bytes."""

    bias: np.int32
    temperature: int
    reach: np.int32
    lowest: int
    gumbel: np.ndarray


class Counting(NamedTuple):
    """Which entropy is added up. steps: before each frame, or 0. scale and the tables: those of `entropy`."""

    steps: int
    scale: int
    exponentials: np.ndarray
    logarithms: np.ndarray
    pairs: np.ndarray


class Workspace(NamedTuple):
    """The arrays that the kernels compute in. Sizes: `new_workspace`; layouts: `simd` and `rule_kernels`."""

    grid: np.ndarray
    first_column: np.ndarray
    last_column: np.ndarray
    before: np.ndarray
    here: np.ndarray
    after: np.ndarray
    first: np.ndarray
    second: np.ndarray
    units: np.ndarray
    logits: np.ndarray
    words: np.ndarray
    padded: np.ndarray
    tables: np.ndarray
    packed: np.ndarray
    hidden: np.ndarray
    output: np.ndarray
    pairs: np.ndarray
    copies: np.ndarray
    numbers: np.ndarray


def workspace(settings: Settings) -> Workspace:
    """Returns the arrays to compute in: one set for each thread, for the settings that it ran last."""
    size = settings.states, settings.height, settings.width
    if getattr(_thread, "size", None) != size:
        _thread.work, _thread.size = new_workspace(*size), size
    return _thread.work


def new_workspace(states: int, height: int, width: int) -> Workspace:
    """Makes arrays that begin on cache lines. The last vectors read and write beyond the grid, by less than `rest`."""
    cells, rest = height * width, max(BLOCK, GROUP)
    column, parts = np.arange(cells + rest) % width, 1 if states <= ENTRIES else 2
    tables = NEIGHBOURS * PERCEPTION_CHANNELS * DIGITS * parts * ENTRIES
    output = _aligned(states * HIDDEN_UNITS, np.int16)
    padding = -(-width // 64) * 64
    word = max(min(64, LOGITS // states) // GROUP, 1) * GROUP
    work = Workspace(
        grid=_aligned(padding + cells + width + rest, np.uint8)[padding:],
        first_column=_aligned(cells + rest, np.int8),
        last_column=_aligned(cells + rest, np.int8),
        before=_aligned(cells + 2 * width + rest, np.uint8),
        here=_aligned(cells + 2 * width + rest, np.uint8),
        after=_aligned(cells + 2 * width + rest, np.uint8),
        first=_aligned(cells + rest, np.int32),
        second=_aligned(cells + rest, np.int32),
        units=_aligned((cells + rest) * HIDDEN_UNITS // 2, np.int32),
        logits=_aligned(2 * states * word, np.int32).reshape(2, -1),
        words=_aligned(8, np.uint16),
        padded=_aligned(PERCEPTION_CHANNELS * parts * ENTRIES, np.int16),
        tables=_aligned(tables, np.int16 if ENTRY_BITS == 16 else np.uint8),
        packed=_aligned(NEIGHBOURS * states, np.uint64),
        hidden=_aligned(HIDDEN_UNITS * PERCEPTION_CHANNELS // 2 * COPIES, np.int32),
        output=output,
        pairs=output.view(np.int32),
        copies=_aligned(states * HIDDEN_UNITS // 2 * LANES if states <= COPIED else 0, np.int32),
        numbers=np.repeat(255 - np.arange(states, dtype=np.int32), LANES if states <= COPIED else 1),
    )
    work.first_column[column == 0] = -1
    work.last_column[column == width - 1] = -1
    return work


@cache
def _short_gumbel() -> tuple[int, np.ndarray]:
    """Returns the lowest entry of the Gumbel table, and how much higher each entry is: uint16[65536]."""
    table = rules.gumbel_table()
    return int(table[0]), (table - table[0]).astype(np.uint16)


@lru_cache(maxsize=16)
def constants(settings: Settings) -> tuple[Noise, Counting]:
    """Returns the numbers and tables of settings, with no entropy counted."""
    bias, temperature = (rules.logit_units(settings, v) for v in (settings.identity_bias, settings.temperature))
    return (
        Noise(np.int32(bias), temperature, np.int32(max(entropy.reach(settings), 0)), *_short_gumbel()),
        Counting(0, entropy.scale(settings), entropy.exp_table(), log_table(), entropy.pair_table()),
    )


def _aligned(count: int, dtype: type) -> np.ndarray:
    """Returns zeroed scratch space that starts on a 64-byte cache line.

    Unaligned, every other vector would cross two lines, which cost a third of the time.
    """
    size = count * np.dtype(dtype).itemsize
    space = np.zeros(size + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size].view(dtype)
