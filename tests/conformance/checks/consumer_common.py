"""What the checks of loaders share. They run with ncagen importable and with the dataset itself as what is loaded.

Only the order in which rows come is a `Stream`'s own; that it has every row once is asserted. What a model must
receive of them is in expected.py.
"""

import numpy as np
from common import EXPORT, source
from expected import GRID, LENGTH, drawn, inputs, labels, next_labels, received, whole_epochs

import ncagen

__all__ = ["GRID", "LENGTH", "SEED", "drawn", "inputs", "labels", "next_labels", "opened", "order", "received"]
__all__ += ["whole_epochs"]

SEED = 5


def opened(split: str = "train") -> ncagen.Dataset:
    """The dataset, with every shard checked as it is read."""
    return ncagen.open(EXPORT, split)


def order(split: str = "train", epoch: int = 0, seed: int = SEED) -> np.ndarray:
    """The source's rows in the order that a stream of a seed gives them in an epoch, found by their candidates."""
    stream = ncagen.Stream(opened(split), 64, seed=seed)
    stream.set_epoch(epoch)
    candidates = np.concatenate([batch["candidate"] for batch in stream])
    numbers = np.searchsorted(source(split, "candidate"), candidates)
    assert np.array_equal(np.sort(numbers), np.arange(len(source(split))))
    return numbers
