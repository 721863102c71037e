"""torchtitan, from stage 1 to text, by its own commands and the code of docs/recipes.md.

It runs on the CPU as trainer_torchtitan.py says.
"""

import shlex
import sys
from pathlib import Path

import numpy as np
import torch
from common import report
from consumer_common import next_labels, order, received
from page import RECIPES, block, command, folder
from recipe_common import handed_over, received_text
from tokenizers import Tokenizer, models
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from trainer_torchtitan import attention, use_cpu

SEED, BATCH, STEPS, LAYERS = 1, 2, 3, 2
NEW = {"tok_embeddings.weight": 0, "lm_head.weight": 0}


def plain(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor or of a DTensor of one process, as they are now."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).numpy().copy()


class Seen:
    """What the trainer has of a stage: its batches and losses, its weights and moments before the first step."""

    def __init__(self):
        self.batches: list[dict] = []
        self.losses: list[float] = []
        self.start: dict[str, np.ndarray] = {}
        self.moments: list[np.ndarray] = []

    def keep_start(self, trainer) -> None:
        self.start = {name: plain(value) for name, value in trainer.model_parts[0].state_dict().items()}
        for optimizer in trainer.optimizers:
            self.moments += [plain(state["exp_avg"]) for state in optimizer.state.values() if state]


def keep_in(stages: list[Seen]) -> None:
    """Lets every step note what it is given in the last of the stages."""
    from torchtitan.trainer import Trainer

    step = Trainer.forward_backward_step

    def keep(self, *, input_dict, labels, **others):
        seen = stages[-1]
        if not seen.batches:
            seen.keep_start(self)
        seen.batches.append({"input_ids": input_dict["input"].clone(), "labels": labels.clone()})
        loss = step(self, input_dict=input_dict, labels=labels, **others)
        seen.losses.append(float(plain(loss)))
        return loss

    Trainer.forward_backward_step = keep


def train(config: str) -> None:
    """The page's command of a stage, with fewer steps."""
    from torchtitan.train import main

    line = command("torchtitan", f"python -m torchtitan.train --module stages --config {config}", RECIPES)
    assert "--training.steps 1000" in line
    line = line.replace("--training.steps 1000", f"--training.steps {STEPS}")
    sys.argv = [*shlex.split(line)[2:], "--training.local_batch_size", str(BATCH), "--training.disable_cuda_graphs"]
    main()


def prepare() -> None:
    """Writes stages.py as the page has it, for a model of fewer layers, and a tokenizer."""
    code = block("torchtitan", RECIPES)
    assert "step-1000" in code
    Path("stages.py").write_text(code.replace("step-1000", f"step-{STEPS}"))
    tokenizer = Path("data/tokenizer/tokenizer.json")
    tokenizer.parent.mkdir()
    Tokenizer(models.WordLevel({"0": 0}, unk_token="0")).save(str(tokenizer))
    sys.path.insert(0, str(Path.cwd()))
    import stages

    made = stages.llama3_debugmodel

    def small():
        config = made()
        config.model_spec.model.layers = config.model_spec.model.layers[:LAYERS]
        return config

    stages.llama3_debugmodel = small


def main() -> None:
    """Both stages, and the weights of the first from its checkpoint."""
    use_cpu()
    from torchtitan.models.common.attention import FlexAttention

    FlexAttention._compiled_flex_attn = staticmethod(attention)
    stages: list[Seen] = []
    keep_in(stages)
    with folder():
        prepare()
        for config in ("nca", "text"):
            stages.append(Seen())
            train(config)
        dcp_to_torch_save(f"stage1/checkpoint/step-{STEPS}", "stage1.pt")
        trained = {name: plain(value) for name, value in torch.load("stage1.pt").items() if name in stages[1].start}
    nca, text = stages
    tokens = received(nca.batches, "train", order(seed=SEED)[: BATCH * STEPS], next_labels)
    tokens += received_text(np.concatenate([batch["input_ids"] for batch in text.batches]), SEED)
    assert len(nca.batches) == len(text.batches) == STEPS and np.isfinite(nca.losses + text.losses).all()
    handed_over(trained, text.start, NEW)
    assert not any(moment.any() for moment in text.moments), "stage 2 has the moments of stage 1"
    report("torchtitan", "stage 1 and text, from torchtitan's own checkpoint: the weights kept, the batches", tokens)


if __name__ == "__main__":
    main()
