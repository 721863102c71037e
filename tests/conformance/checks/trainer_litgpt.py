"""litgpt: what its pretraining gives the model, by the command of the page; an epoch of an export for litdata."""

import os
import shlex
import sys

import numpy as np
import torch
from common import report, source
from page import command, folder

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling takes longer than training

# torchvision, which litdata asks for, has no operators beside torch's CPU build; importing it needs their names.
for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

BATCH, LENGTH = 4, 1025
MODEL = '{"name": "tiny", "block_size": 1024, "vocab_size": 10002, "padded_vocab_size": 10048, '
MODEL += '"n_layer": 1, "n_head": 1, "n_embd": 16}'
batches: list[np.ndarray] = []


def main() -> None:
    """The page's command for a model of one layer, and as many tokens as an epoch has."""
    from litgpt.__main__ import main as litgpt
    from litgpt.model import GPT

    forward = GPT.forward

    def keep(self, tokens, *others, **named):
        if self.training and not tokens.is_meta:
            batches.append(tokens.numpy().copy())
        return forward(self, tokens, *others, **named)

    GPT.forward = keep
    rows = source("train")[:, :LENGTH]
    steps = len(rows) // BATCH
    with folder("nca-litdata"):
        sys.argv = [
            *shlex.split(command("litgpt", "litgpt pretrain")),
            *("--model_config", MODEL, "--train.max_tokens", str(steps * BATCH * (LENGTH - 1))),
            *("--train.global_batch_size", str(BATCH), "--train.micro_batch_size", str(BATCH)),
            *("--eval.max_iters", "1", "--precision", "32-true", "--logger_name", "csv", "--data.num_workers", "1"),
        ]
        standard, sys.stdout = sys.stdout, sys.stderr
        litgpt()
        sys.stdout = standard
    found = np.concatenate(batches)
    numbers = {row[:-1].astype(np.int64).tobytes(): number for number, row in enumerate(rows)}
    drawn = [numbers[row.tobytes()] for row in found]
    assert len(drawn) == len(set(drawn)) == steps * BATCH
    report("litgpt", "litgpt pretrain with LitData: an epoch, each row once", found.size)


if __name__ == "__main__":
    main()
