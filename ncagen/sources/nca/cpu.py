"""Runs the automaton of `definition` with numba kernels: the same integers, about a hundred times faster.

It is fast for three reasons. The arithmetic is on pairs of 16-bit integers in vector registers (`simd`). Noise is drawn
only for cells whose best logits are so close that noise could change the winner; noise is bounded, so leaving it out
elsewhere is exact. And a batch is one call, without the interpreter lock.

This module makes the arrays of a batch, `cpu_kernels` computes on them. Not covered: scores, bands and files.
`tests/test_identity.py` compares the results with the definition bit for bit.
"""

import threading
from functools import cache, lru_cache

import numpy as np

from ncagen.sources.logarithm import log_table
from ncagen.sources.nca import cpu_kernels, entropy, rules
from ncagen.sources.nca.cpu_kernels import Counting, Noise, Workspace
from ncagen.sources.nca.rules import (
    HIDDEN_SCALE,
    HIDDEN_UNITS,
    NEIGHBOURS,
    OUTPUT_SCALE,
    PERCEPTION_CHANNELS,
    PERCEPTION_SCALE,
    Rules,
)
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.simd import DIGITS
from ncagen.sources.nca.vectors import BLOCK, COPIED, COPIES, ENTRIES, ENTRY_BITS, GROUP, LANES

# In cell-steps. A batch with the default settings has 512 candidates and takes about 25 ms, so a build stops quickly.
BATCH_CELL_STEPS = 512 * 144 * 20
BATCH_LIMITS = 16, 512
LOGITS = 2**11  # to compute before cells that noise may decide are settled: they stay in the cache

_thread = threading.local()


def sample(settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> tuple[Rules, np.ndarray]:
    """Draws rules and start grids, the same as `rules.sample_rules` and `rules.sample_starts`.

    key: seed and stream. candidates: uint64[batch]. Returns Rules and uint8[batch, cell].
    """
    batch, inputs = len(candidates), settings.states + 2 * settings.channel_wrap
    drawn = Rules(
        np.empty((batch, 3, 3, settings.states, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, HIDDEN_UNITS, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, settings.states, HIDDEN_UNITS), np.int16),
    )
    longest = max(NEIGHBOURS * inputs * PERCEPTION_CHANNELS, settings.states * HIDDEN_UNITS, settings.cells)
    words = np.empty(longest + 8, np.uint16)
    rule_key, numbers = rules.rule_address(settings, key, candidates)
    cpu_kernels.sample_rules(*rule_key, numbers, settings.channel_wrap, _weight_tables(), words, *_flat(drawn))
    starts = np.empty((batch, settings.cells), np.uint8)
    ends = np.empty(settings.states, np.uint64)
    uniform = settings.start == "uniform"
    cpu_kernels.sample_starts(*key, candidates, settings.states, uniform, rules.start_table(), words, ends, starts)
    return drawn, starts


def rollout(
    settings: Settings,
    key: tuple[int, int],
    candidates: np.ndarray,
    drawn: Rules,
    grids: np.ndarray,
    first_frame: int,
    frames: int,
    sums: np.ndarray | None = None,
    counted_steps: int = 1,
) -> np.ndarray:
    """Computes the recorded grids `first_frame` to `first_frame + frames - 1` of each candidate.

    key: seed and stream. candidates: uint64[batch]. drawn: their rules. grids: uint8[batch, cell], the start grids,
    or for first_frame > 0 the recorded grids before `first_frame`. sums: int64[batch, frame], if given, is filled with
    the entropy of all cells (`entropy`) in the last `counted_steps` steps before each grid. Returns uint8[batch, frame,
    cell].
    """
    at = settings.warmup + (first_frame - 1) * settings.stride if first_frame else 0
    before = settings.stride if first_frame else settings.warmup
    recorded = np.empty((len(candidates), frames, settings.cells), np.uint8)
    perception, hidden, output = _flat(drawn)
    noise, counting = _constants(settings)
    if sums is not None:
        sums[:] = 0
        if noise.temperature:
            counting = counting._replace(steps=counted_steps)
    cpu_kernels.rollout(
        key,
        candidates,
        (perception, hidden.view(np.int32), output),
        np.ascontiguousarray(grids),
        settings.states,
        (np.uint64(settings.height), np.uint64(settings.width)),
        (at, before, settings.stride),
        noise,
        counting,
        _workspace(settings),
        recorded,
        np.empty((0, 0), np.int64) if sums is None else sums,
    )
    return recorded


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Joins recorded grids along the frames. parts: uint8[batch, frame, cell]."""
    return np.concatenate(parts, axis=1)


def batch_candidates(settings: Settings) -> int:
    """Returns the recommended limit of candidates in a batch."""
    least, most = BATCH_LIMITS
    return min(most, max(least, BATCH_CELL_STEPS // (settings.cells * (settings.scored_steps + 1))))


def patch_tokens(settings: Settings, grids: np.ndarray) -> np.ndarray:
    """Converts recorded grids to patches, the same as `grid_tokens.patch_tokens`.

    grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch].
    """
    patches = np.empty((*grids.shape[:2], settings.patches), settings.token_dtype)
    patch = settings.patch
    shape = settings.height // patch, patch, settings.width // patch, patch
    cells = np.arange(settings.cells, dtype=np.uint64).reshape(shape)
    order = np.ascontiguousarray(cells.transpose(1, 3, 0, 2).reshape(patch**2, settings.patches)[::-1])
    cpu_kernels.patch_tokens(grids, np.uint32(settings.states), order, np.empty(settings.patches, np.uint32), patches)
    return patches


def tables() -> dict[str, np.ndarray]:
    """Returns the tables to draw from: perception, hidden and output int16[65536], start and gumbel int32[65536]."""
    weights = dict(zip(("perception", "hidden", "output"), _weight_tables(), strict=True))
    return weights | {"start": rules.start_table(), "gumbel": rules.gumbel_table()}


@cache
def _weight_tables() -> np.ndarray:
    """int16[layer, 65536]."""
    return np.stack([rules.weight_table(s) for s in (PERCEPTION_SCALE, HIDDEN_SCALE, OUTPUT_SCALE)])


def _workspace(settings: Settings) -> Workspace:
    """Returns the arrays to compute in: one set for each thread, for the settings that it ran last."""
    size = settings.states, settings.height, settings.width
    if getattr(_thread, "size", None) != size:
        _thread.work, _thread.size = _new_workspace(*size), size
    return _thread.work


def _new_workspace(states: int, height: int, width: int) -> Workspace:
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
        numbers=np.repeat(np.arange(255, 255 - states, -1, np.int32), LANES if states <= COPIED else 1),
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
def _constants(settings: Settings) -> tuple[Noise, Counting]:
    """Returns the numbers and tables of settings, with no entropy counted."""
    bias, temperature = (rules.logit_units(settings, v) for v in (settings.identity_bias, settings.temperature))
    return (
        Noise(np.int32(bias), temperature, np.int32(max(entropy.reach(settings), 0)), *_short_gumbel()),
        Counting(0, entropy.scale(settings), entropy.exp_table(), log_table(), entropy.pair_table()),
    )


def _flat(drawn: Rules) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reshapes weights to int16[batch, neighbour, state * channel], [batch, unit * channel], [batch, state * unit]."""
    batch = len(drawn.hidden)
    return (
        drawn.perception.reshape(batch, NEIGHBOURS, -1),
        drawn.hidden.reshape(batch, -1),
        drawn.output.reshape(batch, -1),
    )


def _aligned(count: int, dtype: type) -> np.ndarray:
    """Returns zeroed scratch space that starts on a 64-byte cache line.

    Unaligned, every other vector would cross two lines, which cost a third of the time.
    """
    size = count * np.dtype(dtype).itemsize
    space = np.zeros(size + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size].view(dtype)
