"""Defines the entropy of a cell's next state in fixed point: integers that are the same on every platform.

Given the grid before and the rule, the cells of the next grid are independent, and a cell's next state is a draw from
softmax(logit / temperature). Its entropy is what a model that knows the rule cannot avoid: the oracle loss. With E as
the table below, and over the states s whose logit is within `reach` of the best one:

    u[s]    = ((best - logit[s]) * scale + 2**31) >> 32       their distance in temperatures, in units of 1/4096
    z       = sum of E[u[s]]                                  E[u] = exp(-u / 4096), in units of 1/2**30
    entropy = ln(z) + (sum of E[u[s]] * u[s] * 2**12) // z    in units of 1/2**24 nat

with scale = round(2**44 / temperature), and ln(z) by halving z to 1 <= m < 2 and the logarithm of m as in
`ncagen.sources.logarithm`. Every value fits int64. The entropy is that of softmax, which differs from the exact one of
rounded noise by less than 1 / (8 * temperature) in any probability (temperature in integer units, 748 by default):
docs/evaluate.md.

`entropy_kernels` computes the same for `cpu`. Not covered: exact probabilities (`oracle`).
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np

from ncagen.sources.logarithm import LN_2, LOG_BITS, MANTISSA_BITS, log_mantissas
from ncagen.sources.nca.rules import GUMBEL_SHIFT, gumbel_table, logit_units
from ncagen.sources.nca.settings import Settings

DISTANCE_BITS = 12  # of u, as of the Gumbel table
SCALE_BITS = 32
EXP_BITS = MANTISSA_BITS
ENTROPY_BITS = LOG_BITS
EXP_ENTRIES = 2**16  # u is 58,369 (the range of the Gumbel table) and what rounding adds at most
NEVER = -1
MICRO = 10**6
_POWER_BITS = 96


@cache
def exp_table() -> np.ndarray:
    """Returns exp(-u / 4096) for each u, in units of 1/2**30: int32[65536].

    A product of integers from entry to entry, so that every platform computes the same; tests/test_oracle.py compares
    the entries with exponentials.
    """
    with localcontext() as context:
        context.prec = 50
        factor = int((Decimal(-1) / 2**DISTANCE_BITS).exp() * 2**_POWER_BITS)
    values, power = np.empty(EXP_ENTRIES, np.int32), 2**_POWER_BITS
    for u in range(EXP_ENTRIES):
        values[u] = power + (1 << _POWER_BITS - EXP_BITS - 1) >> _POWER_BITS - EXP_BITS
        power = power * factor >> _POWER_BITS
    return values


@cache
def pair_table() -> np.ndarray:
    """Returns the entropy of a cell with two possible states, for each u of the second: int32[65536], in units of
    1/2**24 nat. It follows from the other tables in integers."""
    return _entropies(np.stack([np.zeros(EXP_ENTRIES, np.int64), np.arange(EXP_ENTRIES)], axis=-1)).astype(np.int32)


def reach(settings: Settings) -> int:
    """Returns the most that noise can gain on the best logit; -1 without noise, so that no other state is within it."""
    temperature, gumbel = logit_units(settings, settings.temperature), gumbel_table()
    least, most = (int(gumbel[end]) * temperature >> GUMBEL_SHIFT for end in (0, -1))
    return most - least or -1


def scale(settings: Settings) -> int:
    """Returns round(2**44 / temperature), which converts distances of logits to u; 0 without noise."""
    temperature = logit_units(settings, settings.temperature)
    bits = SCALE_BITS + DISTANCE_BITS
    return (2**bits + temperature // 2) // temperature if temperature else 0


def cell_entropies(settings: Settings, logits: np.ndarray) -> np.ndarray:
    """Computes the entropy of each cell's next state.

    logits: int64[..., state], bias included. Returns int64[...], in units of 1/2**24 nat.
    """
    distance = logits.max(axis=-1, keepdims=True) - logits
    if not scale(settings):
        return np.zeros(logits.shape[:-1], np.int64)
    close = distance <= reach(settings)
    u = np.where(close, distance, 0) * scale(settings) + 2 ** (SCALE_BITS - 1) >> SCALE_BITS
    return _entropies(np.where(close, u, NEVER))


def _entropies(u: np.ndarray) -> np.ndarray:
    """Entropies from distances. u: int64[..., state], or NEVER for a state that cannot win. Returns int64[...]."""
    weight = np.where(u == NEVER, 0, exp_table()[u].astype(np.int64))
    total = weight.sum(axis=-1)
    return _log(total) + ((weight * u).sum(axis=-1) << (ENTROPY_BITS - DISTANCE_BITS)) // total


def _log(total: np.ndarray) -> np.ndarray:
    """Natural logarithm. total: int64[...], 1 to 256 in units of 1/2**30. Returns int64, in units of 1/2**24."""
    halvings = sum((total >= 2 ** (EXP_BITS + 1 + k)).astype(np.int64) for k in range(8))
    return halvings * LN_2 + log_mantissas(total >> halvings)


def micronats(settings: Settings, sums: np.ndarray) -> np.ndarray:
    """Computes the mean entropy of a patch from the entropies of a row's cells, in millionths of a nat.

    sums: int64[row], over the cells of all grids but the first, in units of 1/2**24 nat. Returns int32[row], rounded
    to the nearest; 0 for a row of one grid.
    """
    patches = settings.patches * (settings.frames - 1)
    mean = sums // max(patches, 1)
    return (mean * MICRO + 2 ** (ENTROPY_BITS - 1) >> ENTROPY_BITS).astype(np.int32)
