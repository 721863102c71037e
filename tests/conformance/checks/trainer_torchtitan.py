"""torchtitan: what its trainer gives the model, from the code of the page, and resumed from its own checkpoint.

torchtitan 0.3.0 trains on a GPU alone. Here its devices are the CPU, by the few functions that ask for a GPU, and
attention is torch's own, since FlexAttention has no backward pass there. Its trainer, loader, loss, optimizer and
checkpoints are as they are.
"""

import os
import socket
import sys
from pathlib import Path

import torch
from common import report
from consumer_common import next_labels, order, received
from page import block, folder
from tokenizers import Tokenizer, models

SEED, BATCH, STEPS, MORE = 1, 2, 4, 2
VOCABULARY = 10_048


def free_port() -> int:
    """A port that nothing uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
batches: list[dict] = []


def use_cpu() -> None:
    """Lets torchtitan take the CPU for its device."""
    torch._utils._get_available_device_type = lambda: "cpu"
    properties = type("Properties", (), {"total_memory": 2**30})
    for name, value in {
        "get_device_name": "cpu",
        "get_device_properties": properties,
        "current_device": 0,
        "memory_stats": {},
        "reset_peak_memory_stats": None,
        "empty_cache": None,
    }.items():
        setattr(torch.cpu, name, lambda *_, value=value: value)
    torch.distributed.barrier = lambda *_, **__: None
    torch.distributed.set_timeout = lambda *_: None


def attention(query, key, value, **_):
    """Causal attention, and no log-sum-exp."""
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True), None


def small(config):
    """The page's config with a model of one layer."""
    from torchtitan.models.llama3 import model_registry

    config.model_spec = model_registry("debugmodel")
    model = config.model_spec.model
    model.layers = model.layers[:1]
    model.vocab_size = model.tok_embeddings.num_embeddings = model.lm_head.out_features = VOCABULARY
    config.loss.loss_fn.global_vocab_size = VOCABULARY
    return config


def train(steps: int) -> None:
    """torchtitan's own command for this many steps."""
    from torchtitan.train import main

    sys.argv = ["train", "--module", "nca_config", "--config", "nca", "--training.steps", str(steps)]
    sys.argv += ["--training.seq_len", "1024", "--training.local_batch_size", str(BATCH)]
    sys.argv += ["--training.disable_cuda_graphs", "--validator.no-enable", "--dump_folder", "out"]
    sys.argv += ["--checkpoint.enable", "--checkpoint.interval", str(STEPS)]
    main()


def main() -> None:
    """Two runs in one folder, the second from the checkpoint of the first."""
    use_cpu()
    from torchtitan.models.common.attention import FlexAttention
    from torchtitan.trainer import Trainer

    FlexAttention._compiled_flex_attn = staticmethod(attention)
    step = Trainer.forward_backward_step

    def keep(self, *, input_dict, labels, **others):
        batches.append({"input_ids": input_dict["input"].clone(), "labels": labels.clone()})
        return step(self, input_dict=input_dict, labels=labels, **others)

    Trainer.forward_backward_step = keep
    with folder():
        tokenizer = Path("data/nca-hf/tokenizer")
        tokenizer.mkdir(parents=True)
        Tokenizer(models.WordLevel({"0": 0}, unk_token="0")).save(str(tokenizer / "tokenizer.json"))
        Path("nca_config.py").write_text(block("torchtitan"))
        sys.path.insert(0, str(Path.cwd()))
        import nca_config

        made = nca_config.nca
        nca_config.nca = lambda: small(made())
        train(STEPS)
        train(STEPS + MORE)
    numbers = order(seed=SEED)[: BATCH * (STEPS + MORE)]
    tokens = received(batches, "train", numbers, next_labels)
    report("torchtitan", "torchtitan.train with NcaDataLoader, and resumed from its checkpoint", tokens)


if __name__ == "__main__":
    main()
