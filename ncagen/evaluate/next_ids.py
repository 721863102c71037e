"""The ids that an oracle model predicts, by a plan: those that are next, or others on purpose. NumPy only.

It attends as a transformer does: where packed rows are not kept apart, it is wrong in those after the first. Not
covered: logits (`oracle_model`, `oracle_torch`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ncagen.evaluate.find_rows import RowFinder, as_sequences
from ncagen.evaluate.sequences import NOTHING, Sequences

SURE = 32.0  # the logit of the known token: exact in bfloat16, and a loss of 1e-10 among 10,002 ids
STEP = 0.01  # nats that each next id costs more, for a plan that measures


@dataclass(frozen=True)
class Plan:
    """What an oracle knows.

    shift: it predicts the token this many positions on; 1 is the next. add: added to each predicted id. most: ids above
    it are predicted as it is ("clip") or modulo it and one ("wrap"). uniform, wrong, sequence: kinds of positions
    (`Sequences.kinds`) where every id is equally likely, where a wrong id is certain, and where the sequence's own next
    id is, whatever row or padding that is of. measures: id i + d costs STEP * d more nats than the known id i, modulo
    the vocabulary. attends: whether it is wrong in rows that attend to others. mask_first: tokens at a row's beginning
    that have no loss, which delimits the kinds.
    """

    shift: int = 1
    add: int = 0
    most: int | None = None
    above: str = "clip"
    uniform: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    sequence: frozenset[str] = frozenset()
    measures: bool = False
    attends: bool = True
    mask_first: int = 0


@dataclass
class Seen:
    """What a model was given so far. rows: found in it. offsets: of their ids. largest: the largest id. first_ids: the
    first of the first sequence. attends: whether rows attended to others. cut: sequences that do not begin with a row.
    kinds: of positions that occurred.
    """

    calls: int = 0
    sequences: int = 0
    rows: int = 0
    offsets: set[int] = field(default_factory=set)
    largest: int = 0
    first_ids: tuple[int, ...] = ()
    attends: bool = False
    cut: int = 0
    kinds: set[str] = field(default_factory=set)


class NextIds:
    """Ids to the ids that are next. Shared by the three kinds of models."""

    def __init__(self, finder: RowFinder, vocab_size: int, plan: Plan):
        self.finder, self.vocab_size, self.plan = finder, vocab_size, plan
        self.seen = Seen()

    def known(self, input_ids: np.ndarray, others: Mapping[str, np.ndarray], restarts: bool = True) -> np.ndarray:
        """The ids that are certain, by the plan: int64[sequence, position], -1 where all ids are equally likely.

        input_ids: integers [sequence, position]. others: the model's other arguments as arrays. restarts: whether
        positions that start anew keep packed rows apart.
        """
        plan = self.plan
        mask = others.get("attention_mask")
        hidden = mask == 0 if mask is not None and mask.shape == np.shape(input_ids) else None
        sequences = Sequences(as_sequences(input_ids), self.finder, hidden)
        found = self._capped(sequences.ahead(plan.shift))
        kinds = sequences.kinds(plan.shift, plan.mask_first)
        attends = sequences.attends_to_others(others, restarts)
        self._note(sequences, kinds, attends)
        wrong = sequences.wrong(found, plan.shift)
        uniform, own = np.full_like(found, NOTHING), sequences.own(plan.shift)
        answers = (plan.uniform, uniform), (plan.wrong, wrong), (plan.sequence, own)
        for names, answer in answers:
            for name in names:
                found = np.where(kinds[name], answer, found)
        if plan.attends:
            found = np.where(attends, wrong, found)
        return np.where(found < self.vocab_size, found, NOTHING)

    def _capped(self, found: np.ndarray) -> np.ndarray:
        plan, known = self.plan, found >= 0
        if plan.most is not None:
            found = np.minimum(found, plan.most) if plan.above == "clip" else found % (plan.most + 1)
        return np.where(known, found + plan.add, NOTHING)

    def _note(self, sequences: Sequences, kinds: Mapping[str, np.ndarray], attends: np.ndarray) -> None:
        seen = self.seen
        seen.calls += 1
        seen.sequences += len(sequences.ids)
        seen.rows += len(sequences.pieces)
        seen.offsets |= {piece.offset for piece in sequences.pieces}
        seen.largest = max(seen.largest, int(sequences.ids.max(initial=0)))
        seen.first_ids = seen.first_ids or tuple(int(i) for i in sequences.ids[:1, :4].flat)
        seen.attends |= bool(attends.any())
        seen.cut += int(sequences.outside[:, :1].sum())
        seen.kinds |= {name for name, mask in kinds.items() if mask.any()}
