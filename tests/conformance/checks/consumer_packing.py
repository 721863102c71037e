"""transformers: a packed row's logits and loss are those of the row alone, called as docs/reading.md says.

Also that what the page warns of still leaks: a packed call with the cache on, with a mask of ones, FlashAttention with
several sequences, and a boolean mask under eager attention. If one of these no longer does, the page can say less.
"""

import numpy as np
import torch
from common import report, source
from consumer_common import SEED, opened, order
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Trainer,
    TrainingArguments,
)
from transformers.modeling_flash_attention_utils import _is_packed_sequence

import ncagen
from ncagen.adapters.torch import Loader, Rows

PACK, LENGTH, BATCH = 3, 128, 2
CLOSE, FAR = 1e-5, 1e-3  # float32's rounding; an answer that other rows changed

SIZES = {"vocab_size": 10_048, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LLAMA = LlamaConfig(intermediate_size=64, **SIZES, **IDS)
OPT = OPTConfig(word_embed_proj_dim=32, ffn_dim=64, max_position_embeddings=LENGTH, **SIZES, **IDS)
MODELS = {
    "Llama": LLAMA,
    "GPT-2": GPT2Config(vocab_size=10_048, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, **IDS),
    "Gemma 2": Gemma2Config(
        head_dim=16, num_key_value_heads=2, intermediate_size=64, sliding_window=32, **SIZES, **IDS
    ),
    "Mistral": MistralConfig(num_key_value_heads=2, intermediate_size=64, sliding_window=32, **SIZES, **IDS),
}


def batches(layout: ncagen.Layout, size: int) -> list[dict]:
    """The first two batches of the stream of SEED."""
    return [batch for _, batch in zip(range(2), Loader(opened(), size, seed=SEED, layout=layout), strict=False)]


def model_of(config, attention: str):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def error(model, packed: dict, single: dict) -> float:
    """How far the logits of packed rows are from those of each row alone."""
    given = {name: column for name, column in packed.items() if name != "labels"}
    with torch.no_grad():
        wanted = model(input_ids=single["input_ids"], use_cache=False).logits
        found = model(**{"use_cache": False} | given).logits
    return float((found.reshape(wanted.shape) - wanted).abs().max())


def same_loss(model, packed: dict, single: dict) -> None:
    with torch.no_grad():
        losses = [model(**batch, use_cache=False).loss.item() for batch in (packed, single)]
    assert abs(losses[0] - losses[1]) < CLOSE, losses


class Received:
    """What a Trainer's model is called with."""

    def __init__(self):
        self.calls: list[dict] = []

    def __call__(self, model, arguments, named):
        self.calls.append(dict(named))


ids, tokens = order(), 0
layout = ncagen.Layout(seq_len=LENGTH, pack=PACK)
packs, singles = batches(layout, BATCH), batches(ncagen.Layout(seq_len=LENGTH), BATCH * PACK)
for name, config in MODELS.items():
    for attention in ("eager",) if name == "Gemma 2" else ("sdpa", "eager"):
        model = model_of(config, attention)
        for packed, single in zip(packs, singles, strict=True):
            assert error(model, packed, single) < CLOSE, (name, attention)
            same_loss(model, packed, single)
for number, packed in enumerate(packs):
    rows = ids[number * BATCH * PACK :][: BATCH * PACK]
    found = packed["input_ids"].reshape(-1, LENGTH).numpy()
    assert np.array_equal(found, source("train")[rows, :LENGTH])
    tokens += found.size

# A mask of blocks, for models that do not read position_ids so, and for PyTorch's own attention.
masked = batches(ncagen.Layout(seq_len=LENGTH, pack=PACK, attention_mask="block"), BATCH)[0]
packed, single = packs[0], singles[0]
for config in (LLAMA, OPT):
    assert error(model_of(config, "sdpa"), masked, single) < CLOSE
    assert error(model_of(config, "eager"), masked, single) > FAR  # eager adds the mask to the scores
assert error(model_of(OPT, "sdpa"), packed, single) > FAR
scores, values = torch.randn(2, BATCH, 2, PACK * LENGTH, 16), torch.randn(BATCH, 2, PACK * LENGTH, 16)
attend = torch.nn.functional.scaled_dot_product_attention
whole = attend(scores[0], scores[1], values, attn_mask=masked["attention_mask"])
middle = slice(LENGTH, 2 * LENGTH)
alone = attend(*(x[:, :, middle] for x in (scores[0], scores[1], values)), is_causal=True)
assert torch.allclose(whole[:, :, middle], alone, atol=CLOSE)

# What lets packed rows attend to one another.
llama = model_of(LLAMA, "sdpa")
assert error(llama, packed | {"use_cache": True}, single) > FAR
assert error(llama, packed | {"attention_mask": torch.ones_like(packed["input_ids"])}, single) > FAR
assert error(llama, {"input_ids": packed["input_ids"]}, single) > FAR
assert _is_packed_sequence(packed["position_ids"][:1], 1)
assert not _is_packed_sequence(packed["position_ids"], BATCH)  # then FlashAttention takes each for one row

# Trainer: its model is called without the cache, with position_ids and without a mask.
received = Received()
settings = TrainingArguments(
    "unused", max_steps=1, per_device_train_batch_size=BATCH, report_to="none", disable_tqdm=True, use_cpu=True,
    save_strategy="no",
)  # fmt: skip
data = Rows(opened(), layout, shuffle=True, seed=SEED)
trainer = Trainer(model_of(LLAMA, "sdpa"), settings, train_dataset=data)
trainer.model.register_forward_pre_hook(received, with_kwargs=True)
trainer.train()
call = received.calls[0]
assert {"input_ids", "labels", "position_ids"} <= set(call) and call.get("attention_mask") is None, set(call)
assert trainer.model.config.use_cache is False
drawn = {row.tobytes() for row in call["input_ids"].numpy()}
assert drawn <= {row["input_ids"].numpy().tobytes() for row in DataLoader(data, batch_size=None)}
assert all(row.tolist() == [*range(LENGTH)] * PACK for row in call["position_ids"])
report("transformers", "packed rows: logits and loss of 4 models, and what Trainer's model is called with", tokens)
