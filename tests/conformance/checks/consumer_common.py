"""What the checks of loaders share. They run with ncagen importable and with the dataset itself as what is loaded.

What a model must receive is made here from the source's arrays, without ncagen: see `inputs` and `labels`. Only the
order in which rows come is a `Stream`'s own; that it has every row once is asserted.
"""

from collections.abc import Iterable

import numpy as np
from common import EXPORT, source

import ncagen

SEED = 5
LENGTH = 1024
GRID = 38  # 36 patches and two delimiters


def opened(split: str = "train") -> ncagen.Dataset:
    """The dataset, with every shard checked as it is read."""
    return ncagen.open(EXPORT, split)


def order(split: str = "train", epoch: int = 0) -> np.ndarray:
    """The source's rows in the order that a stream of SEED gives them in an epoch, found by their candidates."""
    stream = ncagen.Stream(opened(split), 64, seed=SEED)
    stream.set_epoch(epoch)
    candidates = np.concatenate([batch["candidate"] for batch in stream])
    numbers = np.searchsorted(source(split, "candidate"), candidates)
    assert np.array_equal(np.sort(numbers), np.arange(len(source(split))))
    return numbers


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
