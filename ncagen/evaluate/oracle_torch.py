"""The oracle model as torch modules: one that returns logits, one that is called as transformers' causal models are.

Both have a parameter, a zero that is added to the logits, so that a loss has a gradient and a training step changes
nothing. Not covered: generation, caches, `transformers.PreTrainedModel` itself, which no loss needs.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from ncagen.evaluate.next_ids import STEP, SURE, NextIds


class TorchOracle(nn.Module):
    """model(input_ids, ...) gives float32 logits [sequence, position, id], of the token after each position."""

    def __init__(self, oracle: NextIds):
        super().__init__()
        self.oracle = oracle
        self.zero = nn.Parameter(torch.zeros(()))

    @property
    def seen(self):
        """What it was given so far."""
        return self.oracle.seen

    def forward(self, input_ids: torch.Tensor, *more: Any, **others: Any) -> torch.Tensor:
        given = {f"argument {n + 2}": value for n, value in enumerate(more)} | others
        return self.logits(input_ids, given, restarts=True)

    def logits(self, input_ids: torch.Tensor, others: dict[str, Any], restarts: bool) -> torch.Tensor:
        """float32[sequence, position, id]."""
        arrays = {name: _array(value) for name, value in others.items() if isinstance(value, torch.Tensor)}
        known = torch.from_numpy(self.oracle.known(_array(input_ids), arrays, restarts)).to(input_ids.device)[..., None]
        ids = self.oracle.vocab_size
        if self.oracle.plan.measures:
            away = (torch.arange(ids, device=known.device) - known) % ids
            return torch.where(known < 0, 0.0, -STEP * away) + self.zero
        logits = torch.zeros(*known.shape[:2], ids, device=known.device)
        logits.scatter_(2, known.clamp(min=0), torch.where(known < 0, 0.0, SURE))
        return logits + self.zero


class Output(dict):
    """`loss` and `logits` by name, as attributes and by number, as transformers' outputs have them."""

    def __getattr__(self, name: str):
        if name in ("loss", "logits"):
            return self.get(name)
        raise AttributeError(name)

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


class Config(SimpleNamespace):
    """What trainers read of a model's configuration."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class HuggingFaceOracle(TorchOracle):
    """Called as a causal model of transformers: it shifts `labels` itself and returns `loss` and `logits`."""

    def __init__(self, oracle: NextIds):
        super().__init__(oracle)
        self.config = Config(
            vocab_size=oracle.vocab_size, use_cache=True, model_type="oracle", is_encoder_decoder=False
        )

    def forward(  # type: ignore[override]  # trainers read from these names what a batch has to have
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **others: Any,
    ) -> Output:
        """input_ids, labels: int64[sequence, position]. The loss is transformers' own, `ForCausalLMLoss`.

        There, packed rows are kept apart by positions that start anew, if there is no attention mask and no cache.
        """
        cached = self.config.use_cache if use_cache is None else use_cache
        given = others | {"attention_mask": attention_mask, "position_ids": position_ids}
        logits = self.logits(input_ids, given, restarts=attention_mask is None and not cached)
        shifted = others.get("shift_labels")
        if shifted is None and labels is not None:
            shifted = pad(labels, (0, 1), value=-100)[..., 1:]
        if shifted is None:
            return Output(logits=logits)
        return Output(loss=_loss(logits, shifted, num_items_in_batch), logits=logits)


def _loss(logits: torch.Tensor, labels: torch.Tensor, items: torch.Tensor | int | None) -> torch.Tensor:
    """Cross-entropy over labels that are not -100: their mean, or their sum divided by `items`."""
    reduction = "mean" if items is None else "sum"
    loss = cross_entropy(logits.flatten(0, 1), labels.flatten().to(logits.device), reduction=reduction)
    return loss if items is None else loss / items


def _array(value: torch.Tensor) -> np.ndarray:
    detached = value.detach()
    return (detached.float() if detached.dtype == torch.bfloat16 else detached).cpu().numpy()
