"""What an experiment would train, as text: parameters, steps and tokens of every stage."""

from collections.abc import Iterator

from transfer.check import Materials
from transfer.model import build


def text(materials: Materials) -> str:
    """Lines for people."""
    return "\n".join(_lines(materials))


def _lines(materials: Materials) -> Iterator[str]:
    import torch

    experiment = materials.experiment
    with torch.device("meta"):
        parameters = build(materials.config, 0).num_parameters()
    seeds, arms = ", ".join(map(str, experiment.seeds)), len(experiment.arms)
    yield f"{experiment.name}: {parameters:,} parameters, {materials.vocabulary:,} ids, seeds {seeds}"
    total = 0
    for name, arm in {arm.source_run: arm for arm in experiment.arms if arm.source_run}.items():
        tokens = materials.steps(arm) * experiment.source.training.batch * materials.source[arm.source].seq_len
        total += tokens
        yield f"stage 1, {name}: {materials.steps(arm):,} steps, {tokens:,} tokens"
    for domain, stage in experiment.text.items():
        tokens = materials.text_steps(domain) * stage.training.batch * materials.text[domain].seq_len
        total += tokens * arms
        yield f"stage 2, {domain}: {materials.text_steps(domain):,} steps, {tokens:,} tokens, {arms} arms"
    for name, stage in experiment.tune.items():
        yield f"stage 3, {name}: {stage.epochs} epochs of {stage.data}, tasks {', '.join(stage.tasks) or 'none'}"
    total *= len(experiment.seeds)
    yield f"{total:,} tokens in stages 1 and 2, {6 * parameters * total:.1e} operations (6 a parameter and token)"
