"""The cells that torch and torchdata suffice for: a plain loop, and torchdata's StatefulDataLoader."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from reader_matrix import situations
from reader_matrix.ledger import Cell, Ledger
from reader_matrix.oracle import ROWS, Oracle, cut, flat
from reader_matrix.situations import BASIC, LAUNCHED, LAZY, MORE, OWN_STATE, PACKS, RANKS, SPANS, TAKEN, Passes
from reader_matrix.subjects import (
    ALL_WORKERS,
    BatchesSubject,
    GeneratedSubject,
    LoaderSubject,
    PairsSubject,
    RowsSubject,
    StatefulBatchesSubject,
    StatefulGeneratedSubject,
    StatefulRowsSubject,
    StreamSubject,
    Subject,
    Workers,
)

ALONE = [Workers()]
SPAWNED = {"fresh", "resumed in epoch 1", "set_epoch", "loaded into the same reader"}  # others are forkserver's as well

IMPOSSIBLE = {
    ("Stream", "StatefulDataLoader"): "no torch Dataset: Batches is one",
    ("Loader", "StatefulDataLoader"): "a loader itself, with a state of its own",
    ("grain's map", "StatefulDataLoader"): "grain has loaders and states of its own",
}


class Case(NamedTuple):
    """A cell, and what runs it."""

    cell: Cell
    workers: Workers
    run: Callable[[Oracle, Ledger], None]


def cases() -> Iterator[Case]:
    """All of them."""
    ordered = BASIC | MORE
    yield from _exact(StreamSubject, ALONE, ordered | LAZY | OWN_STATE | SPANS | RANKS | PACKS)
    yield from _exact(LoaderSubject, ALL_WORKERS, ordered | LAZY | SPANS | RANKS | LAUNCHED | PACKS)
    yield from _exact(LoaderSubject, [w for w in ALL_WORKERS if not w.persistent], OWN_STATE)
    yield from _exact(PairsSubject, ALL_WORKERS[:3], BASIC, "with_states: ")
    yield from _exact(BatchesSubject, ALL_WORKERS, ordered | SPANS | RANKS | LAUNCHED | PACKS)
    yield from _exact(BatchesSubject, ALONE, LAZY)
    yield from _exact(StatefulBatchesSubject, ALL_WORKERS, ordered)
    yield from _exact(RowsSubject, ALL_WORKERS, {"set_epoch": situations.set_epoch_alone})
    yield from _exact(StatefulRowsSubject, ALL_WORKERS, ROWS_RESUMED)
    yield from _exact(GeneratedSubject, ALONE, {"fresh": generated})
    yield from _exact(StatefulGeneratedSubject, ALONE, {"resumed": generated_resumed})
    yield from _exact(StatefulGeneratedSubject, [w for w in ALL_WORKERS if w.count], {"resumed": generated_by_workers})
    for workers in ALL_WORKERS:
        yield _generated_by_ranks(workers)


def _exact(
    subject: type[Subject], all_workers: list[Workers], named: dict[str, Callable[..., Passes]], prefix: str = ""
) -> Iterator[Case]:
    for workers in all_workers:
        for situation, function in named.items():
            if workers.method == "spawn" and situation not in SPAWNED:
                continue
            cell = Cell(subject.reader, subject.framework, str(workers), prefix + situation)

            def run(oracle, ledger, cell=cell, workers=workers, function=function):
                ledger.same(cell, *function(lambda **options: subject(oracle, workers, **options), oracle))

            yield Case(cell, workers, run)


def rows_resumed(make: situations.Make, oracle: Oracle, epoch: int, taken: int | None) -> Passes:
    """A state of a StatefulDataLoader over Rows, which keeps the position, with set_epoch for the epoch."""
    first, again = make(), make()
    first.set_epoch(epoch)
    first.read(taken)
    again.load(first.state())
    left = [oracle.rest(epoch)[taken:]] if taken else []
    found = []
    for number in range(epoch if taken else epoch + 1, epoch + 3):
        again.set_epoch(number)
        found.append(again.read())
    return found, [*left, *(oracle.rest(number) for number in range(epoch + 1, epoch + 3))]


ROWS_RESUMED: dict[str, Callable[..., Passes]] = {
    "resumed in epoch 0": lambda make, oracle: rows_resumed(make, oracle, 0, TAKEN),
    "resumed at its end": lambda make, oracle: rows_resumed(make, oracle, 0, None),
    "resumed in epoch 1": lambda make, oracle: rows_resumed(make, oracle, 1, TAKEN),
    "set_epoch": situations.set_epoch_alone,
}


def generated(make: situations.Make, oracle: Oracle) -> Passes:
    """A build's rows in its order, in every pass."""
    reader = make()
    return [reader.read() for _ in range(3)], [cut(list(range(ROWS)), reader.batch)] * 3


def generated_resumed(make: situations.Make, oracle: Oracle) -> Passes:
    """A state within a pass, then a whole pass."""
    first, again = make(), make()
    first.read(TAKEN)
    again.load(first.state())
    whole = cut(list(range(ROWS)), first.batch)
    return [again.read(), again.read()], [whole[TAKEN:], whole]


def generated_by_workers(make: situations.Make, oracle: Oracle) -> Passes:
    """The same with workers, whose number decides the order: what is left is what a whole pass has left."""
    first, again = make(), make()
    whole = first.read()
    assert sorted(flat(whole)) == list(range(ROWS))
    first.read(TAKEN)
    again.load(first.state())
    return [again.read(), again.read()], [whole[TAKEN:], whole]


def _generated_by_ranks(workers: Workers) -> Case:
    """Two ranks: equally many rows, together a build's but for what does not divide."""
    cell = Cell("Generated", "plain loop", str(workers), "ranks")

    def run(oracle: Oracle, ledger: Ledger) -> None:
        parts = [flat(GeneratedSubject(oracle, workers, rank=rank, world=2).read()) for rank in range(2)]
        assert len(parts[0]) == len(parts[1]) == ROWS // 2, (str(cell), [len(part) for part in parts])
        together = parts[0] + parts[1]
        ledger.once(cell, [together], range(ROWS - ROWS % 2))

    return Case(cell, workers, run)
