"""Numbers of an experiment's runs over its seeds, from the folders of the runs: what the report shows, as plain values.

Arms are compared with scratch seed by seed, since runs of a seed share the order of rows and new weights. An interval
is a bootstrap over seeds: with three seeds it has few different resamples and is narrow by chance now and then. Not
covered: the page (`page`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfer.runs import log_lines, read_json
from transfer.settings import Arm, Experiment

RESAMPLES = 10_000
Curve = list[tuple[int, float]]
"""Tokens seen, and the validation loss."""


def collect(experiment: Experiment, out: Path) -> dict[str, Any]:
    """All figures; runs that are not there yet are rows with a reason."""
    return {
        "experiment": experiment.to_dict(),
        "text": {domain: _domain(experiment, out, domain) for domain in experiment.text},
        "source": {arm.source_run: _source(experiment, out, arm) for arm in experiment.arms if arm.source_run},
        "tune": {name: _tune(experiment, out, name) for name in experiment.tune},
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of values over seeds, by bootstrap."""
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.array(values)[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def tokens_to_reach(curve: Curve, loss: float) -> float | None:
    """Tokens after which a curve first is at a loss, linear between evaluations; None if it never is."""
    before: tuple[int, float] | None = None
    for tokens, value in curve:
        if value <= loss:
            if before is None:
                return float(tokens)
            return before[0] + (tokens - before[0]) * (before[1] - loss) / (before[1] - value)
        before = tokens, value
    return None


def _domain(experiment: Experiment, out: Path, domain: str) -> dict[str, Any]:
    """Stage 2 in one domain: figures of each arm."""
    runs = {arm.name: _runs(out / "text" / domain / arm.name, experiment.seeds) for arm in experiment.arms}
    base = runs[experiment.scratch.name]
    return {arm.name: _arm(arm, runs[arm.name], base) for arm in experiment.arms}


def _runs(folder: Path, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The runs of an arm by seed: its curve and final loss, or why there is none."""
    return {seed: _run(folder / f"seed-{seed}") for seed in seeds}


def _run(folder: Path) -> dict[str, Any]:
    failed = read_json(folder / "failed.json")
    curve = [(line["tokens"], line["validation"]) for line in log_lines(folder) if "validation" in line]
    if read_json(folder / "done.json") is None:
        return {"curve": curve, "missing": failed["reason"] if failed else "not finished"}
    return {
        "curve": curve,
        "loss": curve[-1][1],
        "complexity": (read_json(folder / "rows.json") or {}).get("complexity"),
    }


def _arm(arm: Arm, runs: dict[int, dict[str, Any]], base: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """An arm's figures over the seeds that it and scratch have finished."""
    seeds = [seed for seed in runs if "loss" in runs[seed] and "loss" in base[seed]]
    found: dict[str, Any] = {
        "runs": runs,
        "missing": {s: run["missing"] for s, run in runs.items() if "missing" in run},
    }
    if not seeds:
        return found
    losses, scratch = ([some[seed]["loss"] for seed in seeds] for some in (runs, base))
    changes = [math.exp(loss - other) - 1 for loss, other in zip(losses, scratch, strict=True)]
    reached = [tokens_to_reach(runs[seed]["curve"], base[seed]["loss"]) for seed in seeds]
    speeds = [
        base[s]["curve"][-1][0] / max(1.0, tokens)
        for s, tokens in zip(seeds, reached, strict=True)
        if tokens is not None
    ]
    found |= {
        "seeds": seeds,
        "loss": float(np.mean(losses)),
        "perplexity": float(np.mean(np.exp(losses))),
        "change": float(np.mean(changes)),
        "change_interval": interval(changes),
        "changes": changes,
        "tokens_to_scratch": reached,
        # Of all seeds or of none: the mean of those that reach it would be too high.
        "speed": float(np.mean(speeds)) if len(speeds) == len(seeds) else None,
        "speed_interval": interval(speeds) if len(speeds) == len(seeds) else None,
        "reached": len(speeds),
    }
    return found | {"verdict": "baseline" if arm.is_scratch else verdict(found)}


def verdict(found: dict[str, Any]) -> str:
    """What an arm's interval shows: better, worse or, with 0 inside of it, no difference."""
    low, high = found["change_interval"]
    if len(found["seeds"]) < 3:
        return "too few seeds"
    return "better" if high < 0 else "worse" if low > 0 else "no difference shown"


def _source(experiment: Experiment, out: Path, arm: Arm) -> dict[int, dict[str, Any]]:
    """Stage 1 of an arm by seed: the last evaluation, the rung at each, and the ladder."""
    return {seed: _source_run(out / "source" / str(arm.source_run) / f"seed-{seed}") for seed in experiment.seeds}


def _source_run(folder: Path) -> dict[str, Any]:
    failed, rows = read_json(folder / "failed.json"), read_json(folder / "rows.json") or {}
    evaluations = [line for line in log_lines(folder) if "validation" in line]
    found = {"rungs": [(line["tokens"], line["reached"], line["patch"]) for line in evaluations], **rows}
    if evaluations:
        found |= {
            name: evaluations[-1][name] for name in ("patch", "accuracy", "by_grid", "reached", "missed", "sentence")
        }
    if read_json(folder / "done.json") is None:
        found["missing"] = failed["reason"] if failed else "not finished"
    return found


def _tune(experiment: Experiment, out: Path, name: str) -> dict[str, Any]:
    """Stage 3: the loss on held-out instructions and the scores of tasks, of each arm and seed."""
    found: dict[str, Any] = {}
    for arm in experiment.arms:
        runs = _runs(out / "tune" / name / arm.name, experiment.seeds)
        for seed, run in runs.items():
            run["tasks"] = read_json(out / "tune" / name / arm.name / f"seed-{seed}" / "tasks.json") or {}
        done = [run for run in runs.values() if "loss" in run]
        losses = [run["loss"] for run in done]
        figures = sorted({figure for run in done for figure in run["tasks"]})
        scores = {figure: [run["tasks"][figure] for run in done if figure in run["tasks"]] for figure in figures}
        found[arm.name] = {
            "missing": {seed: run["missing"] for seed, run in runs.items() if "missing" in run},
            "loss": float(np.mean(losses)) if losses else None,
            "loss_interval": interval(losses) if losses else None,
            "tasks": {figure: [float(np.mean(values)), *interval(values)] for figure, values in scores.items()},
        }
    return found
