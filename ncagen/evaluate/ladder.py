"""The ladder: the losses and accuracies of predictors, from the weakest to one that knows the rule, as plain values.

A loss is in nats a patch. `grid` counts the grids of a row; nothing predicts the first, whose values are nan. Not
covered: how a predictor is computed (`ncagen.evaluate.rungs`), and the table for people (`ncagen.evaluate.report`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ncagen.errors import NcagenError

DIGITS = 6  # of the numbers in JSON: the last bits of a logarithm differ between machines


@dataclass(frozen=True, eq=False)
class Rung:
    """One predictor's figures over the rows of a sample.

    nats: float64[grid], the mean loss of a patch. accuracy: float64[grid], the share of patches whose most likely value
    is right. stderr: float64[grid], the standard error of `nats` over rows. mean_stderr: that of `mean`. patches: of a
    grid. delimiters: tokens of a grid that every predictor knows, so their loss is 0.
    """

    name: str
    nats: np.ndarray
    accuracy: np.ndarray
    stderr: np.ndarray
    mean_stderr: float
    patches: int
    delimiters: int = 2

    @property
    def mean(self) -> float:
        """Nats a patch, mean over the second to the last grid."""
        return float(self.nats[1:].mean())

    @property
    def mean_accuracy(self) -> float:
        """Share of patches that are right, over the second to the last grid."""
        return float(self.accuracy[1:].mean())

    @property
    def last(self) -> float:
        """Nats a patch in the last grid."""
        return float(self.nats[-1])

    @property
    def trainer_mean(self) -> float:
        """Nats a token as a trainer sees it that counts delimiters: they are free for every rung."""
        return self.mean * self.patches / (self.patches + self.delimiters)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; nan becomes None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: _plain(value) for name, value in values.items() if isinstance(value, np.ndarray)}
        return values | arrays | {"mean_stderr": round(float(self.mean_stderr), DIGITS)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Rung":
        """The rung that `to_dict` wrote. Raises NcagenError."""
        try:
            arrays = {name: np.array(values[name], np.float64) for name in ("nats", "accuracy", "stderr")}
            rung = cls(**{**values, **arrays})
        except (TypeError, KeyError, ValueError) as error:
            raise NcagenError(f"a rung is incomplete: {error}") from None
        if len({(array.ndim, array.size) for array in arrays.values()}) > 1 or rung.nats.ndim != 1:
            raise NcagenError("a rung is incomplete: its arrays have different lengths")
        return rung


@dataclass(frozen=True, eq=False)
class Ladder:
    """The rungs of one sample of rows.

    rows: how many. seed: that the sample was drawn with. dataset_sha256, band, split: where they are from.
    """

    rungs: tuple[Rung, ...]
    rows: int
    seed: int
    dataset_sha256: str
    band: str
    split: str

    def __getitem__(self, name: str) -> Rung:
        """The rung of a name. Raises KeyError."""
        for rung in self.rungs:
            if rung.name == name:
                return rung
        raise KeyError(name)

    def reached(self, nats: float) -> Rung | None:
        """The best rung that a mean loss reaches, within one standard error; None if it is worse than all.

        A rung may be worse than guessing, such as a copy of the last grid where grids have a random order: it is never
        reached. nats: a patch, mean over the second to the last grid, as `Rung.mean`.
        """
        guessing = next((rung.mean for rung in self.rungs if rung.name == "uniform"), math.inf)
        below = [rung for rung in self.rungs if nats <= rung.mean + rung.mean_stderr and rung.mean <= guessing]
        return min(below, key=lambda rung: rung.mean, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"rungs": [rung.to_dict() for rung in self.rungs]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Ladder":
        """The ladder that `to_dict` wrote. Raises NcagenError."""
        try:
            return cls(**{**values, "rungs": tuple(Rung.from_dict(rung) for rung in values["rungs"])})
        except (TypeError, KeyError) as error:
            raise NcagenError(f"a ladder is incomplete: {error}") from None

    def to_json(self) -> str:
        """The ladder as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Ladder":
        """The ladder that `to_json` wrote. Raises NcagenError."""
        try:
            return cls.from_dict(json.loads(text))
        except ValueError as error:
            raise NcagenError(f"a ladder is no JSON: {error}") from None


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers with DIGITS digits after the point, None for nan."""
    return [None if np.isnan(value) else round(float(value), DIGITS) for value in values]
