"""Scores a model of any framework on a dataset's rows: its loss and accuracy by grid, beside the ladder's rungs.

    score = ncagen.evaluate.score(lambda tokens: my_logits(tokens), ncagen.open("data/nca-high"))

NumPy in, NumPy out. A model is given the first `positions` tokens of a row (1,024 at the default settings) and predicts
the token after each. The means leave out delimiters, which are always at the same places, and the first grid. Rows of
other sources than automata have parts instead of grids, as in `sample`. Not covered: running a model of transformers
(`run_model`), pictures (`plot`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.evaluate.compute import ROWS
from ncagen.evaluate.find_rows import check_dataset
from ncagen.evaluate.ladder import Ladder
from ncagen.evaluate.model_score import ModelScore, RowScores, of_rows
from ncagen.evaluate.sample import PARTS, numbers_of
from ncagen.numbers import whole
from ncagen.row_format import RowFormat

Predictions = np.ndarray | Sequence[np.ndarray]
"""Logits, float[row, position, id], or losses in nats, float[row, position], and hits, bool[row, position].

Position i belongs to the prediction of token i + 1, from tokens 0 to i.
"""
Predict = Callable[[np.ndarray], Predictions]
"""Takes int64 tokens [row, position]."""

LEAST_LOSS = -1e-3  # rounding makes losses of certain tokens a little less than 0


def score(
    model: Predict | Predictions,
    dataset: Dataset,
    *,
    rows: int = ROWS,
    seed: int = 0,
    ladder: Ladder | None = None,
    batch_size: int = 8,
    name: str = "model",
) -> ModelScore:
    """Scores a model on a sample of rows, the same as that of a ladder of equal `rows` and `seed`.

    model: a function from tokens, int64[row, position], to logits, float[row, position, id], or to losses in nats and
    hits, float and bool [row, position]; or those arrays themselves, for all rows of the sample in order. Logits may
    have more ids than the rows, never fewer. rows: how many, evenly spaced. ladder: to compare with. batch_size: rows
    that the function is given at a time. Raises NcagenError for arrays of another shape, NaN, and too few ids.
    """
    check_dataset(dataset)
    numbers, at_once = numbers_of(len(dataset), rows, seed), whole("batch_size", batch_size, 1)
    ask = model if callable(model) else _in_order(model, len(numbers))
    parts = []
    for first in range(0, len(numbers), at_once):
        batch = numbers[first : first + at_once]
        tokens = read(dataset, batch)
        parts.append(row_scores(dataset.row_format, batch, tokens, ask(tokens[:, :-1])))
    return summary(dataset.row_format, RowScores.concatenate(parts), ladder, name)


def summary(row_format: RowFormat, rows: RowScores, ladder: Ladder | None, name: str) -> ModelScore:
    """The score of a model by that of its rows."""
    shape = RowShape.of(row_format)
    return of_rows(rows, shape.delimiters, shape.width - shape.delimiters, ladder, name)


@dataclass(frozen=True)
class RowShape:
    """Where the grids of a row are. width: tokens of a grid. grids: in a row. delimiters: of a grid."""

    width: int
    grids: int
    delimiters: int

    @classmethod
    def of(cls, row_format: RowFormat) -> "RowShape":
        """The grids of rows of automata; PARTS equal parts of other rows."""
        width = row_format.unpredictable
        if not width:
            return cls(row_format.row_tokens // PARTS, PARTS, 0)
        return cls(width, row_format.row_tokens // width, len(row_format.structural))


def positions(row_format: RowFormat) -> int:
    """How many tokens of a row a model is given; it predicts the token after each."""
    return min(row_format.seq_len, row_format.row_tokens - 1)


def read(dataset: Dataset, numbers: np.ndarray) -> np.ndarray:
    """The tokens that a model is given, and the one after them: int64[row, position + 1]."""
    tokens = dataset.rows(numbers, columns=("input_ids",))["input_ids"]
    return tokens[:, : positions(dataset.row_format) + 1].astype(np.int64)


def row_scores(row_format: RowFormat, numbers: np.ndarray, tokens: np.ndarray, predictions: Predictions) -> RowScores:
    """What a model's predictions of some rows come to.

    numbers: int64[row], of the rows. tokens: as `read` gives them. Raises NcagenError.
    """
    if isinstance(predictions, tuple | list):
        losses, hits = _checked(predictions, (len(tokens), tokens.shape[1] - 1))
    else:
        losses, hits = _of_logits(np.asarray(predictions), tokens, row_format.vocabulary)
    wrong = ~np.isfinite(losses) | (losses < LEAST_LOSS)
    if wrong.any():
        row, position = np.argwhere(wrong)[0]
        where = f"row {numbers[row]}, position {position}"
        raise NcagenError(f"the loss of {where} is {losses[row, position]:g}: a working model gives 0 or more nats")
    return _by_grid(row_format, tokens[:, 1:], losses, hits)


def _in_order(given: Predictions, rows: int) -> Predict:
    """The predictions of all rows as a function that is called with each batch in order. Raises NcagenError."""
    arrays = [np.asarray(array) for array in (given if isinstance(given, tuple | list) else [given])]
    if any(array.ndim < 2 or len(array) != rows for array in arrays):
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise NcagenError(f"predictions of shape {shapes} are not those of {rows} rows: use [{rows}, position, ...]")
    done = 0

    def ask(tokens: np.ndarray) -> Predictions:
        nonlocal done
        batch = [array[done : done + len(tokens)] for array in arrays]
        done += len(tokens)
        return batch[0] if arrays[0].ndim == 3 else batch

    return ask


def _checked(predictions: Sequence[np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Losses, float64[row, position], and hits, bool[row, position]. Raises NcagenError."""
    if len(predictions) != 2:
        arrays = f"{len(predictions)} array{'s' * (len(predictions) != 1)}"
        raise NcagenError(f"{arrays} of predictions: use logits, or losses and hits")
    losses, hits = (np.asarray(array) for array in predictions)
    for name, array in (("losses", losses), ("hits", hits)):
        if array.shape != shape:
            raise NcagenError(f"{name} of shape {array.shape}: use {list(shape)}, of token i + 1 at position i")
    if losses.dtype.kind not in "fiu" or hits.dtype.kind not in "bfiu" or not np.isin(hits, (0, 1)).all():
        raise NcagenError(f"losses of {losses.dtype} and hits of {hits.dtype}: use nats, and true for a right token")
    return losses.astype(np.float64), hits.astype(bool)


def _of_logits(logits: np.ndarray, tokens: np.ndarray, ids: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses and hits of logits, float[row, position, id]. Raises NcagenError."""
    rows, given = tokens.shape[0], tokens.shape[1] - 1
    if logits.ndim != 3 or logits.shape[:2] != (rows, given) or logits.dtype.kind != "f":
        raise NcagenError(
            f"logits of {logits.dtype} and shape {logits.shape}: use floats [{rows}, {given}, id], of token i + 1 at"
            " position i"
        )
    if logits.shape[2] < ids:
        raise NcagenError(f"the model has {logits.shape[2]:,} ids and the rows need {ids:,}: use a larger vocabulary")
    losses, hits = np.empty((rows, given)), np.empty((rows, given), bool)
    for row, labels in enumerate(tokens[:, 1:]):  # a row at a time: its logits take 80 MB in float64
        values = logits[row].astype(np.float64)
        values -= values.max(axis=1, keepdims=True)
        hits[row] = values.argmax(axis=1) == labels
        losses[row] = np.log(np.exp(values).sum(axis=1)) - values[np.arange(given), labels]
    return losses, hits


def _by_grid(row_format: RowFormat, labels: np.ndarray, losses: np.ndarray, hits: np.ndarray) -> RowScores:
    """Means over the patches of each grid. labels, losses, hits: [row, position], of tokens 1, 2, ..."""
    shape = RowShape.of(row_format)
    grid_of = np.arange(1, labels.shape[1] + 1) // shape.width
    content = ~row_format.is_structural(labels) if shape.delimiters else np.ones_like(labels, bool)
    nats, accuracy = np.full((2, len(labels), shape.grids), np.nan)
    for grid in range(1, shape.grids):
        here = content & (grid_of == grid)
        counted = here.sum(axis=1)
        nats[:, grid] = np.divide((losses * here).sum(axis=1), counted, where=counted > 0, out=nats[:, grid])
        accuracy[:, grid] = np.divide((hits & here).sum(axis=1), counted, where=counted > 0, out=accuracy[:, grid])
    return RowScores(nats, accuracy, losses[:, grid_of >= 1].mean(axis=1))
