"""Computes what a model that knows the rule can know of each grid of a row: probabilities, losses, accuracy.

Given the grid before and the rule, the cells of the next grid are independent. There are two forms of a cell's
probabilities:

    exact     P(s) = sum over noise values v of P(N = v) * product over the other states o of F(logit[s] + v - logit[o],
              minus 1 where o is lower, since ties go to the lower state), F the distribution function of the integer
              noise: the definition's noise, to the last bit of float64
    softmax   softmax(logit / T), and half of the probability of each tie moved to the lower state. It differs from the
              exact one by less than 1e-4 where T, in integer units, is EXACT_BELOW or more (tests/test_oracle.py)

`known_rule` uses the exact form below EXACT_BELOW (a temperature of 0.0000086 with the default alphabet), elsewhere
softmax. With a stride above 1 the unrecorded grid one step before is taken as known, so `nats` is a lower bound, and
`most` an upper one: the entropy of all steps since the grid before. Not covered: the stored column (`entropy`), in
integers.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ncagen.sources.nca import entropy
from ncagen.sources.nca.rules import (
    GUMBEL_SHIFT,
    HIDDEN_SHIFT,
    NEIGHBOURS,
    PERCEPTION_CHANNELS,
    Rules,
    gumbel_table,
    later_candidates,
    logit_units,
    sample_rules,
)
from ncagen.sources.nca.settings import Settings

EXACT_BELOW = 64
MOST_CELL_STATES = 2**21  # of grids that are evaluated at once
MOST_VALUES = 2**22  # numbers in an array of the exact form


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of each grid, float64[row, frame] each; nan for the first grid, which no rule predicts.

    nats: entropy, the least expected loss of a patch. most: an upper bound of it, equal with a stride of 1.
    realised: -ln of the probability of what followed, a patch.
    accuracy: the share of patches whose most likely value followed.
    """

    nats: np.ndarray
    most: np.ndarray
    realised: np.ndarray
    accuracy: np.ndarray


def known_rule(settings: Settings, key: tuple[int, int], candidates: np.ndarray, grids: np.ndarray) -> Known:
    """Evaluates rows with the rules that made them.

    key: seed and stream. candidates: uint64[row]. grids: uint8[row, frame, y, x], whole rows.
    """
    shape = len(grids), settings.frames
    found = Known(*(np.full(shape, np.nan) for _ in range(4)))
    step = max(1, MOST_CELL_STATES // (settings.frames * settings.cells * settings.states))
    for first in range(0, len(grids) if settings.frames > 1 else 0, step):
        some = slice(first, first + step)
        before = _grids_before(settings, key, candidates[some], grids[some])
        logits = known_logits(settings, key, candidates[some], before)
        parts = _losses(settings, logits.reshape(-1, settings.states), grids[some, 1:].reshape(-1))
        for name, part in zip(("nats", "realised", "accuracy"), parts, strict=True):
            getattr(found, name)[some, 1:] = _by_grid(settings, part, name == "accuracy")
        found.most[some, 1:] = _most(settings, key, candidates[some], found.nats[some, 1:])
    return found


def known_logits(settings: Settings, key: tuple[int, int], candidates: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Computes the logits of every grid but the first, by the rules that rows follow.

    candidates: uint64[row]. before: uint8[row, frame, y, x], the grid one step before each. Returns int64[row, frame,
    cell, state]. With the control new-rule, grids from `change_at` on follow the later rule.
    """
    change = before.shape[1] if settings.change_at is None else settings.change_at - 1
    first = biased_logits(settings, sample_rules(settings, key, candidates), before[:, :change])
    if settings.change_at is None:
        return first
    later = sample_rules(settings, key, later_candidates(settings, candidates))
    return np.concatenate([first, biased_logits(settings, later, before[:, change:])], axis=1)


def biased_logits(settings: Settings, rules: Rules, grids: np.ndarray) -> np.ndarray:
    """Computes the logits of every state in every cell, identity bias included.

    rules: of each row. grids: uint8[row, frame, y, x]. Returns int64[row, frame, cell, state], the same as
    `definition.logits` and the bias: sums of float64 products below 2**53 are exact.
    """
    rows, frames = grids.shape[:2]
    row = np.arange(rows)[:, None, None, None]
    perception = np.zeros((*grids.shape, PERCEPTION_CHANNELS), np.int32)
    for place in range(NEIGHBOURS):
        y, x = divmod(place, 3)
        perception += rules.perception[row, y, x, np.roll(grids, (1 - y, 1 - x), axis=(2, 3))]
    cells = perception.reshape(rows, -1, PERCEPTION_CHANNELS).astype(np.float64)
    units = np.maximum(cells @ rules.hidden.transpose(0, 2, 1), 0).astype(np.int64) >> HIDDEN_SHIFT
    logits = (units.astype(np.float64) @ rules.output.transpose(0, 2, 1)).astype(np.int64)
    logits = logits.reshape(rows, frames, -1, settings.states)
    own = grids.reshape(rows, frames, -1, 1) == np.arange(settings.states)
    return logits + own * logit_units(settings, settings.identity_bias)


def probabilities(settings: Settings, logits: np.ndarray) -> np.ndarray:
    """Computes the probabilities of a cell's next state, in the form that suits the temperature.

    logits: int64[cell, state], bias included. Returns float64[cell, state].
    """
    few = logit_units(settings, settings.temperature) < EXACT_BELOW
    return exact_probabilities(settings, logits) if few else softmax_probabilities(settings, logits)


def exact_probabilities(settings: Settings, logits: np.ndarray) -> np.ndarray:
    """Computes the exact probabilities. logits: int64[cell, state], bias included. Returns float64[cell, state]."""
    noise = gumbel_table().astype(np.int64) * logit_units(settings, settings.temperature) >> GUMBEL_SHIFT
    least = int(noise[0])
    share = np.bincount(noise - least) / len(noise)  # of each noise value from the least on
    below = np.concatenate([[0.0], np.cumsum(share)])  # below[i]: the noise is less than least + i
    below[-1] = 1.0
    found = np.zeros(logits.shape)
    step = max(1, MOST_VALUES // len(share))
    for first in range(0, len(logits), step):
        some = logits[first : first + step]
        for s in range(settings.states):
            wins = np.broadcast_to(share, (len(some), len(share))).copy()
            for o in range(settings.states):
                if o != s:
                    lead = some[:, s] - some[:, o] + (o > s)
                    wins *= below[np.clip(lead[:, None] + np.arange(len(share)), 0, len(share))]
            found[first : first + step, s] = wins.sum(axis=1)
    return found


def softmax_probabilities(settings: Settings, logits: np.ndarray) -> np.ndarray:
    """Computes softmax with ties to the lower state, of states that noise can make win; the others have 0.

    logits: int64[cell, state], bias included; the temperature is not 0. Returns float64[cell, state].
    """
    temperature = logit_units(settings, settings.temperature)
    distance = logits.max(axis=-1, keepdims=True) - logits
    weight = np.where(distance <= entropy.reach(settings), np.exp(-distance / temperature), 0.0)
    found = weight / weight.sum(axis=-1, keepdims=True)
    lower = np.cumsum(found, axis=-1) - found
    # s and o tie with a probability of about P(s) P(o) / T: half of it was counted for the higher state.
    return found * (1 + (1 - found - 2 * lower) / (2 * temperature))


def _losses(settings: Settings, logits: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, ...]:
    """Entropy, -ln P of the state that followed, and whether it was the most likely: [cell] each.

    logits: int64[cell, state]. following: uint8[cell].
    """
    first_two = np.partition(logits, -2, axis=-1)[:, -2:]
    close = first_two[:, 1] - first_two[:, 0] <= entropy.reach(settings)
    right = logits.argmax(axis=-1) == following
    nats, realised = np.zeros(len(logits)), np.where(right, 0.0, np.inf)
    chance = probabilities(settings, logits[close])
    with np.errstate(divide="ignore"):
        realised[close] = -np.log(chance[np.arange(len(chance)), following[close]])
    nats[close] = -(chance * np.log(np.where(chance > 0, chance, 1.0))).sum(axis=-1)
    right[close] = chance.argmax(axis=-1) == following[close]
    return nats, realised, right


def _by_grid(settings: Settings, cells: np.ndarray, all_right: bool) -> np.ndarray:
    """Sums of cells as means over patches, or the share of patches whose cells are all true: float64[row, frame]."""
    patch = settings.patch
    shape = -1, settings.frames - 1, settings.height // patch, patch, settings.width // patch, patch
    patches = cells.reshape(shape)
    return patches.all(axis=(3, 5)).mean(axis=(2, 3)) if all_right else patches.sum(axis=(3, 5)).mean(axis=(2, 3))


def _most(settings: Settings, key: tuple[int, int], candidates: np.ndarray, nats: np.ndarray) -> np.ndarray:
    """The entropy of all steps from one recorded grid to the next, at most that of guessing: float64[row, frame].

    nats: float64[row, frame], the entropy of the last of these steps.
    """
    if settings.stride == 1:
        return nats
    from ncagen.sources.nca.rollout import entropies

    sums = entropies(settings, key, candidates, counted_steps=settings.stride)[:, 1:]
    guess = settings.patch**2 * math.log(settings.states)
    return np.clip(sums / (2**entropy.ENTROPY_BITS * settings.patches), nats, guess)


def _grids_before(settings: Settings, key: tuple[int, int], candidates: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """The grids one step before each recorded one but the first: uint8[row, frame, y, x]."""
    if settings.stride == 1:
        return grids[:, :-1]
    from ncagen.sources.nca import cpu

    drawn, starts = cpu.sample(settings, key, candidates)
    earlier = replace(settings, warmup=settings.warmup + settings.stride - 1)
    before = cpu.rollout(earlier, key, candidates, drawn, starts, 0, settings.frames - 1)
    return before.reshape(len(candidates), settings.frames - 1, settings.height, settings.width)
