"""What is done with a reader, and what it must give: pass n + 1 is epoch n + 1, and a state holds for one pass.

A situation takes a function that makes the reader anew, and the oracle; it returns the passes read and those expected.
"""

import os
from collections.abc import Callable
from unittest import mock

import ncagen
from reader_matrix.oracle import BATCH, Batches, Oracle, cut
from reader_matrix.subjects import Subject

Make = Callable[..., Subject]
Passes = tuple[list[Batches], list[Batches]]

TAKEN = 3  # batches before a state is taken


def fresh(make: Make, oracle: Oracle) -> Passes:
    """Three passes."""
    reader = make()
    return [reader.read() for _ in range(3)], [oracle.rest(epoch) for epoch in range(3)]


def resumed_in_epoch_0(make: Make, oracle: Oracle) -> Passes:
    """A state within the first pass, in a reader that is new."""
    return _resumed(make, oracle, epoch=0, taken=TAKEN)


def resumed_at_its_end(make: Make, oracle: Oracle) -> Passes:
    """A state after the last batch of the first pass."""
    return _resumed(make, oracle, epoch=0, taken=None)


def resumed_in_epoch_1(make: Make, oracle: Oracle) -> Passes:
    """A state within the second pass."""
    return _resumed(make, oracle, epoch=1, taken=TAKEN)


def set_epoch(make: Make, oracle: Oracle) -> Passes:
    """set_epoch before each pass, as a loop over epochs has it; and a jump, with a pass after it."""
    reader = make()
    found = [_at(reader, epoch) for epoch in (0, 1, 2, 7)]
    return [*found, reader.read()], [oracle.rest(epoch) for epoch in (0, 1, 2, 7, 8)]


def set_epoch_alone(make: Make, oracle: Oracle) -> Passes:
    """The same for a reader that has no passes of its own."""
    reader = make()
    return [_at(reader, epoch) for epoch in (0, 1, 2, 7)], [oracle.rest(epoch) for epoch in (0, 1, 2, 7)]


def resumed_then_set_epoch(make: Make, oracle: Oracle) -> Passes:
    """A state within epoch 1, then the loop over epochs that starts there: its set_epoch(1) keeps the state."""
    reader = make()
    reader.load(_state(make, epoch=1, taken=TAKEN))
    found = [_at(reader, epoch) for epoch in (1, 2, 3)]
    return found, [oracle.rest(1, TAKEN * BATCH), oracle.rest(2), oracle.rest(3)]


def resumed_then_set_epoch_0(make: Make, oracle: Oracle) -> Passes:
    """A state within epoch 0, then the loop over all epochs."""
    reader = make()
    reader.load(_state(make, epoch=0, taken=TAKEN))
    found = [_at(reader, epoch) for epoch in (0, 1, 2)]
    return found, [oracle.rest(0, TAKEN * BATCH), oracle.rest(1), oracle.rest(2)]


def loaded_into_the_same_reader(make: Make, oracle: Oracle) -> Passes:
    """A state of the reader's own pass, loaded after it was left: workers that are kept must hear of it."""
    reader = make()
    found = [reader.read(TAKEN)]
    reader.load(reader.state())
    found += [reader.read(), reader.read()]
    return found, [oracle.rest(0)[:TAKEN], oracle.rest(0, TAKEN * BATCH), oracle.rest(1)]


def left_early(make: Make, oracle: Oracle) -> Passes:
    """A pass that is left early counts; the next one is the next epoch."""
    reader = make()
    found = [reader.read(1), reader.read(TAKEN), reader.read()]
    return found, [oracle.rest(0)[:1], oracle.rest(1)[:TAKEN], oracle.rest(2)]


def without_a_batch(make: Make, oracle: Oracle) -> Passes:
    """iter() without next() is no pass."""
    reader = make()
    for _ in range(3):
        iter(reader.source)
    return [reader.read(), reader.read()], [oracle.rest(0), oracle.rest(1)]


def two_iterators(make: Make, oracle: Oracle) -> Passes:
    """Two passes in turn, each with its own position and state."""
    reader, again = make(), make()
    first, second = iter(reader.source), iter(reader.source)
    found: list[Batches] = [[], []]
    for _ in range(TAKEN):
        found[0].append(oracle.numbers(next(first)))
        found[1].append(oracle.numbers(next(second)))
    found[0].append(oracle.numbers(next(first)))
    for iterator, expected in ((first, oracle.rest(0)), (second, oracle.rest(1))):
        again.load(iterator.state_dict())
        found.append(again.read())
        assert found[-1][-1] == expected[-1]
    return found, [
        oracle.rest(0)[: TAKEN + 1],
        oracle.rest(1)[:TAKEN],
        oracle.rest(0, (TAKEN + 1) * BATCH),
        oracle.rest(1, TAKEN * BATCH),
    ]


def several_epochs_a_pass(make: Make, oracle: Oracle) -> Passes:
    """epochs=2: a pass is two epochs without a seam, and a state in the second leaves what is left of it."""
    reader, again = make(epochs=2), make(epochs=2)
    flat = [row for epoch in range(4) for row in oracle.order(epoch)]
    size = len(flat) // 4

    def passes(start: int, end: int) -> Batches:
        return [flat[at : min(at + BATCH, end)] for at in range(start, end, BATCH)]

    taken = 12  # in the second epoch
    found = [reader.read(), reader.read(taken)]
    again.load(reader.state())
    return [*found, again.read()], [
        passes(0, 2 * size),
        passes(2 * size, 4 * size)[:taken],
        passes(2 * size + taken * BATCH, 4 * size),
    ]


def ranks(make: Make, oracle: Oracle) -> Passes:
    """Two ranks, whose state then is resumed by three with another batch size."""
    found, expected = [], []
    for rank in range(2):
        reader = make(rank=rank, world=2)
        found += [reader.read(), reader.read(TAKEN)]
        expected += [oracle.rest(0, rank=rank, world=2), oracle.rest(1, rank=rank, world=2)[:TAKEN]]
    state = reader.state()
    for rank in range(3):
        reader = make(rank=rank, world=3, batch=4)
        reader.load(state)
        found += [reader.read(), reader.read()]
        place = {"rank": rank, "world": 3, "batch": 4}
        expected += [oracle.rest(1, TAKEN * BATCH * 2, **place), oracle.rest(2, **place)]
    return found, expected


def launched(make: Make, oracle: Oracle) -> Passes:
    """RANK and WORLD_SIZE of a launcher that come after the reader was made, and no process group."""
    reader = make()
    with mock.patch.dict(os.environ, {"RANK": "1", "WORLD_SIZE": "2"}):
        found = [reader.read(), reader.read()]
    return found, [oracle.rest(epoch, rank=1, world=2) for epoch in range(2)]


def packed(make: Make, oracle: Oracle) -> Passes:
    """Packs that leave rows over: no batch is empty, `len` is the number of batches, and the next pass is epoch 1."""
    found, expected = [], []
    for pack, batch in ((4, 8), (3, 1), (8, 4), (64, 1), (97, 1)):
        reader = make(batch=batch, layout=ncagen.Layout(pack=pack))
        whole = len(oracle.order(0)) // pack * pack
        assert len(reader.source) == -(-whole // (pack * batch))
        for epoch in (0, 1):
            found.append(reader.read())
            expected.append(cut(oracle.order(epoch)[:whole], pack * batch))
            assert reader.state() | {"epoch": epoch + 1, "position": 0} == reader.state()
    return found, expected


BASIC = {
    "fresh": fresh,
    "resumed in epoch 0": resumed_in_epoch_0,
    "resumed at its end": resumed_at_its_end,
    "resumed in epoch 1": resumed_in_epoch_1,
    "set_epoch": set_epoch,
}
MORE = {
    "resumed, then set_epoch from 1": resumed_then_set_epoch,
    "resumed, then set_epoch from 0": resumed_then_set_epoch_0,
    "loaded into the same reader": loaded_into_the_same_reader,
    "left early": left_early,
}
LAZY = {"without a batch": without_a_batch}
OWN_STATE = {"two iterators": two_iterators}
SPANS = {"several epochs a pass": several_epochs_a_pass}
RANKS = {"ranks": ranks}
LAUNCHED = {"ranks of the launcher": launched}
PACKS = {"packs": packed}


def _at(reader: Subject, epoch: int) -> Batches:
    reader.set_epoch(epoch)
    return reader.read()


def _state(make: Make, epoch: int, taken: int | None) -> dict:
    """A state of a reader's pass number `epoch` after some batches, or all."""
    reader = make()
    for _ in range(epoch):
        reader.read()
    reader.read(taken)
    return reader.state()


def _resumed(make: Make, oracle: Oracle, epoch: int, taken: int | None) -> Passes:
    """What is left of the epoch, if anything, and whole epochs then: three passes."""
    reader = make()
    reader.load(_state(make, epoch, taken))
    first = [oracle.rest(epoch, taken * BATCH)] if taken else []
    whole = range(epoch + 1, epoch + 4 - len(first))
    return [reader.read() for _ in range(3)], [*first, *map(oracle.rest, whole)]
