"""What a model's losses on a sample of rows say, beside the rungs of the ladder: figures and one sentence.

Not covered: how the losses are computed (`score`, `run_model`), and the table (`report`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ncagen.evaluate.ladder import Ladder, Rung
from ncagen.evaluate.report import words
from ncagen.evaluate.rungs.scores import Scores, rung_of

HISTOGRAMS = ("unigram", "cell histogram", "patch histogram")  # rungs that know no rule
SURE = 2  # standard errors
LEAST = 0.02  # nats: a smaller difference is none
NEAR = 0.05  # nats: a model before its first step is so close to uniform


@dataclass(frozen=True, eq=False)
class RowScores:
    """Figures of single rows. nats, accuracy: float64[row, grid], means over a grid's patches, nan for the first grid
    and for grids of which a model sees no patch. tokens: float64[row], the mean loss of all tokens after the first
    grid, delimiters too.
    """

    nats: np.ndarray
    accuracy: np.ndarray
    tokens: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence["RowScores"]) -> "RowScores":
        """The rows of several, in order; at least one."""
        arrays = ([getattr(part, name) for part in parts] for name in ("nats", "accuracy", "tokens"))
        return cls(*map(np.concatenate, arrays))


@dataclass(frozen=True, eq=False)
class ModelRung(Rung):
    """A model's figures as a rung. tokens: its mean loss of all tokens after the first grid, delimiters too."""

    tokens: float = 0.0

    @property
    def trainer_mean(self) -> float:
        """Nats a token as a trainer sees it: measured, since delimiters are not free for a model."""
        return self.tokens


@dataclass(frozen=True, eq=False)
class ModelScore:
    """A model's score. rung: its figures, as of a predictor of the ladder; nats and accuracy by grid.

    fall: how far the
    loss falls from the second grid to the last, in nats a patch. fall_stderr: the standard error of that over rows.
    rows: how many. ladder: what it is compared with, None if nothing.
    """

    rung: ModelRung
    fall: float
    fall_stderr: float
    rows: int
    ladder: Ladder | None = None

    @property
    def reached(self) -> Rung | None:
        """The last rung that the loss reaches; None if none, or without a ladder."""
        return None if self.ladder is None else self.ladder.reached(self.rung.mean)

    @property
    def missed(self) -> Rung | None:
        """The next rung, which it does not reach; None if there is none."""
        if self.ladder is None:
            return None
        reached = math.inf if self.reached is None else self.reached.mean
        below = [rung for rung in self.ladder.rungs if rung.mean < min(reached, self.rung.mean)]
        return max(below, key=lambda rung: rung.mean, default=None)

    def sentence(self) -> str:
        """What the score means, in plain words."""
        said = f"{self.rung.name} has a loss of {self.rung.mean:.2f} nats a {words(self.rung)[1]}"
        if self.ladder is None:
            return f"{said}, which falls by {self._fall()}."
        if (impossible := self._outside()) is not None:
            return f"{said}{impossible}."
        return f"{said}: it {self._place()}. {self._learned()}"

    def among(self) -> Ladder:
        """The ladder with the model at its place among the rungs, for `report.text`. Raises ValueError without one."""
        if self.ladder is None:
            raise ValueError("this score was made without a ladder")
        place = sum(rung.mean >= self.rung.mean for rung in self.ladder.rungs)
        ordered = sorted(self.ladder.rungs, key=lambda rung: -rung.mean)
        return replace(self.ladder, rungs=(*ordered[:place], self.rung, *ordered[place:]))

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        reached, missed = self.reached, self.missed
        return {
            "model": self.rung.to_dict(),
            "mean": self.rung.mean,
            "accuracy": self.rung.mean_accuracy,
            "tokens": self.rung.tokens,
            "fall": self.fall,
            "fall_stderr": self.fall_stderr,
            "rows": self.rows,
            "reached": None if reached is None else reached.name,
            "missed": None if missed is None else missed.name,
            "sentence": self.sentence(),
        }

    def _outside(self) -> str | None:
        """What a loss says that no model has that learned these rows; None for others."""
        uniform, oracle = self._mean_of("uniform"), self._mean_of("oracle")
        if uniform is not None and self.rung.mean > uniform + NEAR:
            return f", more than the {uniform:.2f} of guessing: it has not learned these ids, or has diverged"
        if uniform is not None and self.rung.mean > uniform - NEAR:
            return f", no less than the {uniform:.2f} of guessing: it has learned nothing of these rows"
        if oracle is not None and self.rung.mean < oracle - max(0.01, SURE * self.rung.mean_stderr):
            return f", less than the {oracle:.4f} of the known rule: it is given the tokens that it predicts"
        return None

    def _place(self) -> str:
        reached, missed = self.reached, self.missed
        below = None if reached is None else f"reaches the rung {reached.name!r} ({reached.mean:.2f})"
        above = None if missed is None else f"not {missed.name!r} ({missed.mean:.2f})"
        return " and ".join(filter(None, (below or "reaches no rung", above)))

    def _learned(self) -> str:
        """What the loss over a row shows, beside the best histogram in the last grid."""
        assert self.ladder is not None
        falls = f"Its loss falls by {self._fall()}"
        ends = [rung.last for rung in self.ladder.rungs if rung.name in HISTOGRAMS]
        if not ends:
            return f"{falls}."
        below = min(ends) - self.rung.last > SURE * self.rung.stderr[-1] + LEAST
        says = "this shows no rules learned"
        if below and self.fall > SURE * self.fall_stderr + LEAST:
            says = "it learns more from a row than its histogram"
        elif below:
            says = "it knows what all rows share, and learns no rules from a row"
        return f"{falls} and ends at {self.rung.last:.2f}, a histogram's at {min(ends):.2f}: {says}."

    def _fall(self) -> str:
        return f"{self.fall:z.2f} ± {self.fall_stderr:.2f} from {words(self.rung)[0]} 2 to {len(self.rung.nats)}"

    def _mean_of(self, name: str) -> float | None:
        assert self.ladder is not None
        return next((rung.mean for rung in self.ladder.rungs if rung.name == name), None)


def of_rows(rows: RowScores, delimiters: int, patches: int, ladder: Ladder | None, name: str) -> ModelScore:
    """The score of a model by that of its rows. delimiters, patches: of a grid."""
    grids = int(np.flatnonzero(~np.isnan(rows.nats).all(axis=0))[-1]) + 1
    nats, accuracy = rows.nats[:, :grids], rows.accuracy[:, :grids]
    falls = nats[:, 1] - nats[:, -1]
    error = float(np.sqrt(np.var(falls) / (len(falls) - 1))) if len(falls) > 1 else 0.0
    rung = rung_of(name, Scores(nats, accuracy), patches, delimiters)
    values = {field.name: getattr(rung, field.name) for field in fields(rung)}
    model = ModelRung(**values, tokens=float(rows.tokens.mean()))
    return ModelScore(model, float(falls.mean()), error, len(nats), ladder)
