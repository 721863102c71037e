#!/usr/bin/env bash
# transformers 5.23.0: position_ids that restart separate packed sequences only without a key-value cache. `use_cache`
# is true by default, in training too, and then each sequence attends to those before it, without a warning; so does a
# boolean [batch, 1, query, key] mask under eager attention, which adds it to the scores as 0 and 1. With
# use_cache=False, or with the same mask under SDPA, the logits are those of each sequence alone. Exits 0 if so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

transformers.logging.set_verbosity_error()
length, sequences = 64, 3
ids = torch.arange(sequences * length).reshape(sequences, length) % 100
packed = {
    "input_ids": ids.reshape(1, -1),
    "position_ids": torch.arange(length).repeat(sequences)[None],
}
document = torch.arange(sequences).repeat_interleave(length)
total = sequences * length
mask = ((document[:, None] == document) & torch.ones(total, total, dtype=torch.bool).tril())[None, None]


def error(attention: str, **options) -> float:
    """How far the logits of the packed sequences are from those of each sequence alone."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=100, **sizes)
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        alone = model(input_ids=ids).logits
        return float((model(**packed, **options).logits.reshape(alone.shape) - alone).abs().max())


print(f"transformers {transformers.__version__}, torch {torch.__version__}: greatest difference of a logit")
leaks = []
for attention in ("sdpa", "eager"):
    for name, options, expected in (
        ("position_ids, default use_cache", {}, True),
        ("position_ids, use_cache=False", {"use_cache": False}, False),
        ("boolean mask", {"attention_mask": mask, "use_cache": False}, attention == "eager"),
    ):
        found = error(attention, **options)
        print(f"{attention:6} {name:32} {found:.2e} {'attend to one another' if found > 1e-3 else 'apart'}")
        leaks.append((found > 1e-3) == expected)
sys.exit(0 if all(leaks) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
