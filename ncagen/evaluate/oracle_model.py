"""A model that knows every next token: a drop-in for a training loop of transformers, PyTorch or NumPy.

    model = oracle_model(ncagen.open("data/nca-high"))          # kind="huggingface", "torch" or "numpy"
    loss = model(**batch).loss                                  # must be 0: less than 0.001

It finds the dataset's rows in the ids that it is given and answers with logits of 32 for the row's true next token and
0 for every other id. It attends as a transformer does: where packed rows are not kept apart, it knows nothing of those
after the first. A `Plan` makes it know something else on purpose, by which `check_training` finds mistakes. torch is
imported for two of the three kinds alone.
"""

from typing import Any

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.evaluate.find_rows import RowFinder
from ncagen.evaluate.next_ids import STEP, SURE, NextIds, Plan
from ncagen.hints import needed_by
from ncagen.numbers import whole

KINDS = ("huggingface", "torch", "numpy")


class NumpyOracle(NextIds):
    """model(input_ids, **others) gives float32 logits [sequence, position, id], of the token after each position."""

    def __call__(self, input_ids: np.ndarray, *more: np.ndarray, **others: Any) -> np.ndarray:
        given = {f"argument {n + 2}": np.asarray(value) for n, value in enumerate(more)}
        given |= {name: np.asarray(value) for name, value in others.items() if hasattr(value, "shape")}
        known = self.known(np.asarray(input_ids), given)
        if self.plan.measures:
            away = (np.arange(self.vocab_size) - known[..., None]) % self.vocab_size
            return np.where(known[..., None] < 0, 0, -STEP * away).astype(np.float32)
        logits = np.zeros((*known.shape, self.vocab_size), np.float32)
        at = np.nonzero(known >= 0)
        logits[(*at, known[at])] = SURE
        return logits


def oracle_model(data: Dataset, kind: str = "huggingface", vocab_size: int | None = None) -> Any:
    """A model that knows the next token of every row of a dataset.

    kind: "huggingface", a torch module that is called as transformers' causal models are, shifts `labels` itself and
    returns an output with `loss` and `logits`; "torch", a module that returns logits [sequence, position, id]; "numpy",
    a function that does. vocab_size: ids of its logits, the dataset's if left out. Raises NcagenError.
    """
    finder, least = RowFinder(data), data.row_format.vocabulary
    return make(finder, kind, least if vocab_size is None else whole("vocab_size", vocab_size, least), Plan())


def make(finder: RowFinder, kind: str, vocab_size: int, plan: Plan) -> Any:
    """An oracle of a kind with a plan. Raises NcagenError."""
    if kind not in KINDS:
        raise NcagenError(f"kind {kind!r} is not known: use {', '.join(KINDS)}")
    if kind == "numpy":
        return NumpyOracle(finder, vocab_size, plan)
    with needed_by(f"an oracle model of kind {kind}"):
        from ncagen.evaluate.oracle_torch import HuggingFaceOracle, TorchOracle
    return (HuggingFaceOracle if kind == "huggingface" else TorchOracle)(NextIds(finder, vocab_size, plan))
