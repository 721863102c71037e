"""Runs a user's training loop with oracle models that know different things, and reads the loss and accuracy.

Not covered: what the results mean; see `check_training`.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ncagen.errors import NcagenError
from ncagen.evaluate.find_rows import RowFinder
from ncagen.evaluate.next_ids import SURE, Plan, Seen
from ncagen.evaluate.oracle_model import make
from ncagen.numbers import shown

Loop = Callable[[Any], Any]
"""Takes a model; returns a loss, (loss, accuracy), or a dict in which a name ends in loss and one in accuracy."""

NEAR_ZERO = 1e-3  # nats; a right loop is below


class Result(NamedTuple):
    """What a loop made of a model. loss: nats a token. accuracy: None where the loop gives none."""

    loss: float
    accuracy: float | None


class LoopFailed(Exception):
    """The user's loop raised an error, which is the cause. seen: what the model was given before."""

    def __init__(self, error: Exception, seen: Seen):
        super().__init__(f"{type(error).__name__}: {error}")
        self.error, self.seen = error, seen


class Trials:
    """One loop and models of different plans: `tried` has the result of each, `seen` what the last was given."""

    def __init__(self, loop: Loop, finder: RowFinder, kind: str, vocab_size: int):
        self.loop, self.finder, self.kind, self.vocab_size = loop, finder, kind, vocab_size
        self.seen = Seen()
        self.tried: dict[Plan, tuple[Result, Seen]] = {}

    def run(self, plan: Plan) -> Result:
        """The loop's result with an oracle of a plan. Raises LoopFailed, NcagenError."""
        if plan in self.tried:
            result, self.seen = self.tried[plan]
            return result
        model = make(self.finder, self.kind, self.vocab_size, plan)
        try:
            with _same_random_numbers(self.kind):
                returned = self.loop(model)
        except NcagenError:
            raise
        except Exception as error:
            raise LoopFailed(error, model.seen) from error
        self.seen = model.seen
        if not self.seen.calls:
            raise NcagenError("the loop did not call the model that it was given: use its argument as the model")
        result = read_result(returned)
        self.tried[plan] = result, self.seen
        return result

    def enlarge(self, vocab_size: int) -> None:
        """Has the models of further runs so many ids, and forgets what others gave."""
        self.vocab_size = vocab_size
        self.tried.clear()

    def share(self, plan: Plan, name: str) -> Result:
        """How much of the loss, 0 to 1, and of the accuracy a kind of positions has, where the plan is right there."""
        right, wrong = self.run(plan), self.run(replace(plan, wrong=plan.wrong | {name}))
        fallen = None if right.accuracy is None or wrong.accuracy is None else right.accuracy - wrong.accuracy
        return Result((wrong.loss - right.loss) / SURE, fallen)

    def without(self, plan: Plan, names: frozenset[str]) -> tuple[float, float]:
        """The share of the loss that some kinds of positions have, whatever their labels are, and the loss of the rest.

        With all ids equally likely there, each costs ln(ids), with a wrong id SURE: two runs give both numbers.
        """
        uniform = self.run(replace(plan, uniform=plan.uniform | names)).loss
        wrong = self.run(replace(plan, wrong=plan.wrong | names)).loss
        share = (wrong - uniform) / (SURE - math.log(self.vocab_size))
        return share, uniform - share * math.log(self.vocab_size)


def read_result(returned: Any) -> Result:
    """What a loop returned, as numbers. Raises NcagenError."""
    if isinstance(returned, Mapping):
        loss, accuracy = _named(returned, "loss"), _named(returned, "accuracy")
    elif isinstance(returned, tuple | list) and len(returned) == 2:
        loss, accuracy = returned
    else:
        loss, accuracy = returned, None
    return Result(_number("loss", loss), None if accuracy is None else _number("accuracy", accuracy))


def _named(values: Mapping, ending: str) -> Any:
    return next((value for name, value in values.items() if str(name).endswith(ending)), None)


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        raise NcagenError(
            f"the loop returned the {name} {shown(value)}: return a loss, (loss, accuracy), or a dict with both"
        ) from None


@contextmanager
def _same_random_numbers(kind: str) -> Iterator[None]:
    """Has a loop that shuffles draw the same batches in each run; the caller's generators are as before afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        if kind == "numpy":
            yield
        else:
            import torch

            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
