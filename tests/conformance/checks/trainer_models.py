"""Tiny models in PyTorch that note what they are given. They train: the loss is one of the tokens they receive."""

import torch
from torch import nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutput

VOCABULARY = 10_048  # ids, and a tokenizer's end of text, rounded up
CLASSES = 64


class Recorder(nn.Module):
    """Predicts a token's number modulo 64 from that of the token before, and keeps every batch in `received`.

    While it is not trained, it keeps them in `evaluated`.

    It takes and gives what transformers' causal models do, and shifts labels itself unless told otherwise.
    """

    def __init__(self, shift: bool = True):
        super().__init__()
        self.table = nn.Embedding(CLASSES, CLASSES)
        self.shift = shift
        self.received: list[dict] = []
        self.evaluated: list[dict] = []

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor, **others: torch.Tensor) -> CausalLMOutput:
        """input_ids, labels: int64 [sequence, token]."""
        given = {"input_ids": input_ids, "labels": labels, **others}
        kept = self.received if self.training else self.evaluated
        kept.append({name: value.clone() for name, value in given.items()})
        logits = self.table(input_ids % CLASSES)
        given_logits, targets = (logits[:, :-1], labels[:, 1:]) if self.shift else (logits, labels)
        targets = torch.where(targets < 0, -100, targets % CLASSES)
        loss = nn.functional.cross_entropy(given_logits.flatten(0, 1), targets.flatten())
        assert torch.isfinite(loss)
        return CausalLMOutput(loss=loss, logits=logits)


def llama() -> LlamaForCausalLM:
    """A Llama of one layer, whose batches are kept in `received`."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig()
    model.received = []

    def receive(module: nn.Module, arguments: tuple, named: dict) -> None:
        module.received.append({name: named[name].clone() for name in ("input_ids", "labels")})

    model.register_forward_pre_hook(receive, with_kwargs=True)
    return model
