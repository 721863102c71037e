"""Predictors that are fitted on the grids so far: a linear one, and a network of the automaton's own architecture.

A cell's next state is predicted from its 3 x 3 neighbourhood. The fit of a grid begins with that of the grid before;
the second grid, before which no transition is known, is predicted by the cell histogram.
The sharpness of a prediction, 1 / temperature of its softmax, is chosen for each grid by the other rows of the sample.
Everything is deterministic: fixed passes and steps, random bits addressed by row, sums in a fixed order, an
exponential made of products; threads share rows, never sums. Not covered: the arithmetic (`fit_kernels`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np

from ncagen import philox
from ncagen.cores import cores
from ncagen.evaluate.rungs.counts import cells_by_histogram
from ncagen.evaluate.rungs.scores import Scores, of_cells
from ncagen.evaluate.sample import GridSample
from ncagen.hints import needed_by
from ncagen.sources.nca.rules import HIDDEN_UNITS, NEIGHBOURS, PERCEPTION_CHANNELS

PASSES = 24  # of the linear fit over all transitions, for each grid
PENALTY = 0.2  # half of it times the sum of squared weights is added to the sum of losses
STEP = 0.4

BATCH = 32
STEPS = 3750  # of Adam for each grid
RATES = 0.01, 0.0005  # falling linearly in the steps of a grid
DECAY = 3e-4  # half of it times the sum of squared weights is added to the mean loss
START = 0.5, 0.9, 0.4  # limits of the uniform start weights of the three layers
STREAM = 0x6576616C  # of Philox: no split of a dataset has it

EACH_GRID = 32  # with more transitions, a fit serves the next known // EACH_GRID grids too
SHARPNESS = np.geomspace(0.05, 3.0, 40)

Fit = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Takes neighbours, next states and a row's number in the sample; returns logits."""


def linear(sample: GridSample, done: Callable[[int], object]) -> Scores:
    """Logistic regression on the one-hot states of the nine neighbours, with a bias."""
    return _scores(sample, lambda neighbours, after, row: _linear_row(neighbours, after, sample.shape.states), done)


def architecture(sample: GridSample, done: Callable[[int], object]) -> Scores:
    """The automaton's network, one-hot neighbours to 4 to 16 rectified units to states, trained by Adam."""

    def fit(neighbours: np.ndarray, after: np.ndarray, row: int) -> np.ndarray:
        return _network_row(neighbours, after, sample.shape.states, (sample.seed, row))

    return _scores(sample, fit, done)


def _scores(sample: GridSample, fit: Fit, done: Callable[[int], object]) -> Scores:
    shape, cells = sample.shape, sample.cells
    after = cells[:, 1:].reshape(len(cells), sample.grids - 1, shape.cells)
    logits = np.empty((*after.shape, shape.states), np.float32)

    def work(row: int) -> None:
        logits[row] = fit(neighbours_of(cells[row, :-1], shape.states), after[row], row)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(work, range(len(cells))):
            done(1)
    nats, right = calibrated(logits, after.astype(np.int64))
    by_histogram = cells_by_histogram(sample)
    nats[:, 0], right[:, 0] = by_histogram[0][:, 0], by_histogram[1][:, 0]
    return of_cells(shape, nats, right)


def neighbours_of(cells: np.ndarray, states: int) -> np.ndarray:
    """The index of each neighbour's one-hot input, position times states plus state: int32[grid, cell, neighbour].

    cells: uint8[grid, y, x], on a torus.
    """
    around = ((away, across) for away in (1, 0, -1) for across in (1, 0, -1))
    inputs = [np.roll(cells, shift, (1, 2)).astype(np.int32) + n * states for n, shift in enumerate(around)]
    return np.stack(inputs, axis=-1).reshape(len(cells), -1, NEIGHBOURS)


def is_refitted(known: int) -> bool:
    """Whether there is a fit on this number of transitions: on each up to EACH_GRID, then ever more rarely."""
    return known > 0 and known % max(1, 2 * known // EACH_GRID) == 0


def calibrated(logits: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses and hits of cells, float64 and bool [row, grid, cell], each grid as sharp as suits the other rows best.

    logits: float32[row, grid, cell, state]. after: int64[row, grid, cell]. Of one row alone, logits stay as they are.
    """
    rows, nats = np.arange(len(after)), np.empty(after.shape)
    for grid in range(after.shape[1]):
        some, wanted = logits[:, grid].astype(np.float64), after[:, grid]
        losses = np.stack([_losses(some, wanted, sharpness) for sharpness in SHARPNESS])
        totals = losses.sum(axis=2)  # [sharpness, row]
        best = (totals.sum(axis=1, keepdims=True) - totals).argmin(axis=0)
        nats[:, grid] = losses[best, rows] if len(rows) > 1 else _losses(some, wanted, 1.0)
    return nats, logits.argmax(axis=3) == after


def _losses(logits: np.ndarray, after: np.ndarray, sharpness: float) -> np.ndarray:
    """Minus the logarithm of the softmax at what followed. logits: float64[..., state]. after: int64[...]."""
    scaled = logits * sharpness
    scaled -= scaled.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(scaled, after[..., None], axis=-1)[..., 0]
    return np.log(np.exp(scaled).sum(axis=-1)) - chosen


def _linear_row(neighbours: np.ndarray, after: np.ndarray, states: int) -> np.ndarray:
    """Logits of each grid of a row: float32[grid, cell, state], 0 for the first, before which nothing is known.

    neighbours: int32[grid, cell, neighbour]. after: uint8[grid, cell].
    """
    fit_kernels = _kernels()
    inputs = NEIGHBOURS * states
    logits = np.zeros((*after.shape, states), np.float32)
    work = np.zeros((4, inputs, states))  # weights, those of the pass before, those ahead, gradient
    units = np.empty((1, states))
    for known in range(1, len(after)):
        if is_refitted(known):
            seen, followed = neighbours[:known].reshape(-1, NEIGHBOURS), after[:known].ravel()
            often = np.bincount(seen.ravel(), minlength=inputs).astype(np.float64)
            fit_kernels.fit_linear(seen, followed, often, work, units, PASSES, PENALTY, STEP)
        fit_kernels.linear_logits(neighbours[known], work[0], logits[known])
    return logits


def _network_row(neighbours: np.ndarray, after: np.ndarray, states: int, key: tuple[int, int]) -> np.ndarray:
    """The same from a network. key: the seed and the row's number in the sample, for start weights and examples."""
    fit_kernels = _kernels()
    logits = np.zeros((*after.shape, states), np.float32)
    sizes = NEIGHBOURS * states * PERCEPTION_CHANNELS, HIDDEN_UNITS * PERCEPTION_CHANNELS, states * HIDDEN_UNITS
    work = np.zeros((4, sum(sizes)))  # weights, gradient, and Adam's first and second moments
    work[0] = (_random(key, 0, sum(sizes)) / 2**31 - 1) * np.repeat(START, sizes)
    units = np.empty((2, PERCEPTION_CHANNELS + HIDDEN_UNITS + states))
    done = 0
    for known in range(1, len(after)):
        if is_refitted(known):
            seen, followed = neighbours[:known].reshape(-1, NEIGHBOURS), after[:known].ravel()
            examples = (_random(key, known, BATCH * STEPS) * len(seen) >> 32).astype(np.int64)
            fit_kernels.fit_network(seen, followed, examples, work, units, BATCH, done, RATES, DECAY)
            done += STEPS
        fit_kernels.network_logits(neighbours[known], work[:1], units, logits[known])
    return logits


def _kernels() -> ModuleType:
    """The compiled arithmetic. Imported here, so that what else is in `ncagen.evaluate` works without numba."""
    with needed_by("the rungs linear and architecture"):
        from ncagen.evaluate.rungs import fit_kernels
    return fit_kernels


def _random(key: tuple[int, int], purpose: int, count: int) -> np.ndarray:
    """Random numbers below 2**32: int64[count]. key: the seed and a row's number. purpose: below 2**32."""
    seed, row = key
    [words] = philox.words(seed, STREAM, purpose, np.array([row], np.uint64), 2 * count)
    return words.view("<u4").astype(np.int64)
