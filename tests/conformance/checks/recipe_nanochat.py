"""nanochat, from stage 1 to text: the loader and the lines of the hand-over as the pages have them.

nanochat has no release: nanochat_model.py stands for its gpt.py, and `stage` for the loop of its base_train.py.
"""

import os
import re
from pathlib import Path

import nanochat_model
import numpy as np
import torch
from common import report
from consumer_common import LENGTH, inputs, next_labels, order
from page import DOCS, RECIPES, TRAINERS, folder, run
from recipe_common import VOCABULARY, handed_over, received_text, text

import ncagen
from ncagen.adapters.torch import Loader

SEED, BATCH, STEPS = 1, 4, 3
NEW = {"transformer.wte.weight": 0, "lm_head.weight": 0, "value_embeds.1.weight": 0}
CHECKPOINTS = Path("base/base_checkpoints/nca")


class Arguments:
    """The arguments of base_train.py that the loader takes."""

    device_batch_size, max_seq_len = BATCH, LENGTH


def loader_of(data: str):
    """The page's train_loader of a dataset."""
    sections = re.split(r"^## ", (DOCS / TRAINERS).read_text(), flags=re.M)
    section = next(part for part in sections if part.startswith("nanochat\n"))
    code = re.findall(r"^```\n(.*?)^```", section, flags=re.M | re.S)[0]
    assert '"data/nca-high"' in code
    names = {
        "ncagen": ncagen,
        "Loader": Loader,
        "args": Arguments,
        "device": "cpu",
        "dataloader_resume_state_dict": None,
    }
    exec(code.replace('"data/nca-high"', f'"{data}"'), names)
    return names["train_loader"]


def stage(data: str, model: nanochat_model.GPT) -> tuple[np.ndarray, np.ndarray]:
    """A few steps with a new optimizer; the inputs and targets of all, int64 [sequence, place]."""
    loader, batches = loader_of(data), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        x, y, _ = next(loader)
        loss = model(x, y)
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        batches.append((x.numpy(), y.numpy()))
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return x, y


def load_checkpoint(checkpoint_dir: str, step: int, device: str) -> tuple[dict, None, dict]:
    """What nanochat's function of this name gives without an optimizer."""
    return torch.load(Path(checkpoint_dir) / f"model_{step:06d}.pt", map_location=device), None, {}


def main() -> None:
    """Both stages around the lines of the page."""
    torch.manual_seed(0)
    with folder():
        first = nanochat_model.GPT(VOCABULARY)
        x, y = stage("data/nca-high", first)
        CHECKPOINTS.mkdir(parents=True)
        torch.save(first.state_dict(), CHECKPOINTS / f"model_{STEPS:06d}.pt")
        second = nanochat_model.GPT(text().row_format.vocabulary)
        given = {"load_checkpoint": load_checkpoint, "get_base_dir": lambda: "base", "os": os, "device": "cpu"}
        run("nanochat", page=RECIPES, changes={"1000": str(STEPS)}, model=second, **given)
        start = {name: value.clone() for name, value in second.state_dict().items()}
        read, _ = stage("data/text", second)
    numbers = order(seed=SEED)[: len(x)]
    assert np.array_equal(x, inputs("train", numbers)), "stage 1 received other rows"
    expected = next_labels("train", numbers)
    assert np.array_equal(y, np.where(expected < 0, -1, expected)), "stage 1 has other labels"
    handed_over(first.state_dict(), start, NEW)
    tokens = x.size + received_text(read, SEED)
    report(None, "stage 1 and text, by the lines behind init_weights: the weights kept, the batches", tokens)


if __name__ == "__main__":
    main()
