"""The definition of rows of bracket words, in plain Python with exact numbers. Everything else must equal it.

`kernels` makes the same rows, much faster. Each random choice has Philox words of its own, addressed by its kind (MOVE,
TYPE or LENGTH) and its position in the row: the first is word `position` of purpose `kind`, further ones are the words
0, 1, 2 and so on of purpose KINDS * (position + 1) + kind. Not covered: settings and their limits (`settings`).
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, chain, count, islice

import numpy as np

from ncagen import philox
from ncagen.sources.dyck import counts
from ncagen.sources.dyck.settings import Settings

MOVE, TYPE, LENGTH = range(3)
KINDS = 3


def rows(settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    """Makes rows: uint16[candidate, token]. key: seed and stream. candidates: uint64[candidate]."""
    return np.array([Row(settings, key, int(candidate)).tokens() for candidate in candidates], np.uint16)


class Row:
    """One row in the making.

    order: every type, those with more open brackets first. It begins as 0, 1, 2, ... and changes with `shuffle` only.
    """

    def __init__(self, settings: Settings, key: tuple[int, int], candidate: int):
        self.settings, self.key, self.candidate = settings, key, np.array([candidate], np.uint64)
        self.first = [self._words(kind, settings.row_tokens) for kind in range(KINDS)]
        self.order = list(range(settings.k))

    def tokens(self) -> list[int]:
        """Makes the tokens of the row."""
        settings = self.settings
        if settings.cut:
            return self.word(0, settings.row_tokens)
        made: list[int] = []
        while (left := settings.row_tokens - len(made)) > 2 * settings.min_depth:
            choices = (settings.length - settings.min_length) // 2 + 1
            length = settings.min_length + 2 * self.draw(LENGTH, len(made)).below(choices)
            made += [*self.word(len(made), min(length, (left - 1) // 2 * 2)), settings.end]
        return made + [settings.end] * left

    def word(self, begin: int, length: int) -> list[int]:
        """Makes a word of `length` tokens. begin: the position of its first."""
        made: list[int] = []
        open_types: list[int] = []  # of the open brackets, in the order of opening
        reached = self.settings.min_depth == 1  # whether the word has, or must have, the least depth
        for position in range(begin, begin + length):
            opens, group = self.step(position, begin + length - position, open_types, reached)
            if opens:
                open_types.append(self.opened(position, open_types, group))
                made.append(open_types[-1])
            else:
                made.append(self.settings.k + self.closed(position, open_types, group))
            reached = reached or len(open_types) == self.settings.min_depth
        return made

    def step(self, position: int, left: int, open_types: list[int], reached: bool) -> tuple[bool, int]:
        """Draws whether to open a bracket, and with `uniform` also the number of open brackets of its type.

        left: tokens of the word that are left, this one included.
        """
        settings, depth = self.settings, len(open_types)
        closing = 0 if settings.cut else 1  # whether what is open has to be closed
        can_open = depth < settings.max_depth and left - 1 >= closing * (depth + 1)
        climb = 0 if reached else settings.min_depth - (depth - 1) + closing * settings.min_depth
        can_close = depth > 0 and left - 1 >= climb
        if settings.uniform:
            moves = self._moves(left, open_types, reached)
            moves = [(move, words) for move, words in moves if (can_open if move.opens else can_close)]
            *below, total = accumulate(words for _, words in moves)
            at = self.draw(MOVE, position).choose([Fraction(one, total) for one in below]) if below else 0
            return moves[at][0].opens, moves[at][0].group
        if can_open and can_close:
            return self.draw(MOVE, position).choose([Fraction(settings.open_probability)]) == 0, 0
        return can_open, 0

    def _moves(self, left: int, open_types: list[int], reached: bool) -> list[tuple[counts.Move, int]]:
        """The moves of `counts`, and the number of words that each of them leads to."""
        alike = Counter(open_types).values() if self.settings.shuffle else [len(open_types)]
        state = reached, tuple(sorted((number for number in alike if number), reverse=True))
        machine = counts.machine(*self.settings.machine)
        ways = _layers(*self.settings.machine, self.settings.length)[left - 1]
        moves = machine.moves[machine.numbers[state]]
        return [(move, move.ways * ways[machine.numbers[move.state]]) for move in moves]

    def opened(self, position: int, open_types: list[int], group: int) -> int:
        """Draws the type of a bracket to open, and moves it within `order`."""
        draw = self.draw(TYPE, position)
        if self.settings.shuffle and self.settings.uniform:
            alike = [kind for kind in self.order if open_types.count(kind) == group]
            kind = alike[draw.below(len(alike))]
        else:
            kind = draw.below(self.settings.k)
        if self.settings.shuffle:
            self.swap(kind, min(self._places(open_types, open_types.count(kind))))
        return kind

    def closed(self, position: int, open_types: list[int], group: int) -> int:
        """Draws the type of a bracket to close, takes it out of open_types, and moves it within `order`."""
        if not self.settings.shuffle:
            return open_types.pop()
        alike = [kind for kind in self.order if kind in open_types]
        if self.settings.uniform:
            alike = [kind for kind in alike if open_types.count(kind) == group]
        kind = alike[self.draw(TYPE, position).below(len(alike))]
        self.swap(kind, max(self._places(open_types, open_types.count(kind))))
        open_types.remove(kind)
        return kind

    def _places(self, open_types: list[int], number: int) -> list[int]:
        """Where `order` has the types with that number of open brackets."""
        return [place for place, kind in enumerate(self.order) if open_types.count(kind) == number]

    def swap(self, kind: int, place: int) -> None:
        """Exchanges a type with the one at a place of `order`."""
        self.order[self.order.index(kind)], self.order[place] = self.order[place], kind

    def draw(self, kind: int, position: int) -> "Draw":
        """The random choice of a kind at a position of the row."""
        return Draw(self.first[kind][position], self._further(KINDS * (position + 1) + kind))

    def _further(self, purpose: int) -> Iterator[int]:
        for block in count():
            yield from self._words(purpose, 8, block)

    def _words(self, purpose: int, number: int, block: int = 0) -> list[int]:
        return philox.words(*self.key, purpose, self.candidate, number, block)[0].tolist()


class Draw:
    """One random choice, from the words of its own: `first`, then those that `further` yields."""

    def __init__(self, first: int, further: Iterator[int]):
        self.words = chain([first], further)

    def below(self, bound: int) -> int:
        """Draws a number below `bound`, at most 2**16, each equally likely.

        A word w gives w * bound >> 16, unless w * bound modulo 2**16 is below 2**16 modulo bound: then the next word
        is taken (Lemire, "Fast Random Integer Generation in an Interval", 2019).
        """
        while (product := next(self.words) * bound) % 2**16 < 2**16 % bound:
            pass
        return product >> 16

    def choose(self, thresholds: list[Fraction]) -> int:
        """Draws a number U from 0 to 1, and returns how many thresholds are at most U.

        The words are the bits of U, the highest first. One is enough if no threshold begins with the same 16 bits.
        Otherwise three more are taken, and then one at a time as long as a threshold lies between the bits of U with
        zeros and with ones after them.
        """
        drawn, bits = next(self.words), 16
        if any(drawn == int(threshold * 2**16) for threshold in thresholds):
            for _ in range(3):
                drawn, bits = drawn << 16 | next(self.words), bits + 16
            while any(drawn < threshold * 2**bits < drawn + 1 for threshold in thresholds):
                drawn, bits = drawn << 16 | next(self.words), bits + 16
        return sum(threshold * 2**bits <= drawn for threshold in thresholds)


@lru_cache(maxsize=2)
def _layers(types: int, least: int, most: int, length: int) -> list[list[int]]:
    """The exact counts of ways to complete a word, by tokens left and state."""
    return list(islice(counts.machine(types, least, most).layers(), length))
