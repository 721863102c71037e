"""What a model must receive of the source's rows, made from its arrays without ncagen; and comparisons with it."""

from collections.abc import Iterable

import numpy as np
from common import source

LENGTH = 1024
GRID = 38  # 36 patches and two delimiters


def inputs(split: str, numbers: np.ndarray) -> np.ndarray:
    """What a model must receive of rows, by their numbers in the source."""
    return source(split)[numbers, :LENGTH].astype(np.int64)


def labels(split: str, numbers: np.ndarray) -> np.ndarray:
    """The labels for models that shift by themselves: the inputs, without those of the first grid."""
    return np.where(np.arange(LENGTH) < GRID, -100, inputs(split, numbers))


def next_labels(split: str, numbers: np.ndarray) -> np.ndarray:
    """The labels for models that do not shift: the token after each input."""
    following = source(split)[numbers, 1 : LENGTH + 1].astype(np.int64)
    return np.where(np.arange(LENGTH) < GRID - 1, -100, following)


def received(batches: Iterable, split: str, numbers: np.ndarray, expected=labels) -> int:
    """Compares every input and label of batches with those of the rows, in order, and returns how many inputs."""
    batches = list(batches)
    wanted = {"input_ids": inputs(split, numbers), "labels": expected(split, numbers)}
    for name, values in wanted.items():
        found = np.concatenate([np.asarray(batch[name]) for batch in batches])
        assert found.dtype == np.int64, (name, found.dtype)
        assert found.shape == values.shape, (split, name, found.shape, values.shape)
        assert np.array_equal(found, values), (split, name, "values differ")
    return wanted["input_ids"].size


def drawn(batches: Iterable, split: str = "train") -> np.ndarray:
    """The source's rows that batches hold, where only the loader knows its order; no row comes twice."""
    number = {row.tobytes(): i for i, row in enumerate(inputs(split, np.arange(len(source(split)))))}
    keys = [row.tobytes() for batch in batches for row in np.asarray(batch["input_ids"])]
    assert number.keys() >= set(keys), (split, "a row is not the source's")
    assert len(keys) == len(set(keys)), (split, "a row came twice")
    return np.array([number[key] for key in keys])


def whole_epochs(batches: list[dict], count: int, expected=labels, split: str = "train") -> int:
    """Asserts that batches are `count` epochs, in each every row once with the labels expected; returns the tokens."""
    received = np.concatenate([np.asarray(batch["input_ids"]) for batch in batches])
    targets = np.concatenate([np.asarray(batch["labels"]) for batch in batches])
    rows = len(received) // count
    for epoch in range(count):
        part = slice(epoch * rows, (epoch + 1) * rows)
        numbers = drawn([{"input_ids": received[part]}], split)
        assert len(numbers) == rows
        assert np.array_equal(targets[part], expected(split, numbers)), (split, epoch, "labels differ")
        assert np.array_equal(received[part], inputs(split, numbers))
    return received.size
