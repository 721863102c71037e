"""(spec, candidate) to integers: the weights of a random rule, the start cells, and the tables both are drawn from.

A rule is the paper's network with its weights as integers. Every weight is a truncated standard normal times a
fixed scale; the variances 1/fan_in of the three layers, which only stretch all logits alike, are left out of the
weights and put into the unit that temperature and identity bias are measured in (`logit_units`).

The scales are round numbers close to the largest that keep every sum inside its integer, whatever the rule:

    perception   2 * 9 weights  <= 18 * 1819         =        32,742 < 2**15   (two weights with the channel wrap)
    hidden sum   4 products     <= 4 * 32742 * 16369 = 2,143,815,192 < 2**31
    hidden unit  sum >> 16      <=                            32,712 < 2**15
    logit        16 products    <= 16 * 32712 * 2328 = 1,218,456,576 < 2**31

What is left of 2**31 in the logit holds the identity bias and the noise at the spec's limits (10 and temperature 1)
for all 256 states. So every sum is exact in int32 and in float64, in any order.

This module draws; what a rule does to a grid stands in `definition`.
"""

import math
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ncagen import philox
from ncagen.spec import Spec

PERCEPTION_CHANNELS = 4
HIDDEN_UNITS = 16
NEIGHBOURS = 9

PERCEPTION_SCALE = 800
HIDDEN_SCALE = 7200
OUTPUT_SCALE = 1024
HIDDEN_SHIFT = 16

# Standard deviation of a standard normal cut at two sigma; JAX's truncated initialisers divide by it.
TRUNCATED_DEVIATION = Decimal("0.87962566103423978")

START_SCALE = 1024  # of the start states' weights, exp of a standard normal
GUMBEL_SHIFT = 12  # the noise, before the temperature, is in units of 1/2**12


class Rules(NamedTuple):
    """A batch of rules.

    perception: int16[batch, row, column, state, channel], what a neighbour in this state adds to each channel.
    hidden: int16[batch, unit, channel]. output: int16[batch, state, unit].
    """

    perception: np.ndarray
    hidden: np.ndarray
    output: np.ndarray


def fan_in(spec: Spec) -> int:
    """Inputs of a perception channel: nine neighbours, each one-hot over the (wrapped) states."""
    return NEIGHBOURS * (spec.states + 2 * spec.channel_wrap)


def logit_units(spec: Spec, value: float) -> int:
    """A logit of the paper's float network (its temperature, its identity bias) in this automaton's integers.

    One is the product of the three scales over 2**HIDDEN_SHIFT and the layers' standard deviations
    1/sqrt(fan_in), 1/sqrt(4), 1/sqrt(16). Decimal, so that every platform rounds alike.
    """
    with localcontext() as context:
        context.prec = 50
        scales = Decimal(PERCEPTION_SCALE * HIDDEN_SCALE * OUTPUT_SCALE) / 2**HIDDEN_SHIFT
        deviations = Decimal(fan_in(spec) * PERCEPTION_CHANNELS * HIDDEN_UNITS).sqrt()
        return int((Decimal(repr(value)) * scales * deviations).to_integral_value(ROUND_HALF_EVEN))


@cache
def weight_table(scale: int) -> np.ndarray:
    """A weight for each 16-bit word w: the normal cut at two sigma, at quantile (w + 1/2) / 65536.

    Standard deviation `scale`. int16[65536]. The nearest value to a rounding limit is tested to be far further
    from it than any platform's error in the normal's quantiles, so the integers are the same everywhere.
    """
    normal = NormalDist()
    tail = normal.cdf(-2.0)
    step = (1.0 - 2.0 * tail) / 65536
    factor = scale / float(TRUNCATED_DEVIATION)
    lower = [round(factor * normal.inv_cdf(tail + step * (w + 0.5))) for w in range(32768)]
    return np.array(lower + [-v for v in reversed(lower)], np.int16)


@cache
def start_table() -> np.ndarray:
    """A start state's weight for each 16-bit word: exp of the standard normal at (w + 1/2) / 65536.

    In units of 1/START_SCALE. int32[65536].
    """
    quantile = NormalDist().inv_cdf
    lower = [quantile((w + 0.5) / 65536) for w in range(32768)]
    return np.array([round(START_SCALE * math.exp(z)) for z in lower + [-z for z in reversed(lower)]], np.int32)


@cache
def gumbel_table() -> np.ndarray:
    """A standard Gumbel value for each 16-bit word: -ln(-ln((w + 1/2) / 65536)).

    In units of 1/2**GUMBEL_SHIFT. int32[65536], rising.
    """
    values = [-(2**GUMBEL_SHIFT) * math.log(-math.log((w + 0.5) / 65536)) for w in range(65536)]
    return np.array([round(v) for v in values], np.int32)


def sample_rules(spec: Spec, stream: int, candidates: np.ndarray) -> Rules:
    """The rules of these candidates. candidates: uint64[batch].

    `trajectories_per_rule` neighbouring candidates share a rule. Weights lie in the order of the arrays' axes,
    the perception's with all its channels before the wrap is folded in.
    """
    numbers = candidates // np.uint64(spec.trajectories_per_rule)
    batch, channels = len(numbers), spec.states + 2 * spec.channel_wrap

    def draw(purpose, scale, *shape):
        drawn = philox.words(spec.seed, stream, purpose, numbers, math.prod(shape))
        return weight_table(scale)[drawn].reshape(batch, *shape)

    perception = draw(philox.PERCEPTION, PERCEPTION_SCALE, 3, 3, channels, PERCEPTION_CHANNELS)
    return Rules(
        fold_wrap(perception) if spec.channel_wrap else perception,
        draw(philox.HIDDEN, HIDDEN_SCALE, HIDDEN_UNITS, PERCEPTION_CHANNELS),
        draw(philox.OUTPUT, OUTPUT_SCALE, spec.states, HIDDEN_UNITS),
    )


def fold_wrap(wrapped: np.ndarray) -> np.ndarray:
    """Perception weights by state from weights by wrapped channel.

    The released code pads the one-hot channels as it pads rows and columns, so its network sees
    [c(n-1), c0 ... c(n-1), c0]: the first and the last state carry two weights each.
    wrapped: [..., states + 2, channel]. Returns [..., states, channel].
    """
    folded = wrapped[..., 1:-1, :].copy()
    folded[..., -1, :] += wrapped[..., 0, :]
    folded[..., 0, :] += wrapped[..., -1, :]
    return folded


def sample_starts(spec: Spec, stream: int, candidates: np.ndarray) -> np.ndarray:
    """The start grids of these candidates. candidates: uint64[batch]. Returns uint8[batch, row, column].

    `uniform`: every state alike. `categorical`: each grid draws a weight for each state, then its cells by them.
    """
    shape = len(candidates), spec.grid, spec.grid
    draws = philox.words(spec.seed, stream, philox.START_CELLS, candidates, spec.cells).astype(np.uint64)
    if spec.start == "uniform":
        return (draws * np.uint64(spec.states) >> np.uint64(16)).astype(np.uint8).reshape(shape)
    weights = start_table()[philox.words(spec.seed, stream, philox.START_WEIGHTS, candidates, spec.states)]
    ends = np.cumsum(weights, axis=1, dtype=np.uint64)
    points = draws * ends[:, -1:] >> np.uint64(16)
    return (points[:, :, None] >= ends[:, None, :]).sum(axis=2).astype(np.uint8).reshape(shape)
