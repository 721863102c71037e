"""Computes the oracle loss: the least loss that a model can have on rows of automata if it knows every rule.

It is the bottom rung of the ladder of predictors. docs/evaluate.md has its definition. Not covered: rows of sources
without rules, and predictors that have to find the rule (`ladder`).
"""

from dataclasses import dataclass, fields

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.philox import STREAMS
from ncagen.sources import grid_tokens, source_of
from ncagen.sources.nca.oracle import Known, known_rule
from ncagen.sources.nca.source import Nca

AT_ONCE = 256  # rows that are read together


@dataclass(frozen=True, eq=False)
class Oracle:
    """The oracle's figures of some rows, float64[row, grid] each, in nats a patch; nan for the first grid.

    rows: int64[row], their numbers. nats: the least expected loss, which is the entropy of the next grid given the rule
    and the grid before; a lower bound if `stride` is above 1 (the step before is taken as known). most: an upper bound,
    the entropy of all steps since the grid before; equal to nats if `stride` is 1. realised: the loss
    of what followed, whose mean is the same for many rows; inf for a row that its rule did not make. accuracy: the
    share of patches whose most likely value is right. patches: of a grid.
    """

    rows: np.ndarray
    nats: np.ndarray
    most: np.ndarray
    realised: np.ndarray
    accuracy: np.ndarray
    patches: int

    @property
    def mean(self) -> float:
        """The mean loss of a patch, without the first grids."""
        return float(self.nats[:, 1:].mean())

    @property
    def trainer_mean(self) -> float:
        """The mean loss of a token, without the first grids, where both delimiters of a grid cost nothing."""
        return self.mean * self.patches / (self.patches + 2)


def has_oracle(dataset: Dataset) -> bool:
    """Whether the oracle loss of a dataset's rows can be computed: of neural automata, unless a control has none."""
    source = source_of(dataset.manifest.spec)
    return isinstance(source, Nca) and not source.settings.no_oracle


def oracle(dataset: Dataset, rows: np.ndarray | range | None = None) -> Oracle:
    """Computes the oracle loss of some rows, of all if left out.

    rows: integers [row], numbers of rows. Takes about 3 ms a row of the default settings. Raises NcagenError for rows
    of another source than automata, for a control without an oracle and for no rows, IndexError for a row out of range,
    DamagedShard.
    """
    spec = dataset.manifest.spec
    source = source_of(spec)
    if not isinstance(source, Nca):
        raise NcagenError(f"rows of source {spec.source.name} have no rule and no oracle: use rows of automata (nca)")
    if source.settings.no_oracle:
        raise NcagenError(f"{source.settings.no_oracle}: other predictors need none")
    numbers = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    if not len(numbers):
        raise NcagenError(f"no rows are given: use numbers from 0 to {len(dataset) - 1}")
    key = spec.seed, STREAMS[dataset.split]
    parts = []
    for first in range(0, len(numbers), AT_ONCE):
        read = dataset.rows(numbers[first : first + AT_ONCE], columns=("input_ids", "candidate"))
        grids = grid_tokens.grids(source.settings, read["input_ids"])
        parts.append(known_rule(source.settings, key, read["candidate"], grids))
    figures = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Known)}
    return Oracle(numbers.astype(np.int64), **figures, patches=source.settings.patches)
