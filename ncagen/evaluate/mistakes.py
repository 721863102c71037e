"""The mistakes of a training loop by name, the result of a check, and what a loop's own errors say of its sizes.

Not covered: how a mistake is found (`check_training`).
"""

import math
import re
from dataclasses import dataclass

from ncagen.evaluate.trials import LoopFailed

TWICE = "labels shifted twice"
NOT_SHIFTED = "labels not shifted"
OTHER_SHIFT = "labels at another offset"
MASK = "mask off by a grid"
MASK_TOKEN = "mask off by a token"
OFFSET = "ids offset"
VOCABULARY = "vocabulary too small"
METRIC = "metric at another offset"
PADDING = "padding counted"
LEAK = "packed rows leaking"
IGNORED = "ignored labels counted"
WRAPPED = "labels wrapped around"
CUT = "windows begin within rows"
OTHER_ROWS = "other rows"
FAILED = "the loop failed"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Mistake:
    """A mistake of a training loop. name: one of the constants of this module. text: what was seen and what to do."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True)
class TrainingCheck:
    """The result. loss: of the oracle, nats a token; nan where the loop raised. accuracy: None if the loop has none."""

    loss: float
    accuracy: float | None
    mistakes: tuple[Mistake, ...]
    rows: int
    runs: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.mistakes

    def __str__(self) -> str:
        right = "" if self.accuracy is None else f", an accuracy of {self.accuracy:.4f}"
        head = f"a model that knows every next token has a loss of {self.loss:.4f}{right} ({self.rows:,} rows)"
        if math.isnan(self.loss):
            head = "it gives no loss for a model that knows every next token"
        if self.ok:
            return f"the training loop is right: {head}"
        return "\n".join([f"the training loop is wrong: {head}", *(f"  {mistake}" for mistake in self.mistakes)])

    def to_dict(self) -> dict:
        """Plain values."""
        mistakes = [{"name": mistake.name, "text": mistake.text} for mistake in self.mistakes]
        loss = None if math.isnan(self.loss) else self.loss
        return {"ok": self.ok, "loss": loss, "accuracy": self.accuracy, "mistakes": mistakes, "rows": self.rows}


def ids_wanted(failed: LoopFailed, ids: int) -> int | None:
    """The vocabulary that a loop gives `view` or `reshape`, by the message of the error. ids: those of the model."""
    text = str(failed)
    if found := re.search(r"shape '?\[-1, (\d+)\]'?|into shape \((?:-1,)?(\d+)\)", text):
        return int(next(filter(None, found.groups())))
    if found := re.search(r"input batch_size \((\d+)\) to match target batch_size \((\d+)\)", text):
        given, labels = map(int, found.groups())
        return None if labels * ids % given else labels * ids // given
    return None


def out_of_bounds(failed: LoopFailed) -> int | None:
    """The label that a loss found outside the ids, by the message of torch or NumPy."""
    found = re.search(r"(?:Target|index) (-?\d+) is out of bounds", str(failed))
    return int(found.group(1)) if found else None
