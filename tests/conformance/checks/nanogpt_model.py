"""A model with the parameter names, the shapes and the interface of nanoGPT's model.py, which has no release."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass
class GPTConfig:
    """The arguments that nanoGPT keeps in a checkpoint as `model_args`."""

    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool


class Attention(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[sequence, place, width] of both."""
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.c_attn(hidden).chunk(3, dim=-1))
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[sequence, place, width] of both."""
        return self.c_proj(functional.gelu(self.c_fc(hidden)))


class Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[sequence, place, width] of both."""
        hidden = hidden + self.attn(self.ln_1(hidden))
        return hidden + self.mlp(self.ln_2(hidden))


class GPT(nn.Module):
    """Embeddings of tokens, which are the head's weights too, and of places; blocks; a norm."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        wte, wpe = nn.Embedding(config.vocab_size, config.n_embd), nn.Embedding(config.block_size, config.n_embd)
        blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.transformer = nn.ModuleDict({"wte": wte, "wpe": wpe, "h": blocks, "ln_f": norm})
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.02)
        wte.weight = self.lm_head.weight

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and the loss. ids, targets: int64 [sequence, place]; a target of -1 has no loss."""
        hidden = self.transformer["wte"](ids) + self.transformer["wpe"](torch.arange(ids.shape[1]))
        for block in self.transformer["h"]:
            hidden = block(hidden)
        logits = self.lm_head(self.transformer["ln_f"](hidden))
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)

    def configure_optimizers(
        self, weight_decay: float, learning_rate: float, betas: tuple[float, float], device_type: str
    ) -> torch.optim.AdamW:
        """AdamW with two groups: matrices decay, vectors do not. device_type is for nanoGPT's fused kernel."""
        matrices = [value for value in self.parameters() if value.dim() >= 2]
        vectors = [value for value in self.parameters() if value.dim() < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)
