"""The loop of one run: steps, evaluations, checkpoints; it resumes after the last checkpoint, bit for bit.

Random bits of a step, which only dropout uses, depend on (seed, step, rank) alone, and no state of a generator is kept.
A run stops with one line where its loss is not finite, or stays above that of guessing.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ncagen import NcagenError
from transfer.loss import backward
from transfer.model import seed_of
from transfer.ranks import Ranks
from transfer.rows import Batch
from transfer.runs import RunFolder
from transfer.settings import Training


class Batches(Protocol):
    """What gives each step its rows."""

    def next(self) -> Batch: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


class RunFailed(NcagenError):
    """A run that stopped by itself."""

    status = 1


@dataclass(frozen=True)
class Plan:
    """steps: of the run. tokens: of a step, over all ranks. guessing: the loss of guessing among the ids of the rows.

    seed: of the run's random bits. precision, compile: of the forward pass.
    """

    training: Training
    steps: int
    tokens: int
    guessing: float
    seed: int
    precision: str
    compile: bool

    def rate(self, step: int) -> float:
        """The learning rate of a step, 1 to `steps`: linear to the highest, then a cosine to its `final` share."""
        training = self.training
        horizon = training.horizon or self.steps
        warmup = training.warmup if training.warmup >= 1 else training.warmup * horizon
        if step <= warmup:
            return training.rate * step / warmup
        share = min(1.0, (step - warmup) / max(1.0, horizon - warmup))
        return training.rate * (training.final + (1 - training.final) * (1 + math.cos(math.pi * share)) / 2)

    def evaluates(self, step: int) -> bool:
        """Whether the model is evaluated after a step; step 0 is before the first."""
        times = min(self.training.evaluations, self.steps)
        return step == 0 or step * times // self.steps > (step - 1) * times // self.steps


class Ceiling:
    """Finds that nothing is learned: a loss that is not finite, or above that of guessing in so many steps in a row."""

    def __init__(self, plan: Plan):
        self.guessing = plan.guessing
        self.patience = max(20, plan.steps // 20)
        self.above = 0

    def check(self, step: int, loss: float) -> None:
        """Raises RunFailed."""
        if not math.isfinite(loss):
            raise RunFailed(f"the loss of step {step} is {loss}: use a lower rate")
        self.above = self.above + 1 if loss > self.guessing else 0
        if self.above >= self.patience:
            raise RunFailed(
                f"the loss is {loss:.2f} after step {step} and was above {self.guessing:.2f}, that of guessing, in the"
                f" last {self.above} steps: nothing is learned; use another rate, or check the data"
            )


def train(
    model: nn.Module,
    batches: Batches,
    plan: Plan,
    run: RunFolder,
    ranks: Ranks,
    evaluate: Callable[[nn.Module], dict[str, Any]],
    report: Callable[[str], object],
) -> None:
    """Trains a model in place, from its run's last checkpoint if there is one. Raises RunFailed.

    evaluate: figures of a model for the log. report: takes a line for people.
    """
    loop = _Loop(model.to(ranks.device), batches, plan, run, ranks)
    begun, first = time.monotonic(), loop.resume()
    if first == 0:
        loop.note(0, evaluate(model), report)
    for step in range(first + 1, plan.steps + 1):
        loop.step(step)
        if plan.evaluates(step):
            loop.note(step, evaluate(model), report)
    seconds, steps, reading = time.monotonic() - begun, plan.steps - first, round(loop.reading, 3)
    speed = {"steps": steps, "seconds": round(seconds, 3), "reading_seconds": reading}
    speed |= {"tokens_per_second": round(steps * plan.tokens / seconds)}
    run.add("timing.jsonl", speed | {"device": ranks.device, "ranks": ranks.world, "torch": torch.__version__})


class _Loop:
    """What one run holds in memory."""

    def __init__(self, model: nn.Module, batches: Batches, plan: Plan, run: RunFolder, ranks: Ranks):
        self.model, self.batches, self.plan, self.run, self.ranks = model, batches, plan, run, ranks
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise NcagenError("every parameter is frozen: nothing is left to train")
        self.optimizer = optimizer_of(model, plan.training, ranks.device)
        forward = torch.compile(model) if plan.compile else model
        devices = [torch.device(ranks.device)] if ranks.device != "cpu" else None
        self.forward = DistributedDataParallel(forward, device_ids=devices) if ranks.world > 1 else forward
        self.ceiling = Ceiling(plan)
        self.reading = 0.0  # seconds in which steps waited for their rows

    def resume(self) -> int:
        """Takes up the last checkpoint; returns the step after which it was written, 0 if there is none."""
        state = self.run.resume(self.ranks.device)
        if state is None:
            return 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.load(state["batches"])
        self.ceiling.above = state["above"]
        return state["step"]

    def step(self, step: int) -> None:
        """One update of the parameters."""
        plan, begun = self.plan, time.monotonic()
        batch = self.batches.next()
        self.reading += time.monotonic() - begun
        self.model.train()
        # After the batch was read: a DataLoader draws from torch's generator when a pass begins.
        torch.manual_seed(seed_of(plan.seed, step, self.ranks.rank))
        rate = plan.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = backward(self.forward, batch, plan.training.micro, self.ranks, plan.precision)
        clip = plan.training.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.parameters, clip))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.run.add(
            "log.jsonl", {"step": step, "tokens": step * plan.tokens, "loss": loss, "rate": rate, "norm": norm}
        )
        self.ceiling.check(step, loss)

    def note(self, step: int, figures: dict[str, Any], report: Callable[[str], object]) -> None:
        """Adds figures to the log, and writes a checkpoint."""
        self.run.add("log.jsonl", {"step": step, "tokens": step * self.plan.tokens, **figures})
        said = figures.get("sentence") or f"validation loss {figures['validation']:.4f}"
        report(f"step {step} of {self.plan.steps}: {said}")
        if step:
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            self.run.save(step, state | {"batches": self.batches.state(), "above": self.ceiling.above})


def optimizer_of(model: nn.Module, training: Training, device: str) -> torch.optim.Optimizer:
    """The optimizer of all parameters that are not frozen; weight decay of matrices alone."""
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in free if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in free if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    fused = device.startswith("cuda")
    return kind([group for group in groups if group["params"]], lr=training.rate, betas=training.betas, fused=fused)
