"""What a model could know of rows by the cheap rungs of the ladder: histogram, copy, lookup.

Not covered: verdicts (`checks`), and the rungs that are fitted, which `ncagen evaluate` computes for a dataset.
"""

import numpy as np

from ncagen.audit.shape import Shape
from ncagen.evaluate.compute import rung
from ncagen.evaluate.ladder import Rung
from ncagen.evaluate.rungs import PREDICTORS
from ncagen.evaluate.sample import GridSample, Sample, cut, frequencies

ROWS = 100
GRID_RUNGS = ("cell histogram", "copy", "lookup")
TOKEN_RUNGS = ("unigram", "patch histogram", "copy")


def of_grids(shape: Shape, patches: np.ndarray) -> list[Rung]:
    """GRID_RUNGS of some of the rows. patches: integers [row, frame, patch]."""
    some = _some(patches)
    corpus = frequencies(some, some[:0])
    delimiters = shape.tokens_per_grid - shape.patches
    sample = GridSample(shape.patch_ids, some, delimiters, corpus, 0, shape, shape.grids_of(some))
    return _rungs(sample, GRID_RUNGS)


def of_tokens(vocabulary: int, tokens: np.ndarray) -> list[Rung]:
    """TOKEN_RUNGS of some of the rows. tokens: integers [row, token]."""
    some = cut(_some(tokens))
    return _rungs(Sample(vocabulary, some, 0, frequencies(some, some[:0]), 0), TOKEN_RUNGS)


def numbers(rungs: list[Rung]) -> dict:
    """Plain values for JSON, by rung: mean loss in nats, that of the last grid, share of right patches."""
    return {r.name: {"nats": r.mean, "last": r.last, "accuracy": r.mean_accuracy} for r in rungs}


def text(rungs: list[Rung], unit: str) -> str:
    """The rungs in one line. unit: what is predicted."""
    return f"nats a {unit}: " + ", ".join(f"{r.name} {r.mean:.2f} ({r.mean_accuracy:.0%} right)" for r in rungs)


def _some(rows: np.ndarray) -> np.ndarray:
    """At most ROWS evenly spaced rows, as int64."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS)).astype(np.int64)].astype(np.int64)


def _rungs(sample: Sample, names: tuple[str, ...]) -> list[Rung]:
    return [rung(sample, predictor) for predictor in PREDICTORS if predictor.name in names]
