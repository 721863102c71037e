"""Defines the automaton in short, plain NumPy, written to be read.

A grid of cells on a torus, each in one of `states` states. A rule is a small network that reads a cell's 3 x 3
neighbourhood and computes a logit for every state; the cell's next state is the one with the highest logit after noise.
Integers only: every operation below is exact, so any correct implementation gives the same cells.

    perception[channel]  = sum over the 9 neighbours of weight[neighbour's position, neighbour's state, channel]
    unit[j]              = max(sum over channels of hidden[j, channel] * perception[channel], 0) >> 16
    logit[s]             = sum over j of output[s, j] * unit[j]  (+ identity bias where s is the cell's state)
    next state           = argmax over s of logit[s] + noise[s], the lowest s among equals
    noise[s]             = (gumbel[word] * temperature) >> 12

Adding Gumbel noise times the temperature and taking the largest draws from softmax(logit / temperature). The
word for step t (1 is the first), cell c (row by row) and state s is word s mod 8 of Philox block
c * ceil(states / 8) + s // 8 under purpose NOISE + t.

This is the reference for `cpu`, which gives the same integers about a hundred times faster. Not covered: how weights
and start cells are drawn (`rules`), tokens and scores.
"""

import numpy as np

from ncagen import philox
from ncagen.sources.nca.rules import (
    GUMBEL_SHIFT,
    HIDDEN_SHIFT,
    Rules,
    gumbel_table,
    later_candidates,
    logit_units,
    sample_rules,
    sample_starts,
)
from ncagen.sources.nca.settings import Settings


def logits(rules: Rules, grids: np.ndarray) -> np.ndarray:
    """Computes the logit of every state in every cell, before bias and noise.

    rules: one rule for each grid. grids: uint8[batch, row, column]. Returns int64[batch, row, column, state], every
    value inside int32.
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


def noise(settings: Settings, key: tuple[int, int], candidates: np.ndarray, step: int) -> np.ndarray:
    """Draws the noise of one step; `step` is 1 for the first.

    key: seed and stream. candidates: uint64[batch]. Returns int64[batch, row, column, state], in units of logits.
    """
    blocks = -(-settings.states // 8)
    words = philox.words(*key, philox.NOISE + step, candidates, settings.cells * blocks * 8)
    words = words.reshape(len(candidates), settings.height, settings.width, blocks * 8)[..., : settings.states]
    temperature = logit_units(settings, settings.temperature)
    return gumbel_table()[words].astype(np.int64) * temperature >> GUMBEL_SHIFT


def next_grids(
    settings: Settings, key: tuple[int, int], candidates: np.ndarray, rules: Rules, grids: np.ndarray, step: int
):
    """Runs one step of each candidate's automaton; `step` is 1 for the first.

    key: seed and stream. candidates: uint64[batch]. grids: uint8[batch, row, column]. Returns the same shape.
    """
    scores = logits(rules, grids)
    own = grids[..., None] == np.arange(settings.states)
    scores += own * logit_units(settings, settings.identity_bias)
    scores += noise(settings, key, candidates, step)
    return scores.argmax(axis=-1).astype(np.uint8)


def trajectories(settings: Settings, key: tuple[int, int], candidates: np.ndarray, frames: int) -> np.ndarray:
    """Computes the first `frames` recorded grids: the one after `warmup` steps, then one every `stride` steps.

    Under the control new-rule the steps after the grid before `change_at` follow another rule.

    key: seed and stream. candidates: uint64[batch]. Returns uint8[batch, frame, row, column].
    """
    rules, change = sample_rules(settings, key, candidates), settings.change_at
    grids = sample_starts(settings, key, candidates)
    recorded = np.empty((len(candidates), frames, settings.height, settings.width), np.uint8)
    for step in range(settings.warmup + settings.stride * (frames - 1) + 1):
        if change is not None and step == settings.warmup + settings.stride * (change - 1) + 1:
            rules = sample_rules(settings, key, later_candidates(settings, candidates))
        if step > 0:
            grids = next_grids(settings, key, candidates, rules, grids, step)
        frame, between = divmod(step - settings.warmup, settings.stride)
        if frame >= 0 and not between:
            recorded[:, frame] = grids
    return recorded
