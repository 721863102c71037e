"""Runs the automaton of `definition` with numba kernels: the same integers, about a hundred times faster.

It is fast for three reasons. The arithmetic is on pairs of 16-bit integers in vector registers (`simd`). Noise is drawn
only for cells whose best logits are so close that noise could change the winner; noise is bounded, so leaving it out
elsewhere is exact. And a batch is one call, without the interpreter lock.

This module makes the results' arrays; `sample_kernels` draws, `cpu_kernels` computes steps in the arrays of
`workspace`. Not covered: scores, bands and files. `tests/test_identity.py` compares the results with the definition
bit for bit.
"""

from functools import cache, lru_cache

import numpy as np

from ncagen.sources.nca import cpu_kernels, rules, sample_kernels
from ncagen.sources.nca.rules import (
    HIDDEN_UNITS,
    NEIGHBOURS,
    PERCEPTION_CHANNELS,
    Rules,
)
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.workspace import constants, workspace

# States of cells times steps; a step takes 0.3 to 2 ns for each on one core. A batch with the default settings has 1024
# candidates and takes some 20 ms, one with 255 states 256, so a build stops quickly. Larger ones hold the interpreter's
# lock for as long and leave the second cache: 2048 took 2 % more time.
BATCH_WORK = 256 * 255 * 144 * 20
BATCH_LIMITS = 16, 1024


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
    sample_kernels.sample_rules(*rule_key, numbers, settings.channel_wrap, _weight_tables(), words, *_flat(drawn))
    starts = np.empty((batch, settings.cells), np.uint8)
    ends = np.empty(settings.states, np.uint64)
    uniform = settings.start == "uniform"
    sample_kernels.sample_starts(*key, candidates, settings.states, uniform, rules.start_table(), words, ends, starts)
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
    noise, counting = constants(settings)
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
        workspace(settings),
        recorded,
        np.empty((0, 0), np.int64) if sums is None else sums,
    )
    return recorded


def batch_candidates(settings: Settings) -> int:
    """Returns the recommended limit of candidates in a batch."""
    least, most = BATCH_LIMITS
    work = settings.states * settings.cells * (settings.scored_steps + 1)
    return min(most, max(least, BATCH_WORK // work))


def patch_tokens(settings: Settings, grids: np.ndarray) -> np.ndarray:
    """Converts recorded grids to patches, the same as `grid_tokens.patch_tokens`.

    grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch].
    """
    patches = np.empty((*grids.shape[:2], settings.patches), settings.token_dtype)
    order = _patch_order(settings.height, settings.width, settings.patch)
    cpu_kernels.patch_tokens(grids, np.uint32(settings.states), order, np.empty(settings.patches, np.uint32), patches)
    return patches


@lru_cache(maxsize=16)
def _patch_order(height: int, width: int, patch: int) -> np.ndarray:
    """Returns the cells of each patch, the highest digit first: uint64[digit, patch]."""
    cells = np.arange(height * width, dtype=np.uint64).reshape(height // patch, patch, width // patch, patch)
    return np.ascontiguousarray(cells.transpose(1, 3, 0, 2).reshape(patch**2, -1)[::-1])


def tables() -> dict[str, np.ndarray]:
    """Returns the tables to draw from: perception, hidden and output int16[65536], start and gumbel int32[65536]."""
    weights = dict(zip(("perception", "hidden", "output"), _weight_tables(), strict=True))
    return weights | {"start": rules.start_table(), "gumbel": rules.gumbel_table()}


@cache
def _weight_tables() -> np.ndarray:
    """int16[layer, 65536]."""
    return np.stack([rules.weight_table(scale) for scale in rules.SCALES])


def _flat(drawn: Rules) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reshapes weights to int16[batch, neighbour, state * channel], [batch, unit * channel], [batch, state * unit]."""
    batch = len(drawn.hidden)
    return (
        drawn.perception.reshape(batch, NEIGHBOURS, -1),
        drawn.hidden.reshape(batch, -1),
        drawn.output.reshape(batch, -1),
    )
