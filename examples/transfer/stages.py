"""The stages of one arm and seed: synthetic rows, text, instructions. Each is a run in a folder of its own.

A run that is finished or failed is left as it is. All arms of a seed have the same order of rows, the same new weights
and the same schedule, so they differ in what stage 1 left alone.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ncagen.evaluate import ladder
from transfer import evaluate
from transfer.check import Data, Materials
from transfer.handover import hand_over
from transfer.model import build, load, seed_of
from transfer.ranks import Ranks
from transfer.rows import RowBatches, complexity
from transfer.runs import RunFolder
from transfer.settings import Arm, Training
from transfer.train import Batches, Plan, RunFailed, train

Report = Callable[[str], object]


@dataclass(frozen=True)
class Runner:
    """Where runs go. out: the experiment's folder. report: takes a line for people."""

    materials: Materials
    out: Path
    ranks: Ranks
    report: Report

    def source(self, arm: Arm, seed: int) -> RunFolder:
        """Stage 1: trains a new model on an arm's synthetic rows. Raises NcagenError."""
        materials, stage = self.materials, self.materials.experiment.source
        data, steps = materials.source[arm.source], materials.steps(arm)
        settings = self._settings(stage.training, steps, seed) | {"data": data.sha256, "offset": data.offset}
        run = RunFolder(self.out / "source" / arm.source_run / f"seed-{seed}", settings, self.ranks.first)
        if run.done or run.failed:
            return run
        self._announce(run)
        model = build(materials.config, seed_of(seed, "source weights"))
        rungs = ladder(data.validation, rows=stage.training.eval_rows)
        run.write("rows.json", {"complexity": complexity(data.validation), "ladder": rungs.to_dict()})
        evaluation = evaluate.of_rows(data.validation, data.offset, rungs, stage.training.micro, self.ranks)
        plan = self._plan(stage.training, steps, data.seq_len, seed_of(seed, "source"))
        self._train(run, model, self._rows(data, stage.training, seed_of(seed, "source order")), plan, evaluation)
        return run

    def text(self, arm: Arm, domain: str, seed: int, learned: RunFolder | None) -> RunFolder:
        """Stage 2: trains on text what an arm keeps of stage 1. learned: its run of stage 1, None without one."""
        materials, stage = self.materials, self.materials.experiment.text[domain]
        data, steps = materials.text[domain], materials.text_steps(domain)
        own = {"reinit": [*map(str, arm.reinit)], "freeze": [*map(str, arm.freeze)], "data": data.sha256}
        settings = self._settings(stage.training, steps, seed) | own | {"from": _identity(arm, learned)}
        run = RunFolder(self.out / "text" / domain / arm.name / f"seed-{seed}", settings, self.ranks.first)
        if run.done or run.failed or self._without(run, learned, "stage 1"):
            return run
        self._announce(run)
        model = build(materials.config, seed_of(seed, "text weights"))
        folder = arm.checkpoint if learned is None else learned.path / "model"
        names = hand_over(arm, None if folder is None else dict(load(folder).named_parameters()), model)
        run.write("parameters.json", names)
        run.write("rows.json", {"complexity": complexity(data.validation)})
        training = stage.training
        batches = evaluate.validation_batches(
            data.validation, materials.layout(data), training.eval_rows, training.micro
        )
        plan = self._plan(training, steps, data.seq_len, seed_of(seed, "text"))
        rows = self._rows(data, training, seed_of(seed, "text order"))
        self._train(run, model, rows, plan, evaluate.of_batches(batches, self.ranks))
        return run

    def tune(self, arm: Arm, name: str, seed: int, read: RunFolder) -> RunFolder:
        """Stage 3: fine-tunes a model of stage 2 on instructions, and runs the tasks. read: its run of stage 2."""
        from transfer import instructions, tasks

        stage = self.materials.experiment.tune[name]
        training = stage.training
        texts = instructions.Instructions.read(Path(stage.data), Path(stage.tokenizer), stage.seq_len)
        held_out = instructions.Instructions.read(Path(stage.validation), Path(stage.tokenizer), stage.seq_len)
        steps = max(1, stage.epochs * len(texts) // training.batch)
        own = {"data": texts.sha256, "seq_len": stage.seq_len, "from": read.sha256}
        run = RunFolder(
            self.out / "tune" / name / arm.name / f"seed-{seed}",
            self._settings(training, steps, seed) | own,
            self.ranks.first,
        )
        if run.failed or self._without(run, read, "stage 2"):
            return run
        if not run.done:
            self._announce(run)
            plan = self._plan(training, steps, stage.seq_len, seed_of(seed, "tune"))
            batches = instructions.Batches(texts, training.batch, seed_of(seed, "tune order"), self.ranks)
            evaluation = evaluate.of_batches(held_out.in_order(training.eval_rows, training.micro), self.ranks)
            self._train(run, load(read.path / "model"), batches, plan, evaluation)
            if run.done and self.ranks.first:
                tasks.save_tokenizer(stage.tokenizer, run.path / "model")
        if run.done and stage.tasks and run.read("tasks.json") is None:
            if self.ranks.first:
                run.write(
                    "tasks.json",
                    tasks.scores(run.path / "model", stage, self.ranks.device, self.materials.experiment.precision),
                )
            self.ranks.wait()
        return run

    def _settings(self, training: Training, steps: int, seed: int) -> dict[str, Any]:
        """What the result of any run depends on."""
        experiment, config = self.materials.experiment, self.materials.config
        return {
            "seed": seed,
            "steps": steps,
            "training": asdict(training),
            "model": asdict(experiment.model),
            "vocabulary": config.vocab_size,
            "positions": config.max_position_embeddings,
            "precision": experiment.precision,
            "compile": experiment.compile,
        }

    def _plan(self, training: Training, steps: int, seq_len: int, seed: int) -> Plan:
        experiment, guessing = self.materials.experiment, math.log(self.materials.vocabulary)
        tokens = training.batch * seq_len
        return Plan(training, steps, tokens, guessing, seed, experiment.precision, experiment.compile)

    def _rows(self, data: Data, training: Training, seed: int) -> RowBatches:
        return RowBatches(data.train, self.materials.layout(data), training.batch, seed % 2**32, self.ranks)

    def _announce(self, run: RunFolder) -> None:
        run.begin()
        self.ranks.wait()
        self.report(f"{run.path.relative_to(self.out)}")

    def _train(
        self, run: RunFolder, model: nn.Module, batches: Batches, plan: Plan, evaluation: evaluate.Evaluate
    ) -> None:
        """Trains, and marks the run as finished or failed."""
        try:
            train(model, batches, plan, run, self.ranks, evaluation, self.report)
        except RunFailed as failed:
            run.fail(run.lines()[-1]["step"], str(failed))
            self.report(f"{run.path.relative_to(self.out)} failed: {failed}")
        else:
            run.finish(model, {"steps": plan.steps, "tokens": plan.steps * plan.tokens})
        self.ranks.wait()

    def _without(self, run: RunFolder, before: RunFolder | None, stage: str) -> bool:
        """Marks a run as failed where the one before it has; returns whether it has."""
        if before is None or not before.failed:
            return False
        run.begin()
        run.fail(0, f"{stage} failed: {before.failed['reason']}")
        return True


def _identity(arm: Arm, learned: RunFolder | None) -> str | None:
    """What stage 2 begins with: the settings of stage 1, or the weights of a checkpoint."""
    if learned is not None:
        return learned.sha256
    if arm.checkpoint is None:
        return None
    hashed = hashlib.sha256()
    for file in sorted(Path(arm.checkpoint).glob("*.safetensors")):
        with file.open("rb") as opened:
            hashed.update(hashlib.file_digest(opened, "sha256").digest())
    return hashed.hexdigest()


def free_memory() -> None:
    """Gives memory of a finished run back to a GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
