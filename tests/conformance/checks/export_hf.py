"""datasets and transformers: load_dataset of the folder, a collator's batch, a Llama's loss; the tokenizer of ids."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import EXPORT, SPLITS, report, same, source
from datasets import load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, default_data_collator

GRID = 38  # 36 patches and two delimiters

loaded = load_dataset(str(EXPORT), cache_dir=tempfile.mkdtemp())
assert set(loaded) == set(SPLITS)
tokens = 0
for split in SPLITS:
    assert loaded[split].column_names == ["input_ids", "labels", "attention_mask"]
    rows, expected = loaded[split].with_format("numpy")[:], source(split).astype(np.int64)
    tokens += same(rows["input_ids"], split)
    assert np.array_equal(rows["labels"], np.where(np.arange(expected.shape[1]) < GRID, -100, expected))
    assert (rows["attention_mask"] == 1).all() and rows["attention_mask"].shape == expected.shape

tokenizer = AutoTokenizer.from_pretrained(EXPORT / "tokenizer")
outside = int(source("train").max()) + 1
assert (tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer)) == (outside, outside, outside + 1)
for row in source("validation")[:50].tolist():
    text = tokenizer.decode(row)
    assert text == " ".join(map(str, row)) and tokenizer.encode(text) == row
every = list(range(outside))
assert tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(every)) == every

batch = default_data_collator([loaded["train"][i] for i in range(2)])
sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
found = model(**batch)
scores, wanted = found.logits[:, GRID - 1 : -1], batch["input_ids"][:, GRID:]
by_hand = torch.nn.functional.cross_entropy(scores.reshape(-1, outside + 1), wanted.reshape(-1))
assert torch.allclose(found.loss, by_hand), (found.loss, by_hand)
report("transformers", "load_dataset, all columns; AutoTokenizer on rows and every id; the loss of a Llama", tokens)
