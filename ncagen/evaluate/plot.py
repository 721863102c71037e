"""Draws the loss by grid of models and of the ladder's rungs. Needs matplotlib, from the extra `plot`."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ncagen.errors import NcagenError
from ncagen.evaluate.ladder import Ladder, Rung
from ncagen.hints import needed_by

ENDINGS = (".png", ".svg", ".pdf")
GREY = "#999999"
SPACING = 0.04  # between two names, as a share of the highest loss


def check_name(path: Path) -> None:
    """Raises NcagenError for a file that no plot can be, and where matplotlib is missing."""
    if path.suffix.lower() not in ENDINGS:
        raise NcagenError(f"{path} is no picture: use a name that ends in {', '.join(ENDINGS)}")
    with needed_by("a plot"):
        import matplotlib  # noqa: F401


def plot(path: Path, ladder: Ladder | None, models: Sequence[Rung]) -> None:
    """Writes a picture: nats a patch by grid, the rungs in grey with their names, the models in colour with errors.

    path: ends in .png, .svg or .pdf. Raises NcagenError, OSError.
    """
    check_name(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    rungs = ladder.rungs if ladder else ()
    for rung in rungs:
        axes.plot(*_points(rung), color=GREY, linewidth=1)
    for rung, height in zip(rungs, _apart([rung.last for rung in rungs]), strict=True):
        axes.annotate(rung.name, (len(rung.nats) + 0.3, height), va="center", size=8, annotation_clip=False)
    for rung in models:
        grids, nats = _points(rung)
        axes.errorbar(grids, nats, np.nan_to_num(rung.stderr[1:]), label=rung.name, linewidth=2)
    axes.set_xlabel("grid")
    axes.set_ylabel("loss, nats a patch")
    axes.set_ylim(bottom=0)
    if models:
        axes.legend(loc="best", frameon=False)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same figures give the same file
    figure.savefig(path, dpi=150, metadata=metadata.get(path.suffix.lower()))


def _apart(heights: list[float]) -> list[float]:
    """Heights of names that do not cover each other, in the order of the losses, as near to them as possible."""
    found, least = [0.0] * len(heights), -math.inf
    for number in sorted(range(len(heights)), key=lambda number: heights[number]):
        found[number] = max(heights[number], least)
        least = found[number] + SPACING * max(heights)
    return found


def _points(rung: Rung) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of grids from the second on, and the loss of each."""
    return np.arange(2, len(rung.nats) + 1), rung.nats[1:]
