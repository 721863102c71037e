"""Batches of a dataset's rows in ncagen's order, which is a function of the dataset and a seed, with an exact state."""

from typing import Any

import numpy as np
import torch

import ncagen
from ncagen.adapters.torch import Loader
from transfer.ranks import Ranks

Batch = dict[str, torch.Tensor]
"""`input_ids` and `labels`, int64[row, position]; label i is the token after input i, -100 where it has no loss."""


def layout_of(offset: int, vocabulary: int) -> ncagen.Layout:
    """The layout of a batch. offset: added to the ids of an arm. vocabulary: of the model."""
    return ncagen.Layout(labels="next", token_offset=offset, vocab_size=vocabulary)


def complexity(data: ncagen.Dataset) -> float | None:
    """The mean of the ratio that bands select rows by, the gzip ratio; None where rows have none."""
    measures = data.manifest.measures
    if not measures:
        return None
    name = measures[0].ratio
    return round(float(data.rows(np.arange(len(data)), [name])[name].mean()), 4)


class RowBatches:
    """A rank's part of each step's rows, endless; every pass is another epoch."""

    def __init__(self, data: ncagen.Dataset, layout: ncagen.Layout, batch: int, seed: int, ranks: Ranks):
        """batch: rows of a step over all ranks. seed: of the order."""
        self._loader = Loader(
            data, batch // ranks.world, layout=layout, seed=seed, epochs=None, rank=ranks.rank, world=ranks.world
        )
        self._pass = iter(self._loader)

    def next(self) -> Batch:
        """The rows of the next step."""
        return next(self._pass)

    def state(self) -> dict[str, Any]:
        """What `load` takes to resume after the last batch."""
        return self._loader.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Resumes where a state was taken."""
        self._loader.load_state_dict(state)
        self._pass = iter(self._loader)
