"""What a model knows of rows that it was not trained on: its loss, and the rung of ncagen's ladder that it reaches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ncagen
from ncagen.evaluate import Ladder, check_training, score
from ncagen.evaluate.sample import numbers_of
from ncagen.evaluate.score import read
from transfer.loss import IGNORED, labels_in, logits_of, loss_sum
from transfer.ranks import Ranks
from transfer.rows import Batch, RowBatches

Evaluate = Callable[[nn.Module], dict[str, Any]]
DIGITS = 6  # of figures in the log


def of_rows(data: ncagen.Dataset, offset: int, rungs: Ladder, micro: int, ranks: Ranks) -> Evaluate:
    """An evaluation beside the ladder, for stage 1. data: the split `validation` of an arm. offset: added to its ids.

    rungs: the ladder of some of its rows, which are those that are scored. micro: rows of a forward pass. The figures
    are the mean loss of all tokens ("validation"), the mean of patches ("patch", nats), by grid (None for the first),
    and the rungs reached and missed.
    """
    tokens = read(data, numbers_of(len(data), rungs.rows)) + offset

    def evaluate(model: nn.Module) -> dict[str, Any]:
        found = score(_losses_and_hits(model, tokens, micro, ranks.device), data, rows=rungs.rows, ladder=rungs)
        values = found.to_dict()
        return {
            "validation": round(values["tokens"], DIGITS),
            "patch": round(values["mean"], DIGITS),
            "accuracy": round(values["accuracy"], DIGITS),
            "by_grid": values["model"]["nats"],
            "reached": values["reached"],
            "missed": values["missed"],
            "sentence": values["sentence"],
        }

    return evaluate


def of_batches(batches: list[Batch], ranks: Ranks) -> Evaluate:
    """An evaluation by the mean loss of all labels of some batches."""

    def evaluate(model: nn.Module) -> dict[str, Any]:
        model.eval()
        with torch.inference_mode():
            on_device = [{name: values.to(ranks.device) for name, values in batch.items()} for batch in batches]
            total = sum(loss_sum(model, batch).double().item() for batch in on_device)
        return {"validation": round(total / sum(map(labels_in, batches)), DIGITS)}

    return evaluate


def validation_batches(data: ncagen.Dataset, layout: ncagen.Layout, rows: int, micro: int) -> list[Batch]:
    """Rows of a split, evenly spaced, in batches of `micro`."""
    numbers = numbers_of(len(data), rows)
    parts = [numbers[first : first + micro] for first in range(0, len(numbers), micro)]
    laid_out = [layout(data.row_format, data.rows(part, ["input_ids"])["input_ids"]) for part in parts]
    return [{name: torch.from_numpy(values) for name, values in batch.items()} for batch in laid_out]


def check_loop(data: ncagen.Dataset, layout: ncagen.Layout, vocabulary: int) -> None:
    """Runs this example's loader, loss and accuracy with a model that knows every next token. Raises NcagenError."""
    batch = RowBatches(data, layout, min(2, len(data)), 0, Ranks()).next()

    def loop(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        counted = batch["labels"] != IGNORED
        hits = logits_of(model, batch["input_ids"]).argmax(-1) == batch["labels"]
        return loss_sum(model, batch) / labels_in(batch), hits[counted].double().mean()

    found = check_training(loop, data, kind="torch", vocab_size=vocabulary, token_offset=layout.token_offset)
    if not found.ok:
        raise ncagen.NcagenError(" ".join(str(found).split()))


def _losses_and_hits(model: nn.Module, tokens: np.ndarray, micro: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Losses in nats, float[row, position], and whether the most likely token follows, bool [row, position]."""
    model.eval()
    losses, hits = [], []
    for first in range(0, len(tokens), micro):
        ids = torch.from_numpy(tokens[first : first + micro]).to(device)
        with torch.inference_mode():
            logits = logits_of(model, ids[:, :-1])
            losses.append(cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").cpu().numpy())
            hits.append((logits.argmax(-1) == ids[:, 1:]).cpu().numpy())
    return np.concatenate(losses), np.concatenate(hits)
