"""The loss of a batch as a sum over tokens, and the gradient of one step as the mean over all tokens of all its parts.

A step's rows may be divided into parts that are run one after another, and among ranks. The mean is that of all tokens
with a label in all of them, so neither division changes it, even where rows have different numbers of labels.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from transfer.ranks import Ranks
from transfer.rows import Batch

IGNORED = -100


def logits_of(model: nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
    """Logits, float32[row, position, id]; position i predicts token i + 1."""
    found = model(input_ids)
    return getattr(found, "logits", found).float()


def loss_sum(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The sum of the losses of all labels of a batch in nats, a scalar."""
    logits = logits_of(model, batch["input_ids"])
    return cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED, reduction="sum")


def labels_in(batch: Batch) -> int:
    """How many labels of a batch have a loss."""
    return int((batch["labels"] != IGNORED).sum())


def backward(model: nn.Module, batch: Batch, micro: int, ranks: Ranks, precision: str) -> float:
    """Adds the gradient of a step's mean loss to the parameters, and returns that loss in nats a token.

    model: run as it is, or wrapped in DistributedDataParallel, which averages gradients over ranks. batch: this rank's
    rows. micro: rows of a forward pass. precision: of the forward pass, float32 or bfloat16.
    """
    counts = ranks.sum(torch.tensor([labels_in(batch)], dtype=torch.float64, device=ranks.device))
    share = ranks.world / counts.item()  # undoes the mean over ranks
    total = torch.zeros(1, dtype=torch.float64, device=ranks.device)
    parts = list(_parts(batch, micro, ranks.device))
    for number, part in enumerate(parts):
        waits = ranks.world > 1 and number < len(parts) - 1
        with model.no_sync() if waits else nullcontext():
            with torch.autocast(ranks.device.split(":")[0], torch.bfloat16, enabled=precision == "bfloat16"):
                loss = loss_sum(model, part)
            (loss * share).backward()
        total += loss.detach()
    return (ranks.sum(total) / counts).item()


def _parts(batch: Batch, micro: int, device: str) -> Iterator[Batch]:
    for first in range(0, len(batch["labels"]), micro):
        yield {name: values[first : first + micro].to(device) for name, values in batch.items()}
