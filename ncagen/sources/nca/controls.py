"""Defines the controls that rearrange or replace the patches of a row, and makes their rows.

A control is a row without some of what a model can learn from the trajectory it is made of, and with all of the rest:

    shuffle-time    the row's grids in a random order                       keeps each grid
    shuffle-cells   each grid's patches in a random order of its own        keeps the patches of each grid
    shuffle-row     all patches of the row in a random order                keeps the patches of the row
    unigram         independent draws from the row's patches                keeps the row's frequencies, in expectation
    noise           independent draws, uniform over all patches             keeps the form of a row

Every grid takes part, the first too, and delimiters stay in place, so the tokens without a loss are those of the
trajectory's row. The random numbers of a candidate's row are addressed by its key and number, one Philox purpose for
each control:

    word i          32-bit word i mod 4 of block i // 4, read in order from i = 0
    below(n)        (word * n) >> 32, unless (word * n) mod 2**32 < 2**32 mod n: then the next word is tried
                    (Lemire, "Fast Random Integer Generation in an Interval", 2019): exactly uniform for random words
    shuffled(n)     the items 0 to n - 1; for i from n - 1 down to 1: swap those at places i and below(i + 1)
                    (Fisher, Yates): every order is equally likely

`rearranged` is the definition, `rearrange` gives the same by compiled kernels. Not covered: the controls of a rule
(frozen-rule, new-rule), whose rows are trajectories (`rules`, `rollout`).
"""

from collections.abc import Iterator
from itertools import count

import numpy as np

from ncagen import philox
from ncagen.sources.nca import control_kernels
from ncagen.sources.nca.settings import REARRANGING, Settings

# The purpose of the Philox blocks of each control: 5 to 9.
PURPOSES = {name: 5 + i for i, name in enumerate(REARRANGING)}
BLOCKS_AT_ONCE = 64
PLACES_AT_ONCE = 2**20  # patches of rows that numbers are drawn for in one call: 4 MiB of them


def words_of(key: tuple[int, int], purpose: int, candidate: int) -> Iterator[int]:
    """Yields the 32-bit words of a candidate's blocks, without end."""
    low, high = int(candidate) & 0xFFFFFFFF, int(candidate) >> 32
    for first in count(0, BLOCKS_AT_ONCE):
        counter = np.array([(first + i, purpose, low, high) for i in range(BLOCKS_AT_ONCE)], np.uint32)
        yield from philox.philox(counter, key).ravel().tolist()


def below(words: Iterator[int], numbers: int) -> int:
    """Draws a whole number from 0 to numbers - 1, all equally likely. numbers: 1 to 2**32 - 1."""
    while True:
        product = next(words) * numbers
        if product % 2**32 >= 2**32 % numbers:
            return product >> 32


def shuffled(words: Iterator[int], items: int) -> list[int]:
    """Draws an order of some items, as their numbers."""
    order = list(range(items))
    for last in range(items - 1, 0, -1):
        other = below(words, last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def rearranged(settings: Settings, key: tuple[int, int], candidate: int, patches: np.ndarray) -> np.ndarray:
    """Defines the patches of a control's row.

    patches: integers [frame, patch], of the candidate's trajectory. Returns the same shape and dtype.
    """
    words = words_of(key, PURPOSES[settings.control], candidate)
    shape, size = patches.shape, patches.size
    match settings.control:
        case "shuffle-time":
            return patches[shuffled(words, len(patches))]
        case "shuffle-cells":
            return np.stack([grid[shuffled(words, len(grid))] for grid in patches])
        case "shuffle-row":
            return patches.ravel()[shuffled(words, size)].reshape(shape)
        case "unigram":
            return patches.ravel()[[below(words, size) for _ in range(size)]].reshape(shape)
        case _:
            return np.array([below(words, settings.patch_ids) for _ in range(size)], patches.dtype).reshape(shape)


def rearrange(settings: Settings, key: tuple[int, int], candidates: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Makes the patches of a control's rows, as `rearranged` defines them.

    candidates: uint64[row]. patches: uint16 or uint32 [row, frame, patch], of their trajectories. Returns the same
    shape and dtype.
    """
    made = np.empty_like(patches, order="C")
    step = max(1, PLACES_AT_ONCE // (patches.shape[1] * patches.shape[2]))
    for first in range(0, len(patches), step):
        some = slice(first, first + step)
        made[some] = _rearrange(settings, key, candidates[some], patches[some])
    return made


def _rearrange(settings: Settings, key: tuple[int, int], candidates: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """The same for a few rows, since drawn numbers take more memory than rows."""
    rows, frames, each = patches.shape
    size = frames * each
    flat = patches.reshape(rows, size)
    match settings.control:
        case "shuffle-time":
            return np.take_along_axis(patches, _orders(settings, key, candidates, frames, frames)[:, :, None], axis=1)
        case "shuffle-cells":
            made = np.take_along_axis(flat, _orders(settings, key, candidates, size, each), axis=1)
        case "shuffle-row":
            made = np.take_along_axis(flat, _orders(settings, key, candidates, size, size), axis=1)
        case "unigram":
            made = np.take_along_axis(flat, _choices(settings, key, candidates, size, size), axis=1)
        case _:
            made = _choices(settings, key, candidates, size, settings.patch_ids).astype(patches.dtype)
    return made.reshape(patches.shape)


def _orders(settings: Settings, key: tuple[int, int], candidates: np.ndarray, places: int, part: int) -> np.ndarray:
    """Draws an order of each `part` neighbouring places of rows: uint32[row, place], where each is taken from."""
    order = np.empty((len(candidates), places), np.uint32)
    control_kernels.orders(*key, PURPOSES[settings.control], candidates, part, *_state(), order)
    return order


def _choices(settings: Settings, key: tuple[int, int], candidates: np.ndarray, places: int, count: int) -> np.ndarray:
    """Draws numbers below `count` for the places of rows: uint32[row, place]."""
    chosen = np.empty((len(candidates), places), np.uint32)
    control_kernels.choices(*key, PURPOSES[settings.control], candidates, count, *_state(), chosen)
    return chosen


def _state() -> tuple[np.ndarray, np.ndarray]:
    """What the kernels keep of the current block: uint64[6] and uint16[8]."""
    return np.empty(control_kernels.DRAWS, np.uint64), np.empty(control_kernels.BLOCK_WORDS, np.uint16)
