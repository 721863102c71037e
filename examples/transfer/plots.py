"""Pictures of the report as SVG in the page itself: curves of losses, and losses by grid beside the ladder."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.rcParams |= {"svg.hashsalt": "transfer", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
LADDER = {"color": "0.6", "linewidth": 0.8, "linestyle": "--"}


def curves(arms: dict[str, dict[str, Any]]) -> str:
    """The validation loss of each arm by tokens: the mean over seeds, and a band from the lowest to the highest."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, found in arms.items():
        done = [run["curve"] for run in found["runs"].values() if "loss" in run]
        if done:
            tokens, losses = np.array(done[0])[:, 0], np.array([[loss for _, loss in curve] for curve in done])
            (line,) = axes.plot(tokens, losses.mean(axis=0), label=name, linewidth=1.2)
            axes.fill_between(
                tokens, losses.min(axis=0), losses.max(axis=0), alpha=0.2, color=line.get_color(), linewidth=0
            )
    axes.set(xlabel="tokens of text", ylabel="validation loss, nats a token")
    _show_end(axes, arms)
    axes.legend(fontsize=8)
    return _svg(figure)


def changes(arms: dict[str, dict[str, Any]], scratch: str) -> str:
    """The change of perplexity against scratch of the same seed, by tokens: the mean, and a band over seeds."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    base = arms[scratch]["runs"]
    for name, found in arms.items():
        pairs = [
            (run["curve"], base[seed]["curve"])
            for seed, run in found["runs"].items()
            if "loss" in run and "loss" in base[seed]
        ]
        pairs = [(curve, other) for curve, other in pairs if len(curve) == len(other)]
        if pairs:
            tokens = np.array(pairs[0][0])[:, 0]
            values = np.array([100 * np.expm1(np.subtract(curve, other)[:, 1]) for curve, other in pairs])
            (line,) = axes.plot(tokens, values.mean(axis=0), label=name, linewidth=1.2)
            axes.fill_between(
                tokens, values.min(axis=0), values.max(axis=0), alpha=0.15, color=line.get_color(), linewidth=0
            )
    axes.set(xlabel="tokens of text", ylabel="perplexity against scratch, %")
    axes.legend(fontsize=8)
    return _svg(figure)


def by_grid(runs: dict[int, dict[str, Any]]) -> str:
    """The last loss of stage 1 by grid, a line for each seed, beside the rungs of the ladder."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    first = next(run for run in runs.values() if "by_grid" in run)
    for rung in first["ladder"]["rungs"]:
        axes.plot(*_points(rung["nats"]), **LADDER)
        x, y = _points(rung["nats"])
        axes.annotate(rung["name"], (x[-1], y[-1]), fontsize=7, color="0.4", xytext=(4, -2), textcoords="offset points")
    for seed, run in runs.items():
        if "by_grid" in run:
            axes.plot(*_points(run["by_grid"]), label=f"seed {seed}", linewidth=1.4)
    axes.set(xlabel="grid, or part of a row", ylabel="nats", ylim=(0, None))
    axes.margins(x=0.12)
    axes.legend(fontsize=8)
    return _svg(figure)


def _points(values: list[float | None]) -> tuple[list[int], list[float]]:
    """Numbers of grids, from 1 on, and losses, without those that are None."""
    pairs = [(grid, value) for grid, value in enumerate(values, 1) if value is not None]
    return [grid for grid, _ in pairs], [value for _, value in pairs]


def _show_end(axes: Any, arms: dict[str, dict[str, Any]]) -> None:
    """Leaves out the fall of the first steps, next to which the arms are one line."""
    values = [
        loss for found in arms.values() for run in found["runs"].values() if "loss" in run for _, loss in run["curve"]
    ]
    ends = [run["loss"] for found in arms.values() for run in found["runs"].values() if "loss" in run]
    if ends:
        axes.set_ylim(min(ends) * 0.98, min(max(values), max(ends) * 1.6))


def _svg(figure: Figure) -> str:
    """A figure as an element of HTML."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
