"""Draws the weights of random rules and their start cells, as integers, from settings, key and candidate.

A rule is the paper's network with its weights as integers. Every weight is a truncated standard normal times a
fixed scale; the variances 1/fan_in of the three layers, which only stretch all logits alike, are left out of the
weights and put into the unit that temperature and identity bias are measured in (`logit_units`).

The scales are round numbers close to the largest that keep every sum inside its integer, whatever the rule:

    perception   2 * 9 weights  <= 18 * 1819         =        32,742 < 2**15   (two weights with the channel wrap)
    hidden sum   4 products     <= 4 * 32742 * 16371 = 2,144,077,128 < 2**31   (16371: the end of its distribution)
    hidden unit  sum >> 16      <=                            32,715 < 2**15
    logit        16 products    <= 16 * 32715 * 2328 = 1,218,568,320 < 2**31

    with bias    at the settings' limits (10)    <= 1,565,515,694 < 2**31   (256 states with the channel wrap)
    with noise   at temperature 1                <= 1,974,339,297 < 2**31

So every sum is exact in int32 and in float64, in any order. docs/automaton.md, section 6, has the same bounds.

Not covered: how a rule changes a grid (`definition`).
"""

import math
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ncagen import philox
from ncagen.errors import SpecError
from ncagen.sources.nca.settings import Settings

PERCEPTION_CHANNELS = 4
HIDDEN_UNITS = 16
NEIGHBOURS = 9

PERCEPTION_SCALE = 800
HIDDEN_SCALE = 7200
OUTPUT_SCALE = 1024
SCALES = PERCEPTION_SCALE, HIDDEN_SCALE, OUTPUT_SCALE
HIDDEN_SHIFT = 16
MOST_UNIT = 4 * 32742 * 16371 >> HIDDEN_SHIFT  # of a hidden unit: see above

# One 64-bit number carries four 16-bit channels. LIFT is added to each weight so that no channel borrows from the next;
# nine lifts and CENTRE add up to 2**15, which flipping the top bit of each channel takes off again.
LIFT = 2 * 1819
CENTRE = 2**15 - NEIGHBOURS * LIFT

# Standard deviation of a standard normal cut at two sigma; JAX's truncated initialisers divide by it.
TRUNCATED_DEVIATION = Decimal("0.87962566103423978")

START_SCALE = 1024  # of the start weights, exp of a standard normal
GUMBEL_SHIFT = 12  # the noise, before the temperature, is in units of 1/2**12


class Rules(NamedTuple):
    """A batch of rules.

    perception: int16[batch, row, column, state, channel], which a neighbour in this state adds to each channel.
    hidden: int16[batch, unit, channel]. output: int16[batch, state, unit].
    """

    perception: np.ndarray
    hidden: np.ndarray
    output: np.ndarray


def fan_in(settings: Settings) -> int:
    """Counts the inputs of a perception channel: nine neighbours, each one-hot over the (wrapped) states."""
    return NEIGHBOURS * (settings.states + 2 * settings.channel_wrap)


def logit_units(settings: Settings, value: float) -> int:
    """Converts a logit of the paper's float network (temperature, identity bias) to the integers used here.

    One logit is the product of the three scales over 2**HIDDEN_SHIFT and the layers' standard deviations
    1/sqrt(fan_in), 1/sqrt(4), 1/sqrt(16). Computed in decimal, so that every platform rounds alike.
    """
    with localcontext() as context:
        context.prec = 50
        scales = Decimal(PERCEPTION_SCALE * HIDDEN_SCALE * OUTPUT_SCALE) / 2**HIDDEN_SHIFT
        deviations = Decimal(fan_in(settings) * PERCEPTION_CHANNELS * HIDDEN_UNITS).sqrt()
        return int((Decimal(repr(value)) * scales * deviations).to_integral_value(ROUND_HALF_EVEN))


@cache
def weight_table(scale: int) -> np.ndarray:
    """Returns a weight for each 16-bit word w: the normal cut at two sigma, at quantile (w + 1/2) / 65536.

    scale: the standard deviation. Returns int16[word], 65536 of them. tests/test_tables.py shows that the value nearest
    to a rounding limit is much further from it than any platform's error in the quantiles of the normal distribution,
    so the integers are the same everywhere.
    """
    lower = np.rint(scale / float(TRUNCATED_DEVIATION) * _lower_quantiles())
    return np.concatenate([lower, -lower[::-1]]).astype(np.int16)


@cache
def _lower_quantiles() -> np.ndarray:
    """The lower half of the quantiles of the normal cut at two sigma: float64[32768]."""
    normal = NormalDist()
    tail = normal.cdf(-2.0)
    step = (1.0 - 2.0 * tail) / 65536
    return np.array([normal.inv_cdf(tail + step * (w + 0.5)) for w in range(32768)])


@cache
def start_table() -> np.ndarray:
    """Returns a start weight for each 16-bit word w: exp of the standard normal at quantile (w + 1/2) / 65536.

    Returns int32[word], 65536 of them, in units of 1/START_SCALE.
    """
    quantile = NormalDist().inv_cdf
    lower = np.array([quantile((w + 0.5) / 65536) for w in range(32768)])
    return np.rint(START_SCALE * np.exp(np.concatenate([lower, -lower[::-1]]))).astype(np.int32)


@cache
def gumbel_table() -> np.ndarray:
    """Returns a standard Gumbel value for each 16-bit word w: -ln(-ln((w + 1/2) / 65536)).

    Returns int32[word], 65536 of them in rising order, in units of 1/2**GUMBEL_SHIFT.
    """
    values = -(2**GUMBEL_SHIFT) * np.log(-np.log((np.arange(65536) + 0.5) / 65536))
    return np.rint(values).astype(np.int32)


def rule_address(
    settings: Settings, key: tuple[int, int], candidates: np.ndarray
) -> tuple[tuple[int, int], np.ndarray]:
    """Returns the key (seed and stream) and the numbers, uint64[batch], that the rules of candidates are drawn by.

    key: seed and stream of the candidates. candidates: uint64[batch]. `trajectories_per_rule` neighbouring candidates
    share a rule; under the control frozen-rule all share that of one candidate of the pilot's stream. Raises SpecError
    where it is not known which.
    """
    if settings.control != "frozen-rule":
        return key, candidates // np.uint64(settings.trajectories_per_rule)
    if settings.rule_candidate is None:
        raise SpecError("control frozen-rule has no rule_candidate: give the candidate whose rule all rows have")
    return (key[0], philox.STREAMS["pilot"]), np.full(len(candidates), settings.rule_candidate, np.uint64)


def later_candidates(settings: Settings, candidates: np.ndarray) -> np.ndarray:
    """Returns the candidates whose rules those of the control new-rule follow from the grid `change_at` on.

    candidates: uint64[batch], below 2**63. Returns uint64[batch]: candidate + 2**63, or the next lower number at which
    `trajectories_per_rule` candidates begin to share a rule. No split tries candidates there.
    """
    return candidates + np.uint64(2**63 - 2**63 % settings.trajectories_per_rule)


def sample_rules(settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> Rules:
    """Draws the rules of candidates. key: seed and stream. candidates: uint64[batch]. Returns Rules of `batch` rules.

    `rule_address` says which candidates share a rule. Weights are drawn in the order of the arrays' axes, those of
    perception for all wrapped channels, before `fold_wrap`.
    """
    key, numbers = rule_address(settings, key, candidates)
    batch, channels = len(numbers), settings.states + 2 * settings.channel_wrap

    def draw(purpose, scale, *shape):
        drawn = philox.words(*key, purpose, numbers, math.prod(shape))
        return weight_table(scale)[drawn].reshape(batch, *shape)

    perception = draw(philox.PERCEPTION, PERCEPTION_SCALE, 3, 3, channels, PERCEPTION_CHANNELS)
    return Rules(
        fold_wrap(perception) if settings.channel_wrap else perception,
        draw(philox.HIDDEN, HIDDEN_SCALE, HIDDEN_UNITS, PERCEPTION_CHANNELS),
        draw(philox.OUTPUT, OUTPUT_SCALE, settings.states, HIDDEN_UNITS),
    )


def fold_wrap(wrapped: np.ndarray) -> np.ndarray:
    """Converts perception weights by wrapped channel to weights by state.

    The released code pads the one-hot channels as it pads rows and columns, so its network sees
    [c(n-1), c0 ... c(n-1), c0]: the first and the last state carry two weights each.
    wrapped: int16[..., wrapped channel, channel], states + 2 wrapped ones. Returns int16[..., state, channel].
    """
    folded = wrapped[..., 1:-1, :].copy()
    folded[..., -1, :] += wrapped[..., 0, :]
    folded[..., 0, :] += wrapped[..., -1, :]
    return folded


def sample_starts(settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    """Draws the start grids of candidates. candidates: uint64[batch]. Returns uint8[batch, row, column].

    key: seed and stream. `uniform`: all states are equally likely. `categorical`: each grid draws a weight for each
    state, then its cells with these weights.
    """
    shape = len(candidates), settings.height, settings.width
    draws = philox.words(*key, philox.START_CELLS, candidates, settings.cells).astype(np.uint64)
    if settings.start == "uniform":
        return (draws * np.uint64(settings.states) >> np.uint64(16)).astype(np.uint8).reshape(shape)
    weights = start_table()[philox.words(*key, philox.START_WEIGHTS, candidates, settings.states)]
    ends = np.cumsum(weights, axis=1, dtype=np.uint64)
    points = draws * ends[:, -1:] >> np.uint64(16)
    return (points[:, :, None] >= ends[:, None, :]).sum(axis=2).astype(np.uint8).reshape(shape)
