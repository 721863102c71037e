"""Counts of words, exact, and the thresholds by which a kernel draws words uniformly.

A word in the making is in a state: whether it has reached the least depth, and how many brackets of each type are open,
as the sorted counts that are not 0. Types with as many open brackets are alike, so a state stands for every assignment
of its counts to types. Where brackets nest, the type to close is that of the last opened, so the depth alone matters:
`machine` is then made for one type.

Let N(r, s) be the number of ways to complete a word from state s with r tokens: N(0, s) is 1 for the empty state that
has reached the least depth and 0 for any other; N(r, s) is the sum of ways(m) * N(r - 1, next(m)) over the moves m of
s. A move that is drawn with probability ways(m) * N(r - 1, next(m)) / N(r, s) makes every word equally likely.
Not covered: which of the types of a group a move takes, and how words of a row follow one another (`definition`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

State = tuple[bool, tuple[int, ...]]
"""Whether the least depth has been reached, and the counts of open brackets, largest first."""

MOST_STATES = 2**12
_MAKING = Lock()  # threads that begin together wait for one, which may take some seconds


@dataclass(frozen=True)
class Move:
    """Opens or closes a bracket of a type that has `group` open brackets. ways: number of such types."""

    opens: bool
    group: int
    ways: int
    state: State


@dataclass(frozen=True)
class Machine:
    """States and moves. states[0] is that before a word. moves: of each state, openings first, by rising group.

    numbers: each state's index.
    """

    states: tuple[State, ...]
    moves: tuple[tuple[Move, ...], ...]
    numbers: dict[State, int]

    def layers(self) -> Iterator[list[int]]:
        """Yields N(0, s), N(1, s), N(2, s) and so on, each as a list by the index of s."""
        steps = [[(move.ways, self.numbers[move.state]) for move in moves] for moves in self.moves]
        parities = [[n for n, (_, counts) in enumerate(self.states) if sum(counts) % 2 == odd] for odd in (0, 1)]
        layer = [int(state == (True, ())) for state in self.states]
        while True:
            yield layer
            parities.reverse()
            following = [0] * len(layer)
            for number in parities[0]:
                following[number] = sum(ways * layer[state] for ways, state in steps[number])
            layer = following


@lru_cache(maxsize=8)
def machine(types: int, least: int, most: int) -> Machine:
    """Makes the machine. types: 1 where brackets nest. least, most: the depth that a word must reach, and may.

    A least depth of 1 counts as reached from the start, since every word has it. Stops above MOST_STATES states.
    """
    numbers: dict[State, int] = {(least <= 1, ()): 0}
    queue, moves = list(numbers), []
    for state in queue:
        moves.append(tuple(_moves(types, least, most, state)))
        for move in moves[-1]:
            if move.state not in numbers:
                numbers[move.state] = len(queue)
                queue.append(move.state)
        if len(queue) > MOST_STATES:
            break
    return Machine(tuple(queue), tuple(moves), numbers)


def _moves(types: int, least: int, most: int, state: State) -> Iterator[Move]:
    reached, counts = state
    groups = sorted(set(counts))
    if sum(counts) < most:
        now = reached or sum(counts) + 1 >= least
        if len(counts) < types:
            yield Move(True, 0, types - len(counts), (now, _replaced(counts, 0, 1)))
        for group in groups:
            yield Move(True, group, counts.count(group), (now, _replaced(counts, group, group + 1)))
    for group in groups:
        yield Move(False, group, counts.count(group), (reached, _replaced(counts, group, group - 1)))


def _replaced(counts: tuple[int, ...], old: int, new: int) -> tuple[int, ...]:
    """Returns the counts, with one `old` replaced by `new`; 0 is not listed."""
    listed = list(counts)
    if old:
        listed.remove(old)
    return tuple(sorted([*listed, new] if new else listed, reverse=True))


def words(types: int, least: int, most: int, length: int) -> int:
    """Counts the words of a length. For nesting brackets of k types: words(1, ...) * k ** (length // 2)."""
    for number, layer in enumerate(machine(types, least, most).layers()):
        if number == length:
            return layer[0]
    raise AssertionError("layers has no end")


@dataclass(frozen=True)
class Tables:
    """A machine as arrays, for a kernel.

    first: int64[state + 1], where the moves of each state begin. closing: int64[state], its first move that closes.
    group, following: int64[move], the group and the next state. slot: int64[state], where its thresholds begin.
    thresholds: uint64[r, slot]: for r tokens left, floor(2**64 * P) of the probability P of each move or one before
    it; the last move of a state has none.
    """

    first: np.ndarray
    closing: np.ndarray
    group: np.ndarray
    following: np.ndarray
    slot: np.ndarray
    thresholds: np.ndarray


def tables(types: int, least: int, most: int, length: int) -> Tables:
    """Makes the tables for words of up to `length` tokens, once in a process."""
    with _MAKING:
        return _tables(types, least, most, length)


@lru_cache(maxsize=4)
def _tables(types: int, least: int, most: int, length: int) -> Tables:
    found = machine(types, least, most)
    every = [move for moves in found.moves for move in moves]
    sizes = [len(moves) for moves in found.moves]
    first = np.cumsum([0, *sizes], dtype=np.int64)
    opening = [sum(move.opens for move in moves) for moves in found.moves]
    slot, width = _slots(found)
    return Tables(
        first=first,
        closing=first[:-1] + np.array(opening, np.int64),
        group=np.array([move.group for move in every], np.int64),
        following=np.array([found.numbers[move.state] for move in every], np.int64),
        slot=slot,
        thresholds=_thresholds(found, slot, np.zeros((length + 1, width), np.uint64)),
    )


def _slots(found: Machine) -> tuple[np.ndarray, int]:
    """Where each state's thresholds begin. States of even and of odd depth never have as many tokens left."""
    widths, slots = [0, 0], []
    for (_, counts), moves in zip(found.states, found.moves, strict=True):
        slots.append(widths[sum(counts) % 2])
        widths[sum(counts) % 2] += len(moves) - 1
    return np.array(slots, np.int64), max(widths)


def _thresholds(found: Machine, slots: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Fills out: uint64[r, slot], and returns it. A threshold of 2**64 is stored as 2**64 - 1."""
    steps = [[(move.ways, found.numbers[move.state]) for move in moves[:-1]] for moves in found.moves]
    before: list[int] = []
    for row, layer in zip(out, found.layers(), strict=False):
        for total, slot, moves in zip(layer, slots, steps, strict=True):
            if total and before:
                below = 0
                for number, (ways, state) in enumerate(moves):
                    below += ways * before[state]
                    row[slot + number] = min((below << 64) // total, 2**64 - 1)
        before = layer
    return out


def table_size(types: int, least: int, most: int, length: int) -> int:
    """The number of thresholds in `tables`; of a machine with too many states, more than any limit."""
    found = machine(types, least, most)
    return 2**63 if len(found.states) > MOST_STATES else (length + 1) * _slots(found)[1]
