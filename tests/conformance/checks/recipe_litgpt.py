"""litgpt, from stage 1 to text, by the commands and the code of docs/recipes.md with a GPT of one layer."""

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from common import report, source
from page import RECIPES, commands, folder, run
from recipe_common import link_text, text_rows

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling takes longer than training

# torchvision, which litdata asks for, has no operators beside torch's CPU build; importing it needs their names.
for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

STEPS, BATCH, LENGTH = 4, 2, 1025
SIZES = {"name": "tiny", "block_size": 1024, "vocab_size": 10002, "padded_vocab_size": 10048}
SIZES |= {"n_layer": 1, "n_head": 1, "n_embd": 16}
NEW = {"transformer.wte.weight", "lm_head.weight"}
batches: list[list[np.ndarray]] = []
starts: list[dict[str, torch.Tensor]] = []


def pretrain(command: str) -> None:
    """One command of the page, with a tiny model and few steps."""
    from litgpt.__main__ import main as litgpt

    batches.append([])
    model = str(SIZES).replace("'", '"')
    sys.argv = [*shlex.split(command), "--model_config", model, "--train.max_tokens", str(STEPS * BATCH * 1024)]
    sys.argv += ["--train.global_batch_size", str(BATCH), "--train.micro_batch_size", str(BATCH)]
    sys.argv += ["--eval.max_iters", "1", "--precision", "32-true", "--logger_name", "csv", "--data.num_workers", "1"]
    standard, sys.stdout = sys.stdout, sys.stderr
    litgpt()
    sys.stdout = standard


def watch() -> None:
    """Notes the batches that models are trained with, and the weights before the first."""
    from litgpt.model import GPT

    forward = GPT.forward

    def keep(self, tokens, *others, **named):
        if self.training and not tokens.is_meta:
            if not batches[-1]:
                starts.append({name: weight.detach().clone() for name, weight in self.named_parameters()})
            batches[-1].append(tokens.numpy().copy())
        return forward(self, tokens, *others, **named)

    GPT.forward = keep


def main() -> None:
    """Stage 1, the hand-over and stage 2."""
    watch()
    with folder("nca-litdata") as place:
        link_text(place, "litdata")
        nca, text = commands("litgpt", "litgpt pretrain", RECIPES)
        pretrain(nca)
        tiny = {'Config.from_name("pythia-160m")': f"Config(**{SIZES})"}
        stage1 = run("litgpt", page=RECIPES, changes=tiny)["stage1"]
        pretrain(text)
        assert Path("runs/text/final/lit_model.pth").is_file()
    for name, weight in stage1.items():
        assert torch.equal(weight, starts[1][name]) == (name not in NEW), name
    for found, rows in zip(batches, (source("train"), text_rows()), strict=True):
        known = {row[: LENGTH - 1].astype(np.int64).tobytes() for row in rows}
        received = [row.tobytes() for row in np.concatenate(found)]
        assert len(received) == len(set(received)) == STEPS * BATCH and known >= set(received)
    loaded = "stage 1 and text by litgpt pretrain: the weights kept, and what the model receives"
    report("litgpt", loaded, 2 * STEPS * BATCH * (LENGTH - 1))


if __name__ == "__main__":
    main()
