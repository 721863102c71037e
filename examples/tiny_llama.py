"""Trains a tiny Llama from scratch on a dataset, on a CPU, and shows that it learns in context.

    ncagen build --tokens 6M --validation 200K --states 3 --band 0.05-0.15 --out data/three-states
    python examples/tiny_llama.py data/three-states

Each row obeys a rule of its own, and the rules of validation rows never occurred in training. So a model that does
better in a row's last grids than in its first learnt that from the row itself. Three states make 81 patches instead of
10,000, and rules of this band are simple: so minutes are enough. From the 13th grid on the loss falls at once, for many
of these rules move their pattern by a cell a step, and the torus is 12 cells around. Needs torch, transformers and
ncagen.
"""

import argparse
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad
from transformers import LlamaConfig, LlamaForCausalLM

import ncagen
from ncagen.adapters.torch import Loader

# Labels stand where the inputs stand, since Llama shifts them itself. Nothing predicts the first grid: it has no loss.
LAYOUT = ncagen.Layout(labels="same", mask_grids=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a tiny Llama on a dataset and print its loss by grid.")
    parser.add_argument("data", help="a dataset's folder")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=4, help="rows of a step")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    asked = parser.parse_args()
    torch.manual_seed(0)
    data, validation = ncagen.open(asked.data), ncagen.open(asked.data, split="validation")
    spec = data.manifest.spec
    config = LlamaConfig(
        vocab_size=-(-spec.vocabulary // 64) * 64,  # matrices of such sizes are faster; the ids above stay unused
        hidden_size=asked.width,
        intermediate_size=2 * asked.width,
        num_hidden_layers=asked.layers,
        num_attention_heads=asked.width // 32,
        max_position_embeddings=spec.seq_len,
    )
    model = LlamaForCausalLM(config)
    print(f"{model.num_parameters():,} parameters, {asked.steps * asked.batch:,} rows of {spec.seq_len} tokens")
    train(model, Loader(data, asked.batch, layout=LAYOUT, epochs=None), asked.steps, asked.rate)
    report(model, validation)


def train(model: LlamaForCausalLM, loader: Loader, steps: int, rate: float) -> None:
    """One step a batch; `epochs=None` above gives batches without an end, in a new order each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    begun = time.monotonic()
    for step, batch in zip(range(1, steps + 1), loader, strict=False):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"step {step}: loss {loss.item():.2f}, {time.monotonic() - begun:.0f} s", flush=True)


def report(model: LlamaForCausalLM, rows: ncagen.Dataset) -> None:
    """Prints the loss in nats against the entropy of the same tokens, and the loss by grid."""
    spec = rows.manifest.spec
    labels = LAYOUT(spec, rows.rows(np.arange(len(rows)))["input_ids"])["labels"]
    scored = labels >= 0
    patches = scored & (labels < spec.patch_ids)  # delimiters are always at the same places: they say nothing
    found, counted = losses(model, rows), counting(labels, patches, spec.patch_ids)
    for name, chosen in (("patches", patches), ("all tokens", scored)):
        shares = np.bincount(labels[chosen]) / chosen.sum()
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        print(f"{name}: validation loss {found[chosen].mean():.3f}, unigram entropy {entropy:.3f}")
    print("patches of grid   loss   by counting")
    grid_of = np.arange(labels.shape[1]) // spec.tokens_per_grid
    for grid in (2, 3, 4, 6, 8, 12, 16, 20, 24, spec.frames):
        chosen = patches & (grid_of == grid - 1)
        print(f"{grid:15}   {found[chosen].mean():.3f}  {counted[chosen].mean():.3f}")


@torch.no_grad()
def losses(model: LlamaForCausalLM, rows: ncagen.Dataset) -> np.ndarray:
    """The loss of each token of each row: [row, place]."""
    model.eval()
    found = []
    for batch in Loader(rows, 4, layout=LAYOUT, shuffle=False):
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
        found.append(cross_entropy(logits.transpose(1, 2), batch["input_ids"][:, 1:], reduction="none"))
    return pad(torch.cat(found), (1, 0)).numpy()


def counting(labels: np.ndarray, patches: np.ndarray, ids: int, weight: float = 50) -> np.ndarray:
    """What to beat: the loss of predicting by how often each patch came in the row so far, beside all rows' shares."""
    shares = np.bincount(labels[patches], minlength=ids) / patches.sum()
    counts, found = np.zeros((len(labels), ids)), np.zeros(labels.shape)
    for place in np.flatnonzero(patches.any(0)):
        label = labels[:, place]
        odds = counts[np.arange(len(labels)), label] + weight * shares[label]
        found[:, place] = -np.log(odds / (counts.sum(1) + weight))
        counts[np.arange(len(labels)), label] += 1
    return found


if __name__ == "__main__":
    main()
