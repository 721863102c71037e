"""A model with the parameter names and the shapes of nanochat's gpt.py, which has no release.

It has what nanochat adds to a transformer as far as there are weights for it: value embeddings with gates, scalars of
layers, the smear of neighbours, and a backout of the middle layer. Rotations of attention have none and are left out.
"""

import torch
from torch import nn
from torch.nn import functional

GATED, SMEARED = 12, 24  # how many channels gates read


def rms(hidden: torch.Tensor) -> torch.Tensor:
    """nanochat's norm, which has no weights."""
    return functional.rms_norm(hidden, hidden.shape[-1:])


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool):
        super().__init__()
        self.heads = heads
        for name in ("c_q", "c_k", "c_v", "c_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))
        self.ve_gate = nn.Linear(GATED, heads, bias=False) if gated else None

    def forward(self, hidden: torch.Tensor, values: torch.Tensor | None) -> torch.Tensor:
        """hidden, values, result: [sequence, place, width]."""
        query, key, value = (part(hidden).unflatten(-1, (self.heads, -1)) for part in (self.c_q, self.c_k, self.c_v))
        if values is not None:
            gate = torch.sigmoid(self.ve_gate(hidden[..., :GATED]))[..., None]
            value = value + gate * values.unflatten(-1, (self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in (rms(query), rms(key), value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=False)
        self.c_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[sequence, place, width] of both."""
        return self.c_proj(functional.relu(self.c_fc(hidden)).square())


class Block(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool):
        super().__init__()
        self.attn = Attention(width, heads, gated)
        self.mlp = MLP(width)

    def forward(self, hidden: torch.Tensor, values: torch.Tensor | None) -> torch.Tensor:
        """[sequence, place, width] of all."""
        hidden = hidden + self.attn(rms(hidden), values)
        return hidden + self.mlp(rms(hidden))


class GPT(nn.Module):
    """vocabulary: rounded up to a multiple of 64, as nanochat does."""

    def __init__(self, vocabulary: int, layers: int = 2, width: int = 32, heads: int = 2):
        super().__init__()
        ids = -(-vocabulary // 64) * 64
        gated = [layer % 2 == (layers - 1) % 2 for layer in range(layers)]
        blocks = nn.ModuleList(Block(width, heads, has_values) for has_values in gated)
        self.transformer = nn.ModuleDict({"wte": nn.Embedding(ids, width), "h": blocks})
        self.lm_head = nn.Linear(width, ids, bias=False)
        self.resid_lambdas, self.x0_lambdas = nn.Parameter(torch.ones(layers)), nn.Parameter(torch.zeros(layers))
        self.smear_gate, self.smear_lambda = nn.Linear(SMEARED, 1, bias=False), nn.Parameter(torch.zeros(1))
        self.backout_lambda = nn.Parameter(torch.full((1,), 0.2))
        tables = {str(layer): nn.Embedding(ids, width) for layer in range(layers) if gated[layer]}
        self.value_embeds = nn.ModuleDict(tables)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss. ids, targets: int64 [sequence, place]; a target of -1 has no loss."""
        first = rms(self.transformer["wte"](ids))
        gate = self.smear_lambda * torch.sigmoid(self.smear_gate(first[:, 1:, :SMEARED]))
        hidden = first = torch.cat([first[:, :1], first[:, 1:] + gate * first[:, :-1]], dim=1)
        middle, tables = hidden, dict(self.value_embeds.items())
        for layer, block in enumerate(self.transformer["h"]):
            hidden = self.resid_lambdas[layer] * hidden + self.x0_lambdas[layer] * first
            table = tables.get(str(layer))
            hidden = block(hidden, None if table is None else table(ids))
            middle = hidden if layer == len(self.transformer["h"]) // 2 - 1 else middle
        logits = self.lm_head(rms(hidden - self.backout_lambda * middle))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
