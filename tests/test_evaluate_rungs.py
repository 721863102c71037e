"""The predictors of the ladder: known answers, other implementations, and probabilities that add to one."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ncagen.audit.shape import Shape
from ncagen.evaluate import sample as samples
from ncagen.evaluate.rungs import PREDICTORS, counts, fit_kernels, fitted, lookup, lookup_kernels
from ncagen.evaluate.sample import GridSample, Sample, cut, frequencies, numbers_of

SHAPE = Shape(states=3, height=4, width=6, patch=2, row_tokens=10 * 8)


def sample_of(cells: np.ndarray, shape: Shape = SHAPE, seed: int = 0) -> GridSample:
    """A sample of grids. cells: integers [row, grid, y, x]."""
    cells = np.ascontiguousarray(cells, np.uint8)
    high, wide, patch = shape.height // shape.patch, shape.width // shape.patch, shape.patch
    by_patch = cells.reshape(*cells.shape[:2], high, patch, wide, patch).swapaxes(3, 4)
    digits = by_patch.reshape(*cells.shape[:2], shape.patches, patch * patch).astype(np.int64)
    patches = digits @ shape.states ** np.arange(patch * patch)
    return GridSample(shape.patch_ids, patches, 2, frequencies(patches, patches[:0]), seed, shape, cells)


def random_cells(rows: int = 3, grids: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SHAPE.states, (rows, grids, SHAPE.height, SHAPE.width))


def shifting(rows: int = 3, grids: int = 10) -> np.ndarray:
    """Rows whose rule is: the state of the left neighbour, and one more in odd rows of the sample."""
    first = random_cells(rows, 1, seed=1)[:, 0]
    more = (np.arange(rows) % 2)[:, None, None]
    return np.stack([(np.roll(first, t, axis=2) + t * more) % SHAPE.states for t in range(grids)], axis=1)


def predict(name: str, sample: Sample):
    return next(p for p in PREDICTORS if p.name == name).predict(sample, lambda rows: None)


def test_every_predictor_reports_every_row_and_leaves_the_first_grid_out():
    sample = sample_of(random_cells())
    for predictor in PREDICTORS:
        told: list[int] = []
        scores = predictor.predict(sample, told.append)
        assert sum(told) == 3, predictor.name
        assert np.isnan(scores.nats[:, 0]).all() and np.isnan(scores.right[:, 0]).all()
        assert np.isfinite(scores.nats[:, 1:]).all() and (scores.right[:, 1:] <= 1).all()


def test_uniform_is_the_logarithm_of_the_ids():
    scores = predict("uniform", sample_of(random_cells()))
    assert np.allclose(scores.nats[:, 1:], math.log(3**4)) and np.allclose(scores.right[:, 1:], 3**-4)


def test_unigram_counts_the_other_rows_only():
    patches = np.array([[[0, 0], [1, 1]], [[0, 0], [1, 2]], [[5, 5], [2, 2]]])
    scores = predict("unigram", Sample(10, patches, 2, frequencies(patches, np.array([[[7, 7], [2, 9]]])), 0))
    # Of the second grids of the others: row 0 sees 1, 2, 2, 2, 2, 9; row 2 sees 1, 1, 1, 2, 2, 9.
    assert scores.nats[0, 1] == pytest.approx(-math.log((1 + 3 / 10) / (6 + 3)))
    assert scores.nats[2, 1] == pytest.approx(-math.log((2 + 3 / 10) / (6 + 3)))
    assert scores.right[:, 1].tolist() == [0, 0.5, 0]


def test_the_cell_histogram_is_that_of_the_grids_before():
    cells = np.zeros((1, 3, 4, 6))
    cells[0, 1] = 1
    cells[0, 2] = 1
    scores = predict("cell histogram", sample_of(cells))
    assert scores.nats[0, 1] == pytest.approx(-4 * math.log(0.5 / 25.5))
    assert scores.nats[0, 2] == pytest.approx(-4 * math.log(24.5 / 49.5))
    assert scores.right[0, 1:].tolist() == [0, 0]  # of equal states the lower one is the most likely


def test_the_patch_histogram_is_smoothed_with_that_of_cells():
    sample = sample_of(random_cells(1))
    scores = predict("patch histogram", sample)
    seen: Counter = Counter()
    for grid in range(1, sample.grids):
        seen.update(sample.patches[0, grid - 1].tolist())
        cells = np.bincount(sample.cells[0, :grid].ravel(), minlength=3) + 0.5
        shares = cells / cells.sum()
        total, distinct, nats = sum(seen.values()), len(seen), []
        for patch in sample.patches[0, grid].tolist():
            weaker = math.prod(shares[patch // 3**k % 3] for k in range(4))
            nats.append(-math.log((seen[patch] + distinct * weaker) / (total + distinct)))
        assert scores.nats[0, grid] == pytest.approx(np.mean(nats))


@pytest.mark.parametrize("period", [1, 2, 5])
def test_a_copy_finds_the_period_of_a_row(period):
    cells = np.tile(random_cells(2, period), (1, 12 // period + 1, 1, 1))[:, :12]
    right = predict("copy", sample_of(cells)).right
    assert (right[:, period + 1 :] == 1).all() and (period == 1 or (right[:, 1] < 1).all())


def slow_lookup(cells: np.ndarray, states: int) -> tuple[np.ndarray, np.ndarray]:
    """The lookup of one row with dictionaries: losses and hits of cells, [grid - 1, y, x]."""
    grids, height, width = cells.shape
    seen: dict[tuple, Counter] = {}
    nats, right = np.empty((2, grids - 1, height, width))
    offsets = ([(0, 0)], [(-1, 0), (1, 0), (0, -1), (0, 1)], [(-1, -1), (-1, 1), (1, -1), (1, 1)])

    def contexts(grid: int, y: int, x: int) -> list[tuple]:
        around = [[int(cells[grid, (y + a) % height, (x + b) % width]) for a, b in some] for some in offsets]
        return [tuple(state for some in around[: level + 1] for state in some) for level in range(3)]

    for grid in range(1, grids):
        histogram = np.bincount(cells[:grid].ravel(), minlength=states) + 0.5
        for y in range(height):
            for x in range(width):
                p = histogram / histogram.sum()
                for context in contexts(grid - 1, y, x):
                    if found := seen.get(context):
                        total, distinct = sum(found.values()), len(found)
                        p = np.array([(found[s] + distinct * p[s]) / (total + distinct) for s in range(states)])
                nats[grid - 1, y, x] = -math.log(p[cells[grid, y, x]])
                right[grid - 1, y, x] = p.argmax() == cells[grid, y, x]
        for y in range(height):
            for x in range(width):
                for context in contexts(grid - 1, y, x):
                    seen.setdefault(context, Counter())[int(cells[grid, y, x])] += 1
    return nats, right


@pytest.mark.parametrize("cells", [random_cells(), shifting()], ids=["random", "shifting"])
def test_the_lookup_equals_one_with_dictionaries(cells, monkeypatch):
    monkeypatch.setattr(lookup, "MOST_COUNTS", 2 * cells[0].size * SHAPE.states)  # two rows together, and the third
    scores = predict("lookup", sample_of(cells))
    for row, some in enumerate(cells.astype(np.uint8)):
        nats, right = slow_lookup(some, SHAPE.states)
        assert scores.nats[row, 1:] == pytest.approx(nats.sum(axis=(1, 2)) / SHAPE.patches)
        by_patch = right.reshape(len(right), 2, 2, 3, 2).all(axis=(2, 4)).mean(axis=(1, 2))
        assert scores.right[row, 1:].tolist() == by_patch.tolist()


@given(arrays.arrays(np.int32, (2, 5), elements=st.integers(0, 50)), st.integers(0, 4))
def test_smoothed_counts_add_to_one(seen, state):
    smoothed = np.full((2, 5), 0.1)
    smoothed[:, state] = 0.6
    for number, p in enumerate(smoothed):
        lookup_kernels.mix(p, seen, np.uint64(number))
    assert np.allclose(smoothed.sum(axis=1), 1) and (smoothed > 0).all()


@settings(max_examples=30)
@given(arrays.arrays(np.uint8, (2, 2, 3, 3), elements=st.integers(0, 255)))
def test_neighbourhoods_are_equal_where_their_cells_are(cells):
    centre, cross, block = lookup.neighbourhoods(cells)
    around = np.stack([np.roll(cells, (a, b), (2, 3)) for a in (-1, 0, 1) for b in (-1, 0, 1)], axis=-1)
    for numbers, inputs in ((centre, [4]), (cross, [1, 3, 4, 5, 7]), (block, list(range(9)))):
        whole = {
            (row, *around[row, g, y, x, inputs])
            for row in range(2)
            for g in range(2)
            for y in range(3)
            for x in range(3)
        }
        assert len(np.unique(numbers)) == len(whole) == numbers.max() + 1


def test_the_fits_learn_a_rule_that_copies_a_neighbour():
    sample = sample_of(shifting())
    for name in ("linear", "architecture"):
        scores = predict(name, sample)
        assert (scores.right[:, 6:] > 0.9).all() and (scores.nats[:, 6:] < 0.6).all(), name


def test_before_a_transition_is_known_a_fit_is_the_cell_histogram():
    sample = sample_of(shifting(grids=3))
    assert predict("linear", sample).nats[:, 1].tolist() == predict("cell histogram", sample).nats[:, 1].tolist()


@pytest.mark.parametrize("name", ["linear", "architecture"])
def test_fits_do_not_depend_on_threads_or_on_later_grids(name, monkeypatch):
    found = []
    for threads, grids in ((1, 5), (3, 5), (3, 4)):
        monkeypatch.setattr(fitted, "cores", lambda threads=threads: threads)
        found.append(predict(name, sample_of(random_cells(grids=5)[:, :grids])).nats[:, 1:4])
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()


def test_another_seed_starts_the_architecture_elsewhere():
    first, again, other = (predict("architecture", sample_of(random_cells(2, 3), seed=seed)) for seed in (0, 0, 1))
    assert (first.nats[:, 1:] == again.nats[:, 1:]).all() and (first.nats[:, 2] != other.nats[:, 2]).any()


def test_the_sharpness_of_a_row_is_chosen_by_other_rows():
    rng = np.random.default_rng(0)
    logits, after = rng.normal(size=(3, 1, 50, 3)).astype(np.float32) * 3, rng.integers(0, 3, (3, 1, 50))
    chosen, _ = fitted.calibrated(logits, after)
    losses = np.stack([fitted._losses(logits.astype(float), after, sharp) for sharp in fitted.SHARPNESS]).sum(axis=3)
    for row in range(3):
        best = np.delete(losses, row, axis=1).sum(axis=1)[:, 0].argmin()
        assert chosen[row].sum() == pytest.approx(losses[best, row, 0])


@settings(deadline=None)  # the first call may compile
@given(arrays.arrays(np.float64, (1, 4), elements=st.floats(-60, 60)))
def test_softmax_is_made_of_products(logits):
    exact = np.exp(logits - logits.max())
    exact /= exact.sum()
    units = logits.copy()
    run_softmax(units)
    assert np.allclose(units, exact, rtol=2e-3, atol=1e-12) and units.sum() == pytest.approx(1)
    assert np.allclose(units, exact, rtol=0, atol=1e-7)


def run_softmax(units: np.ndarray) -> None:
    fit_kernels.softmax(units, 0, 0, units.shape[1])


def test_a_pass_of_the_linear_fit_is_a_step_along_the_gradient():
    sample = sample_of(random_cells(1, 3))
    neighbours = fitted.neighbours_of(sample.cells[0, :-1], 3)[0]
    after, often = sample.cells[0, 1].ravel(), np.bincount(neighbours.ravel(), minlength=27).astype(float)
    work, start = np.zeros((4, 27, 3)), np.random.default_rng(0).normal(size=(27, 3))
    work[0] = start
    fit_kernels.fit_linear(neighbours, after, often, work, np.empty((1, 3)), 1, 0.2, 0.4)
    logits = start[neighbours].sum(axis=1)
    error = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(3)[after]
    gradient = 0.2 * start
    np.add.at(gradient, neighbours.ravel(), np.repeat(error, 9, axis=0))
    assert np.allclose(work[0], start - gradient * (0.4 / (often + 0.08))[:, None], atol=1e-5)


def test_the_gradient_of_the_network_is_that_of_its_loss():
    sample, rng = sample_of(random_cells(1, 2)), np.random.default_rng(0)
    neighbours, after = fitted.neighbours_of(sample.cells[0, :1], 3)[0], sample.cells[0, 1].ravel()
    weights = 27 * 4 + 16 * 4 + 3 * 16
    start, units = rng.normal(size=weights) * 0.5, np.empty((2, 4 + 16 + 3))

    def loss(values: np.ndarray) -> float:
        logits = np.zeros((len(after), 3), np.float32)
        fit_kernels.network_logits(neighbours, values[None], units, logits)
        wide = logits.astype(float)
        return float((np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(after)), after]).mean())

    work = np.zeros((4, weights))
    work[0] = start
    every = np.arange(len(after))
    fit_kernels.fit_network(neighbours, after, every, work, units, len(after), 0, (0.0, 0.0), 0.0)
    for weight in rng.choice(weights, 40, replace=False):
        step = np.zeros(weights)
        step[weight] = 1e-3
        slope = (loss(start + step) - loss(start - step)) / 2e-3
        assert work[1, weight] / len(after) == pytest.approx(slope, abs=2e-3)


def test_long_rows_are_refitted_ever_more_rarely():
    fits = [known for known in range(1, 431) if fitted.is_refitted(known)]
    assert fits[:32] == list(range(1, 33)) and len(fits) < 110
    assert max(np.diff(fits) / fits[:-1]) <= 2 / 32 or max(np.diff(fits[:32])) == 1


def test_a_sample_is_evenly_spaced_and_begins_at_the_seed():
    assert numbers_of(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert numbers_of(10, 5, seed=1).tolist() == [1, 3, 5, 7, 9] == numbers_of(10, 5, seed=3).tolist()
    assert numbers_of(3, 20).tolist() == [0, 1, 2]


def test_rows_without_grids_are_cut_into_parts():
    ids = np.arange(2 * 35).reshape(2, 35)
    assert cut(ids).shape == (2, samples.PARTS, 2) and cut(ids)[1, 0].tolist() == [35, 36]
    sample = Sample(70, cut(ids), 0, frequencies(cut(ids), cut(ids)[:0]), 0)
    assert counts.patch_histogram(sample, lambda rows: None).nats[0, 1] == pytest.approx(-math.log(2 / 70 / 4))
