"""Runs all arms and seeds of an experiment in one process, or in those of torchrun; what is finished is not run again.

The order is by seed, so that an experiment which is stopped early has whole pairs.
"""

from pathlib import Path

from transfer import ranks, tasks
from transfer.check import Materials, check
from transfer.evaluate import check_loop
from transfer.runs import RunFolder
from transfer.settings import Experiment
from transfer.stages import Report, Runner, free_memory


def run(experiment: Experiment, out: Path, device: str, report: Report) -> bool:
    """Checks and runs everything. Returns whether no run failed. Raises NcagenError before any training."""
    here = ranks.start(device)
    try:
        materials = check(experiment, here.world)
        rehearse(materials)
        runner = Runner(materials, out, here, report if here.first else _silent)
        fine = [_seed(runner, seed) for seed in experiment.seeds]
        return all(fine)
    finally:
        ranks.stop()


def rehearse(materials: Materials) -> None:
    """Runs the loop of every dataset with a model that knows every next token, and loads all tasks.

    Raises NcagenError.
    """
    for name, stage in materials.experiment.tune.items():
        if stage.tasks:
            tasks.check(f"[tune.{name}]", stage)
    for data in (*materials.source.values(), *materials.text.values()):
        check_loop(data.train, materials.layout(data), materials.vocabulary)


def _seed(runner: Runner, seed: int) -> bool:
    """All runs of a seed, stage by stage. Returns whether none failed."""
    experiment = runner.materials.experiment
    runs: list[RunFolder] = []
    for arm in experiment.arms:
        learned = None if arm.source is None else runner.source(arm, seed)
        read = {domain: runner.text(arm, domain, seed, learned) for domain in experiment.text}
        tuned = [runner.tune(arm, name, seed, read[stage.text]) for name, stage in experiment.tune.items()]
        runs += [run for run in (learned, *read.values(), *tuned) if run is not None]
        free_memory()
    return not any(run.failed for run in runs)


def _silent(line: str) -> None:
    """Reports nothing, on all ranks but the first."""
