"""Langton's lambda of a row's rule, as a count of neighbourhoods: an integer, the same on every platform.

Lambda is the share of neighbourhoods whose next state is not the quiescent one (Langton, "Computation at the Edge of
Chaos", Physica D 42, 1990). A rule of n states has n**9 neighbourhoods, too many to list. So:

    grid       64 x 64 cells on a torus, the same for every rule of n states: cell i, row by row, has state
               word[i] * n >> 16, of the 16-bit words of Philox key (0, 3), purpose 10, number 0
    next       the states after one step from it without noise: the lowest state of the highest logit, bias included
    count      4096 minus how many cells of `next` have its most frequent state, which is taken as the quiescent one

The column is `count`, and lambda is count / 4096. It is at most 4096 - ceil(4096 / n). Cells share neighbours, but a
count varies with the grid no more than with 4,096 independent neighbourhoods, by 0.007 of lambda (docs/automaton.md).
The grid does not depend on the dataset's seed, so equal rules have equal counts. Not covered: what a row shows
(`grid_facts`).
"""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ncagen import philox
from ncagen.sources import grid_facts
from ncagen.sources.nca import cpu, oracle
from ncagen.sources.nca.facts import LAMBDA_NEIGHBOURHOODS
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import Settings

NEIGHBOURHOODS = LAMBDA_NEIGHBOURHOODS
SIDE = math.isqrt(NEIGHBOURHOODS)
KEY = 0, philox.STREAMS["pilot"]
PURPOSE = 10  # of Philox blocks; those of the automaton are 0 to 4 and 16 or more, those of controls 5 to 9


def counts(settings: Settings, drawn: Rules) -> np.ndarray:
    """Computes the column. drawn: the rules of rows, in NumPy. Returns int32[row]."""
    rows = len(drawn.hidden)
    starts = np.broadcast_to(start(settings.states), (rows, NEIGHBOURHOODS))
    after = cpu.rollout(_one_step(settings), KEY, np.zeros(rows, np.uint64), drawn, starts, 0, 1)
    return (NEIGHBOURHOODS - grid_facts.highest_counts(after[:, 0])).astype(np.int32)


def defined(settings: Settings, drawn: Rules) -> np.ndarray:
    """Computes the column by its definition. drawn: the rules of rows. Returns int32[row]."""
    grid = start(settings.states).reshape(1, 1, SIDE, SIDE)
    rules = (Rules(*(weights[i : i + 1] for weights in drawn)) for i in range(len(drawn.hidden)))
    after = (oracle.biased_logits(_one_step(settings), rule, grid)[0, 0].argmax(axis=1) for rule in rules)
    return np.array([NEIGHBOURHOODS - np.bincount(states).max() for states in after], np.int32)


def most(states: int) -> int:
    """Returns the greatest count of rules with this many states."""
    return NEIGHBOURHOODS - -(-NEIGHBOURHOODS // states)


@lru_cache(maxsize=8)
def start(states: int) -> np.ndarray:
    """Returns the grid whose neighbourhoods are counted: uint8[cell]."""
    words = philox.words(*KEY, PURPOSE, np.zeros(1, np.uint64), NEIGHBOURHOODS)[0]
    return (words.astype(np.uint32) * states >> 16).astype(np.uint8)


def _one_step(settings: Settings) -> Settings:
    """The settings of a single step of the same rule, without noise."""
    square = replace(settings, height=SIDE, width=SIDE, patch=1, seq_len=1, facts="", measure="gzip")
    return replace(square, warmup=1, stride=1, temperature=0.0)
