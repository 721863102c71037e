"""Trains a tiny Llama from scratch on a dataset, on a CPU, and shows that it learns in context.

    ncagen build --tokens 6M --validation 200K --states 3 --band 0.05-0.15 --out data/three-states
    python examples/tiny_llama.py data/three-states

Each row has a different rule, and no rule of a validation row occurs in training. So a model that predicts the last
grids of a row better than its first grids has learnt this from the row. Three states make 81 patches instead of 10,000,
and rules of this band are simple, so minutes are enough. The loss drops at the 13th grid, because many of these rules
move their pattern by a cell a step, and the torus is 12 cells around. Needs torch, transformers and ncagen.
"""

import argparse
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad
from transformers import LlamaConfig, LlamaForCausalLM

import ncagen
from ncagen.adapters.torch import Loader

# Labels have the positions of the inputs, since Llama shifts them. Nothing predicts the first grid: it has no loss.
LAYOUT = ncagen.Layout(labels="same")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a tiny Llama on a dataset and print its loss by grid.")
    parser.add_argument("data", help="a dataset's folder")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=4, help="rows of a step")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    args = parser.parse_args()
    torch.manual_seed(0)
    data, validation = ncagen.open(args.data), ncagen.open(args.data, split="validation")
    row_format = data.row_format
    config = LlamaConfig(
        vocab_size=-(-row_format.vocabulary // 64) * 64,  # matrices of such sizes are faster; higher ids are unused
        hidden_size=args.width,
        intermediate_size=2 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 32,
        max_position_embeddings=row_format.seq_len,
    )
    model = LlamaForCausalLM(config)
    print(f"{model.num_parameters():,} parameters, {args.steps * args.batch:,} rows of {row_format.seq_len} tokens")
    train(model, Loader(data, args.batch, layout=LAYOUT, epochs=None), args.steps, args.rate)
    report(model, validation)


def train(model: LlamaForCausalLM, loader: Loader, steps: int, rate: float) -> None:
    """Runs one step for each batch; `epochs=None` above gives endless batches, in a new order each epoch."""
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
    row_format = rows.row_format
    per_grid, delimiters = row_format.unpredictable, row_format.structural  # nothing predicts the first grid
    labels = LAYOUT(row_format, rows.rows(np.arange(len(rows)))["input_ids"])["labels"]
    scored = labels >= 0
    patches = scored & (labels < delimiters[0])  # delimiters are always at the same positions: their loss means nothing
    found, counted = losses(model, rows), counting(labels, patches, delimiters[0])
    for name, chosen in (("patches", patches), ("all tokens", scored)):
        shares = np.bincount(labels[chosen]) / chosen.sum()
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        print(f"{name}: validation loss {found[chosen].mean():.3f}, unigram entropy {entropy:.3f}")
    print("patches of grid   loss   by counting")
    grid_of = np.arange(labels.shape[1]) // per_grid
    for grid in (2, 3, 4, 6, 8, 12, 16, 20, 24, row_format.row_tokens // per_grid):
        chosen = patches & (grid_of == grid - 1)
        print(f"{grid:15}   {found[chosen].mean():.3f}  {counted[chosen].mean():.3f}")


@torch.no_grad()
def losses(model: LlamaForCausalLM, rows: ncagen.Dataset) -> np.ndarray:
    """Returns the loss of each token in nats: float[row, position]."""
    model.eval()
    found = []
    for batch in Loader(rows, 4, layout=LAYOUT, shuffle=False):
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
        found.append(cross_entropy(logits.transpose(1, 2), batch["input_ids"][:, 1:], reduction="none"))
    return pad(torch.cat(found), (1, 0)).numpy()


def counting(labels: np.ndarray, patches: np.ndarray, ids: int, weight: float = 50) -> np.ndarray:
    """Returns a baseline: the loss of predicting by counts of patches in the row so far and shares in all rows."""
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
