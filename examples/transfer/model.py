"""Makes the model of a preset, with weights that depend on a seed alone, and reads one from a folder.

Not covered: other architectures than Llama, and heads with a bias.
"""

import hashlib
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from ncagen import NcagenError
from transfer.settings import ModelSize

logging.disable_progress_bar()

# What has to be equal for weights of one model to fit another.
SHAPE = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "tie_word_embeddings",
)


def seed_of(*names: object) -> int:
    """A seed of 63 bits for a purpose: a hash of its names, so that no two purposes share one."""
    return int.from_bytes(hashlib.sha256(json.dumps(names).encode()).digest()[:8], "big") >> 1


def config_of(size: ModelSize, vocabulary: int, positions: int) -> LlamaConfig:
    """The configuration of a Llama. positions: of the longest row of any stage."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=positions,
        tie_word_embeddings=size.tied,
        attention_dropout=size.dropout,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )


def build(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model with random weights: equal seeds give equal weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def load(folder: Path | str) -> LlamaForCausalLM:
    """The model of a folder, with float32 weights. Raises NcagenError, also where weights are missing."""
    try:
        found, loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise NcagenError(f"{folder} is no model that transformers loads: {said}") from None
    if missing := sorted(loaded["missing_keys"]):
        raise NcagenError(f"{folder} lacks weights, which would be random: {', '.join(missing[:3])}")
    return found


def check_shape(folder: str, config: LlamaConfig) -> None:
    """Raises NcagenError unless a folder has a model whose weights fit a configuration. Reads config.json alone."""
    try:
        values = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NcagenError(f"checkpoint {folder} does not exist: use a folder with config.json and weights") from None
    except (OSError, ValueError) as error:
        raise NcagenError(f"checkpoint {folder} has no config.json that can be read: {error}") from None
    for name in SHAPE:
        wanted, found = getattr(config, name), values.get(name)
        if found != wanted:
            raise NcagenError(
                f"checkpoint {folder} is of another architecture: its {name} is {found!r} and the experiment's"
                f" {wanted!r}"
            )
