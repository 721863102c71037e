"""The definition of the automaton: short, plain NumPy, meant to be read.

A grid of cells on a torus, each in one of `states` states. A rule is a small network that looks at a cell's 3 x 3
neighbourhood and gives every state a logit; the cell's next state is the one with the highest logit after noise.
Integers only: every operation below is exact, so any correct implementation gives the same cells.

    perception[channel]  = sum over the 9 neighbours of weight[neighbour's place, neighbour's state, channel]
    unit[j]              = max(sum over channels of hidden[j, channel] * perception[channel], 0) >> 16
    logit[s]             = sum over j of output[s, j] * unit[j]  (+ identity bias where s is the cell's state)
    next state           = argmax over s of logit[s] + noise[s], the lowest s of equals
    noise[s]             = (gumbel[word] * temperature) >> 12

Adding Gumbel noise times the temperature and taking the largest is drawing from softmax(logit / temperature). The
word for step t (1 is the first), cell c (row by row) and state s is word s mod 8 of Philox block
c * ceil(states / 8) + s // 8 under purpose NOISE + t.

This is the reference for `cpu`, which must give the same integers faster. It is about a hundred times slower.
"""

import numpy as np

from ncagen import philox
from ncagen.sources.nca.rules import (
    GUMBEL_SHIFT,
    HIDDEN_SHIFT,
    Rules,
    gumbel_table,
    logit_units,
    sample_rules,
    sample_starts,
)
from ncagen.spec import Spec


def logits(rules: Rules, grids: np.ndarray) -> np.ndarray:
    """What the network says of each cell's next state.

    grids: uint8[batch, row, column]. Returns int64[batch, row, column, state], every value inside int32.
    """
    rule = np.arange(len(grids))[:, None, None]
    perception = 0
    for row in range(3):
        for column in range(3):
            neighbour = np.roll(grids, (1 - row, 1 - column), axis=(1, 2))
            perception = perception + rules.perception[rule, row, column, neighbour].astype(np.int64)
    units = np.einsum("byxc,bjc->byxj", perception, rules.hidden.astype(np.int64))
    units = np.maximum(units, 0) >> HIDDEN_SHIFT
    return np.einsum("byxj,bsj->byxs", units, rules.output.astype(np.int64))


def noise(spec: Spec, stream: int, candidates: np.ndarray, step: int) -> np.ndarray:
    """The noise of one step. candidates: uint64[batch]. Returns int64[batch, row, column, state]."""
    blocks = -(-spec.states // 8)
    words = philox.words(spec.seed, stream, philox.NOISE + step, candidates, spec.cells * blocks * 8)
    words = words.reshape(len(candidates), spec.grid, spec.grid, blocks * 8)[..., : spec.states]
    temperature = logit_units(spec, spec.temperature)
    return gumbel_table()[words].astype(np.int64) * temperature >> GUMBEL_SHIFT


def next_grids(spec: Spec, stream: int, candidates: np.ndarray, rules: Rules, grids: np.ndarray, step: int):
    """One step of each candidate's automaton; `step` is 1 for the first.

    grids: uint8[batch, row, column]. Returns the same.
    """
    scores = logits(rules, grids)
    own = grids[..., None] == np.arange(spec.states)
    scores += own * logit_units(spec, spec.identity_bias)
    scores += noise(spec, stream, candidates, step)
    return scores.argmax(axis=-1).astype(np.uint8)


def trajectories(spec: Spec, stream: int, candidates: np.ndarray, frames: int) -> np.ndarray:
    """The first `frames` recorded grids: the one after `warmup` steps, then every `stride` steps.

    candidates: uint64[batch]. Returns uint8[batch, frame, row, column].
    """
    rules = sample_rules(spec, stream, candidates)
    grids = sample_starts(spec, stream, candidates)
    recorded = np.empty((len(candidates), frames, spec.grid, spec.grid), np.uint8)
    for step in range(spec.warmup + spec.stride * (frames - 1) + 1):
        if step > 0:
            grids = next_grids(spec, stream, candidates, rules, grids, step)
        frame, between = divmod(step - spec.warmup, spec.stride)
        if frame >= 0 and not between:
            recorded[:, frame] = grids
    return recorded
