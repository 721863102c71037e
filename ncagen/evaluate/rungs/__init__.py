"""The predictors of the ladder, weakest first; docs/evaluate.md defines each of them.

A predictor sees the grids before the one it predicts, and nothing else of the row. Not covered: the oracle, which
knows the rule (`ncagen.evaluate.oracle`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ncagen.evaluate.rungs import counts, fitted, lookup
from ncagen.evaluate.rungs.scores import Scores

Done = Callable[[int], object]
"""Takes the number of rows that were predicted since the last call."""


class Predictor(NamedTuple):
    """name: of the rung. predict: computes its scores. needs_cells: whether rows must be grids. slow: whether it takes
    more than some hundredths of a second a row."""

    name: str
    predict: Callable[[Any, Done], Scores]  # of a GridSample if it needs cells, of any Sample if not
    needs_cells: bool = False
    slow: bool = False


PREDICTORS = (
    Predictor("uniform", counts.uniform),
    Predictor("unigram", counts.unigram),
    Predictor("cell histogram", counts.cell_histogram, needs_cells=True),
    Predictor("patch histogram", counts.patch_histogram),
    Predictor("copy", counts.copy),
    Predictor("lookup", lookup.lookup, needs_cells=True),
    Predictor("linear", fitted.linear, needs_cells=True, slow=True),
    Predictor("architecture", fitted.architecture, needs_cells=True, slow=True),
)
