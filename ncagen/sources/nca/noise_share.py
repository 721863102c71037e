"""Estimates how much of a row is noise, from a few candidates, and warns where it is much.

At a high temperature nearly every candidate scores as complex, since gzip counts noise as complexity, but no model can
learn noise: at temperature 0.1 a model that knows the rule still has a loss of 5.7 of 9.2 nats a patch.
"""

import math
from dataclasses import replace

import numpy as np

from ncagen.sources.nca import cpu, entropy
from ncagen.sources.nca.settings import Settings

CANDIDATES, GRIDS = 32, 4
MOST_CELL_STATES = 2**24  # of all steps of all candidates together, about a second
MOST_STEPS = 64  # of the warm-up, in place of a longer one
NOISY = 0.2  # of the loss of guessing; temperature 0.01 gives 0.08, 0.03 a little more than this


def warnings(settings: Settings, key: tuple[int, int]) -> tuple[str, ...]:
    """Returns one line where noise is a fifth of a row or more, otherwise nothing. key: seed and stream."""
    guess = settings.patch**2 * math.log(settings.states)
    oracle = oracle_nats(settings, key)
    if oracle < NOISY * guess:
        return ()
    about = "about" if settings.stride == 1 else "at least"
    return (
        f"at temperature {settings.temperature:g}, {about} {oracle:.1f} of {guess:.1f} nats a patch are noise, which"
        " gzip counts as complexity and no model can learn: use a lower --temperature, as in 0.0001",
    )


def oracle_nats(settings: Settings, key: tuple[int, int]) -> float:
    """Estimates the oracle loss of candidates in nats a patch, whatever their score; with a stride, a lower bound."""
    if not entropy.scale(settings):
        return 0.0
    few = replace(settings, warmup=min(settings.warmup, MOST_STEPS), stride=1)
    work = settings.cells * settings.states * (few.warmup + GRIDS)
    candidates = np.arange(max(1, min(CANDIDATES, MOST_CELL_STATES // work)), dtype=np.uint64)
    drawn, starts = cpu.sample(few, key, candidates)
    sums = np.zeros((len(candidates), GRIDS), np.int64)
    cpu.rollout(few, key, candidates, drawn, starts, 0, GRIDS, sums)
    return float(sums[:, 1:].mean()) / 2**entropy.ENTROPY_BITS / settings.patches
