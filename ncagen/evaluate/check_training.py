"""Checks a training loop before any training: an oracle model must have a loss of 0 and an accuracy of 1 in it.

    def loop(model):                                   # your loader, collator, loss and metric; one batch is enough
        batch = next(iter(loader))
        return my_loss(model, batch), my_accuracy(model, batch)

    print(check_training(loop, ncagen.open("data/nca-high")))

Where the loss is not 0, models that know something else on purpose (the token after next, the token itself, other ids)
are run through the loop until one explains it, and others that are wrong in some positions measure which positions
count. Label smoothing and auxiliary losses have to be switched off. Not covered: optimizers, learning rates, and
models whose own attention is wrong.
"""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ncagen.dataset.reader import Dataset
from ncagen.evaluate.find_rows import RowFinder
from ncagen.evaluate.mistakes import (
    CUT,
    FAILED,
    IGNORED,
    LEAK,
    MASK,
    MASK_TOKEN,
    METRIC,
    NOT_SHIFTED,
    OFFSET,
    OTHER_ROWS,
    OTHER_SHIFT,
    PADDING,
    TWICE,
    UNKNOWN,
    VOCABULARY,
    WRAPPED,
    Mistake,
    TrainingCheck,
    ids_wanted,
    out_of_bounds,
)
from ncagen.evaluate.next_ids import STEP, Plan
from ncagen.evaluate.trials import NEAR_ZERO, Loop, LoopFailed, Result, Trials
from ncagen.numbers import whole

SHIFTS = (1, 2, 0, 3, -1)
COUNTS = 1e-6  # a share of the loss or accuracy above this is one
ALMOST_IGNORED = 2**16 - 100  # -100 that was put among uint16 tokens
# Kinds of positions that are to have no loss, or the row's next token.
FOREIGN = ("padding", "row ends", "unknown", "masked", "last")


def check_training(
    loop: Loop,
    data: Dataset,
    *,
    kind: str = "huggingface",
    vocab_size: int | None = None,
    token_offset: int = 0,
    mask_first: int | None = None,
) -> TrainingCheck:
    """Runs a training loop with models that know every next token, and names its mistakes.

    loop: takes a model, gives it at least a batch, and returns the loss in nats a token, (loss, accuracy), or a dict
    with both. It is called about ten times, up to 40 where something is wrong, and must use the same batches each time;
    random generators of Python, NumPy and torch are set for it. data: the dataset whose rows it reads. kind: how it
    calls the model, see `oracle_model`. vocab_size: ids that your model has, the least that is needed if left out.
    token_offset, mask_first: what was given to `Layout`. Raises NcagenError for a loop that does not use the model or
    returns something else; what the loop itself raises is a mistake in the result.
    """
    finder, offset = RowFinder(data), whole("token_offset", token_offset, 0)
    vocabulary = data.row_format.vocabulary + offset
    size = vocabulary if vocab_size is None else whole("vocab_size", vocab_size, 1)
    first = data.row_format.unpredictable if mask_first is None else whole("mask_first", mask_first, 0)
    trials = Trials(loop, finder, kind, max(size, vocabulary))
    return _Check(trials, Plan(mask_first=first), offset, size).run()


class _Check:
    """One check: the trials, and the mistakes found so far."""

    def __init__(self, trials: Trials, plan: Plan, offset: int, size: int):
        self.trials, self.plan, self.offset, self.size = trials, plan, offset, size
        self.row_format = trials.finder.row_format
        self.needed = self.row_format.vocabulary + offset
        self.mistakes: list[Mistake] = []

    def _has(self, name: str) -> bool:
        return name in [mistake.name for mistake in self.mistakes]

    def run(self) -> TrainingCheck:
        if self.size < self.needed:
            self._add(VOCABULARY, f"the model has {self.size:,} ids and the rows need {self.needed:,}")
        try:
            base = self._base()
            if self._inputs():
                self._outputs(base)
        except LoopFailed as failed:
            base = Result(math.nan, None)
            self._failed(failed)
        rows, runs = self.trials.seen.rows, len(self.trials.tried)
        return TrainingCheck(base.loss, base.accuracy, tuple(self.mistakes), rows, runs)

    def _add(self, name: str, text: str) -> None:
        if (mistake := Mistake(name, text)) not in self.mistakes:
            self.mistakes.append(mistake)

    def _base(self) -> Result:
        """The result of the model that knows the next token; with more ids where the loop or its inputs have more."""
        try:
            found = self.trials.run(self.plan)
        except LoopFailed as failed:
            found = self._with_more_ids(failed)
        if math.isnan(found.loss):  # what JAX gives for a label outside the ids
            with suppress(LoopFailed):
                found = self._with_more_ids(LoopFailed(ValueError("the loss is NaN"), self.trials.seen))
        if self.trials.seen.largest >= self.trials.vocab_size:
            with suppress(LoopFailed):
                self.trials.enlarge(self.trials.seen.largest + self.needed)
                return self.trials.run(self.plan)
            self.trials.enlarge(self.needed)
        return found

    def _with_more_ids(self, failed: LoopFailed) -> Result:
        """The same after an error, with the number of ids that its message asks for, or else more than are needed."""
        wanted, target = ids_wanted(failed, self.trials.vocab_size), out_of_bounds(failed)
        if target is not None and (target < 0 or target == ALMOST_IGNORED):
            raise failed
        if wanted is not None and wanted < self.needed:
            raise failed
        before = self.trials.vocab_size
        self.trials.enlarge(wanted or max(self.needed, failed.seen.largest, target or 0) + self.needed)
        try:
            found = self.trials.run(self.plan)
        except LoopFailed:
            self.trials.enlarge(before)
            raise failed from None
        if found.loss < NEAR_ZERO and wanted is None and self.trials.seen.offsets == {self.offset}:
            self._add(VOCABULARY, f"with {self.needed:,} ids the loop fails ({failed}), with more it does not")
        return found

    def _failed(self, failed: LoopFailed) -> None:
        wanted, target = ids_wanted(failed, self.trials.vocab_size), out_of_bounds(failed)
        if target is not None and (target < 0 or target == ALMOST_IGNORED):
            why = f"; {ALMOST_IGNORED} is -100 in uint16" if target == ALMOST_IGNORED else ""
            self._add(IGNORED, f"the loss takes the label {target} for an id: use its ignore_index{why}")
        elif target is not None or (wanted is not None and wanted < self.needed):
            self._add(VOCABULARY, f"the rows need {self.needed:,} ids, and the loop raises {failed}")
        else:
            sizes = re.search("shape|size|dimension", str(failed))
            self._add(FAILED, f"it raises {failed}{'; if your model has N ids, check with vocab_size=N' * bool(sizes)}")

    def _inputs(self) -> bool:
        """What the ids that the model was given show. Returns whether they hold rows of the dataset."""
        seen = self.trials.seen
        if not seen.rows:
            self._add(
                OTHER_ROWS,
                f"the sequences hold no row of {self.trials.finder.data}: the first begins"
                f" {', '.join(map(str, seen.first_ids))}; check with the split and band that the loop reads",
            )
            return False
        if seen.offsets != {self.offset}:
            found = ", ".join(f"{offset:+,}" for offset in sorted(seen.offsets))
            meant = "if that is meant, check with token_offset"
            self._add(OFFSET, f"the input ids are the dataset's {found}, not {self.offset:+,}; {meant}")
        if seen.cut * 2 > seen.sequences:
            self._add(
                CUT,
                f"{seen.cut:,} of {seen.sequences:,} sequences do not begin with a row: cut at multiples of"
                f" {self.row_format.row_tokens:,} tokens",
            )
        if seen.attends:
            self._add(
                LEAK,
                "nothing that the model is given keeps it from attending to the row before: see packed rows in"
                " docs/reading.md",
            )
            self.plan = replace(self.plan, attends=False)
        return True

    def _outputs(self, base: Result) -> None:
        """What the losses and accuracies of models that know different things show."""
        if math.isnan(base.loss):
            self._add(UNKNOWN, "the loss is NaN: a label, such as -100, may be outside the ids of the logits")
            return
        explained = next(self._explanations(), None)
        if explained is None:
            tried = ", ".join(
                f"t{shift:+} {self.trials.run(replace(self.plan, shift=shift)).loss:.3f}" for shift in SHIFTS
            )
            self._add(UNKNOWN, f"switch label smoothing and other losses off; models that know a token have: {tried}")
        else:
            self._masks(explained)
        if base.accuracy is not None:
            self._metric(explained or self.plan, explained is not None)

    def _explanations(self) -> Iterator[Plan]:
        """Plans with a loss of 0 in the loop; the mistake that one shows is added before it is yielded."""
        if abs(self.trials.run(self.plan).loss) < NEAR_ZERO:
            yield self.plan
            return
        losses = {shift: abs(self.trials.run(replace(self.plan, shift=shift)).loss) for shift in SHIFTS}
        for shift in sorted(SHIFTS, key=lambda shift: losses[shift])[:2]:
            plan = replace(self.plan, shift=shift)
            if losses[shift] < NEAR_ZERO or self._foreign(plan):
                self._shifted(shift)
                yield plan
        for shift in SHIFTS:
            plan = replace(self.plan, shift=shift)
            add = self._measured(plan)
            if add and abs(self.trials.run(replace(plan, add=add)).loss) < NEAR_ZERO:
                self._shifted(shift)
                self._add(OFFSET, f"the labels are the ids of the inputs {add:+,}")
                yield replace(plan, add=add)
        for most in sorted({min(self.row_format.structural, default=2) - 1, self.row_format.vocabulary - 2}):
            for above in ("clip", "wrap"):
                plan = replace(self.plan, most=most, above=above)
                if abs(self.trials.run(plan).loss) < NEAR_ZERO:
                    changed = f"become {most}" if above == "clip" else f"are taken modulo {most + 1}"
                    self._add(VOCABULARY, f"labels above {most:,} {changed}; the rows need {self.needed:,} ids")
                    yield plan

    def _shifted(self, shift: int) -> None:
        """Adds the mistake of labels that are another token than the next."""
        compared = f"the logits after token t are compared with token t{shift:+}, not t+1"
        if shift == 2:
            self._add(TWICE, f"{compared}: give labels unshifted to a model that shifts them (Layout(labels='same'))")
        elif shift == 0:
            self._add(NOT_SHIFTED, "the logits after token t are compared with token t, not t+1: use labels[1:]")
        elif shift != 1:
            self._add(OTHER_SHIFT, compared)

    def _foreign(self, plan: Plan) -> bool:
        """Whether the plan has a loss of 0 but for positions that are to have none; adds these mistakes."""
        self.trials.run(plan)
        names = frozenset(FOREIGN) & self.trials.seen.kinds
        share, rest = self.trials.without(plan, names)
        if share < COUNTS or abs(rest) > NEAR_ZERO:
            return False
        for name in filter(names.__contains__, FOREIGN):
            part = self.trials.without(plan, frozenset({name}))[0]
            right = 0.0 if name in ("padding", "unknown") else self.trials.share(plan, name).loss
            if part > COUNTS and right < part / 2:
                self._add_foreign(name, part)
        return True

    def _add_foreign(self, name: str, part: float) -> None:
        """Adds the mistake of a kind of positions with labels that are not the row's. part: its share of the loss."""
        first = self.plan.mask_first
        if name == "padding":
            self._add(PADDING, f"padding is {part:.1%} of the loss: give it the label -100")
        elif name == "masked":
            cause = "labels such as -100 are taken for ids"
            self._add(
                IGNORED, f"the first {first} tokens of a row are {part:.1%} of the loss, with wrong labels: {cause}"
            )
        elif name == "last":
            cause = "np.roll puts the first token there"
            self._add(WRAPPED, f"the label of a sequence's last position is not the token after it: {cause}")
        elif not self._has(CUT):  # the last token of a window within a row is not known
            self._add(LEAK, f"labels of a row's end are another row's tokens, {part:.2%} of the loss: mask them")

    def _measured(self, plan: Plan) -> int:
        """What is added to each label, if it is one number: 0 if none is found."""
        ids = self.trials.vocab_size
        least = math.log(sum(math.exp(-STEP * i) for i in range(ids)))
        add = (self.trials.run(replace(plan, measures=True)).loss - least) / STEP
        if not math.isfinite(add) or abs(add - round(add)) > 0.2:
            return 0
        return round(add) if add <= ids / 2 else round(add) - ids

    def _masks(self, plan: Plan) -> None:
        """Which of the first tokens count in the loss, and in the accuracy."""
        first, grid = plan.mask_first, self.row_format.unpredictable
        masked, advice = self._share(plan, "masked"), "mask them, or check with mask_first=0 if that is meant"
        if masked.loss > COUNTS and self._share(plan, "masked but the last").loss > COUNTS:
            self._add(MASK, f"the first {first} tokens of a row are {masked.loss:.1%} of the loss: {advice}")
        elif masked.loss > COUNTS:
            self._add(MASK_TOKEN, f"token {first - 1} of a row counts, and the first {first} are to have no loss")
        elif grid and self._lacks(plan, "first counted grid"):
            self._add(MASK, f"tokens {first} to {first + grid - 1} of a row have no loss: mask the first {first} alone")
        elif self._lacks(plan, "first counted") and self._share(plan, "structural").loss > COUNTS:
            self._add(MASK_TOKEN, f"token {max(1, first)} of a row has no loss: mask the first {first} alone")

    def _lacks(self, plan: Plan, name: str) -> bool:
        """Whether there are positions of a kind and none of them counts in the loss."""
        self.trials.run(plan)
        return name in self.trials.seen.kinds and self._share(plan, name).loss < COUNTS

    def _share(self, plan: Plan, name: str) -> Result:
        """The part of a kind of positions; 0 where there is none."""
        self.trials.run(plan)
        return self.trials.share(plan, name) if name in self.trials.seen.kinds else Result(0.0, None)

    def _metric(self, plan: Plan, explained: bool) -> None:
        """Where the metric reads, against where the loss does."""
        shifts = (plan.shift,) if explained and self.trials.run(plan).accuracy == 1 else SHIFTS
        accuracies = {shift: self.trials.run(replace(plan, shift=shift)).accuracy or 0.0 for shift in shifts}
        best = max(shifts, key=lambda shift: accuracies[shift])
        if best != (plan.shift if explained else 1) and accuracies[best] > accuracies.get(plan.shift, 0) + COUNTS:
            trained = f"; the loss trains t{plan.shift:+}" if explained else ""
            self._add(METRIC, f"it compares the logits after token t with token t{best:+}{trained}")
        found = replace(plan, shift=best)
        if accuracies[best] >= 1 - COUNTS:
            if not (self._has(MASK) or self._has(MASK_TOKEN)) and (self._share(found, "masked").accuracy or 0) > COUNTS:
                self._add(MASK, f"the metric counts the first {plan.mask_first} tokens of a row, the loss does not")
            return
        self._incomplete_metric(found, accuracies[best])

    def _incomplete_metric(self, plan: Plan, accuracy: float) -> None:
        """Why a metric is below 1 although every counted token is right."""
        if "unknown" in self.trials.seen.kinds and self.mistakes:  # the metric may count what no model can know
            return
        for name, mistake in (("padding", PADDING), ("row ends", LEAK)):
            if (self.trials.run(replace(plan, sequence=frozenset({name}))).accuracy or 0) >= 1 - COUNTS:
                self._add(mistake, f"the metric counts {name}: leave out what has no label")
                return
        if accuracy > 0.5 and (self._share(plan, "masked").accuracy or 0) < COUNTS:
            self._add(
                IGNORED,
                f"the metric is {accuracy:.4f} with every token right: it counts labels without a loss as wrong",
            )
        elif not self.mistakes:
            self._add(UNKNOWN, f"the metric is {accuracy:.4f} with every token right")
