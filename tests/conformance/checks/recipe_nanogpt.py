"""nanoGPT, from stage 1 to text: the files, the lines of get_batch and hand_over.py as the pages have them.

nanoGPT has no release: nanogpt_model.py stands for its model.py, and `stage` for the loop of its train.py.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nanogpt_model
import numpy as np
import torch
from common import report, source
from consumer_common import GRID, LENGTH, inputs, next_labels
from page import DOCS, RECIPES, TRAINERS, command, folder, run
from recipe_common import handed_over, text_rows

BATCH, STEPS = 4, 3
SETTINGS = {"weight_decay": 0.1, "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.95, "device": "cpu"}
MODEL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": LENGTH, "bias": False, "dropout": 0.0}
NEW = {"transformer.wte.weight": 0, "lm_head.weight": 0}


def export(line: str) -> None:
    """A command of a page that begins with `ncagen export`."""
    subprocess.run([sys.executable, "-m", *shlex.split(line)], check=True, stdout=sys.stderr)


def own_lines() -> list[str]:
    """The two lines that the rows need in get_batch."""
    section = re.split(r"^## ", (DOCS / TRAINERS).read_text(), flags=re.M)
    text = next(part for part in section if part.startswith("nanoGPT\n"))
    return [re.search(rf"^{name} = .*$", text, flags=re.M)[0] for name in ("ix", r"y\[:, :37\]")]


def get_batch(dataset: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets, int64 [sequence, place], of windows of train.bin."""
    draw, mask = own_lines()
    data = np.memmap(f"data/{dataset}/train.bin", dtype=np.uint16, mode="r")
    names = {"torch": torch, "data": data, "batch_size": BATCH}
    if dataset == "nca":
        exec(draw, names)
    else:
        names["ix"] = torch.randint(len(data) - LENGTH, (BATCH,))
    windows = [torch.from_numpy(data[i : i + LENGTH + 1].astype(np.int64)) for i in names["ix"]]
    names["y"] = torch.stack([window[1:] for window in windows])
    if dataset == "nca":
        exec(mask, names)
    return torch.stack([window[:-1] for window in windows]), names["y"]


def stage(dataset: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple]:
    """A few steps; the batches, as arrays."""
    batches = []
    for _ in range(STEPS):
        x, y = get_batch(dataset)
        _, loss = model(x, y)
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        batches.append((x.numpy(), y.numpy()))
    return batches


def optimizer_of(model: nanogpt_model.GPT) -> torch.optim.Optimizer:
    return model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")


def first_stage() -> list[tuple]:
    """Trains on rows, and keeps the checkpoint as nanoGPT names it, of a model that was compiled."""
    arguments = MODEL | {"vocab_size": 10_002}
    model = nanogpt_model.GPT(nanogpt_model.GPTConfig(**arguments))
    optimizer = optimizer_of(model)
    batches = stage("nca", model, optimizer)
    weights = {f"_orig_mod.{name}": value for name, value in model.state_dict().items()}
    Path("out-nca").mkdir()
    checkpoint = {"model": weights, "optimizer": optimizer.state_dict(), "model_args": arguments, "config": SETTINGS}
    torch.save(checkpoint | {"iter_num": STEPS, "best_val_loss": 9.0}, "out-nca/ckpt.pt")
    return batches


def second_stage() -> tuple[dict, list[tuple]]:
    """The checkpoint that hand_over.py made, and what training gets that begins with it as nanoGPT resumes."""
    checkpoint = torch.load("out-text/ckpt.pt", weights_only=False)
    assert checkpoint["iter_num"] == 0 and not checkpoint["optimizer"]["state"], "the optimizer is not new"
    model = nanogpt_model.GPT(nanogpt_model.GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict(checkpoint["model"])
    optimizer = optimizer_of(model)
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["model"], stage("openwebtext", model, optimizer)


def compare_rows(batches: list[tuple]) -> int:
    """Asserts that all windows are rows with the labels of the page; returns the number of their tokens."""
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    rows = {row.tobytes(): number for number, row in enumerate(inputs("train", np.arange(len(source("train")))))}
    numbers = np.array([rows[row.tobytes()] for row in x])
    expected = next_labels("train", numbers)
    assert np.array_equal(y, np.where(expected < 0, -1, expected)) and (y[:, : GRID - 1] == -1).all()
    return x.size


def compare_text(batches: list[tuple]) -> int:
    """Asserts that all windows are consecutive tokens of the text; returns the number of their tokens."""
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    text = text_rows().astype(np.uint16).tobytes()
    for row, labels in zip(x, y, strict=True):
        assert np.append(row, labels[-1]).astype(np.uint16).tobytes() in text
    return x.size


def main() -> None:
    """Both stages around the page's hand_over.py."""
    torch.manual_seed(0)
    sys.modules["model"] = nanogpt_model
    with folder():
        export(command("nanoGPT", "ncagen export"))
        export("ncagen export data/text --to nanogpt --out data/openwebtext")
        rows = first_stage()
        run("nanoGPT", page=RECIPES, changes={"50304": "576"})
        stage1 = torch.load("out-nca/ckpt.pt", weights_only=False)["model"]
        start, text = second_stage()
    handed_over({name.removeprefix("_orig_mod."): value for name, value in stage1.items()}, start, NEW)
    tokens = compare_rows(rows) + compare_text(text)
    report(None, "stage 1 and text, by hand_over.py: the weights kept, the windows", tokens)


if __name__ == "__main__":
    main()
