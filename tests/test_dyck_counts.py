"""Words of brackets are counted exactly: against Catalan numbers, other formulas, and all words of small lengths."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import comb

import pytest

from ncagen.sources.dyck import counts

UNBOUNDED = 40  # a depth that no word here reaches


def catalan(pairs: int) -> int:
    return comb(2 * pairs, pairs) // (pairs + 1)


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@lru_cache
def interleaved(types: int, length: int) -> int:
    """Counts words of interleaving types: positions for the first type, times its words, times the others' words."""
    if types == 0:
        return int(length == 0)
    return sum(
        comb(length, own) * catalan(own // 2) * interleaved(types - 1, length - own) for own in range(0, length + 1, 2)
    )


def every_word(types: int, shuffle: bool, length: int) -> Iterator[tuple[int, ...]]:
    """Yields the depths after each token, one tuple for each word of the language, found by trying every bracket."""

    def go(left: int, opened: tuple[int, ...], depths: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if left == 0:
            yield from [depths] if not opened else []
            return
        for kind in range(types):
            yield from go(left - 1, (*opened, kind), (*depths, len(opened) + 1))
            if (kind in opened) if shuffle else (opened[-1:] == (kind,)):
                rest = list(opened)
                rest.reverse()
                rest.remove(kind)
                yield from go(left - 1, tuple(reversed(rest)), (*depths, len(opened) - 1))

    yield from go(length, (), ())


def test_nested_words_are_counted_by_catalan_numbers():
    assert [counts.words(1, 1, UNBOUNDED, 2 * pairs) for pairs in range(8)] == [1, 1, 2, 5, 14, 42, 132, 429]
    assert counts.words(1, 1, 512, 1024) == catalan(512)


def test_words_of_bounded_depth_have_known_numbers():
    assert [counts.words(1, 1, 1, 2 * pairs) for pairs in range(1, 6)] == [1] * 5
    assert [counts.words(1, 1, 2, 2 * pairs) for pairs in range(1, 8)] == [2 ** (pairs - 1) for pairs in range(1, 8)]
    assert [counts.words(1, 1, 3, 2 * pairs) for pairs in range(1, 9)] == [fibonacci(2 * n - 1) for n in range(1, 9)]


def test_a_least_depth_leaves_out_the_words_below_it():
    for least in range(2, 7):
        assert counts.words(1, least, 6, 20) == counts.words(1, 1, 6, 20) - counts.words(1, 1, least - 1, 20)
    assert counts.words(1, 10, 10, 20) == 1


def test_interleaved_words_are_counted_by_binomials_of_catalan_numbers():
    assert [counts.words(2, 1, UNBOUNDED, 2 * n) for n in range(6)] == [catalan(n) * catalan(n + 1) for n in range(6)]
    for types in (1, 2, 3, 5, 64):
        assert [counts.words(types, 1, 6, 2 * n) for n in range(7)] == [interleaved(types, 2 * n) for n in range(7)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("types", "length"), [(1, 10), (2, 6), (3, 6)])
def test_counts_are_those_of_every_word(shuffle, types, length):
    deepest = [max(depths) for depths in every_word(types, shuffle, length)]
    for least in range(1, length // 2 + 1):
        for most in range(least, length // 2 + 1):
            words = counts.words(types if shuffle else 1, least, most, length)
            factor = 1 if shuffle else types ** (length // 2)
            assert words * factor == sum(least <= depth <= most for depth in deepest), (least, most)


def test_thresholds_of_four_tokens_by_hand():
    """Of ()() and (()): after the first bracket, three tokens are left, and half of the words open another."""
    found = counts.tables(1, 1, 2, 4)
    machine = counts.machine(1, 1, 2)
    assert machine.states == ((True, ()), (True, (1,)), (True, (2,)))
    assert found.first.tolist() == [0, 1, 3, 4]
    assert found.closing.tolist() == [1, 2, 3]  # one move opens, one of two, none
    assert found.following.tolist() == [1, 2, 0, 1]
    assert found.thresholds[3, found.slot[1]] == 2**63


@pytest.mark.parametrize("settings", [(1, 1, 5, 24), (1, 3, 6, 24), (3, 1, 4, 16), (64, 2, 5, 16)])
def test_thresholds_are_the_exact_probabilities_rounded_down(settings):
    *of, length = settings
    found, machine = counts.tables(*settings), counts.machine(*of)
    for left, (before, layer) in enumerate(zip(*_two(machine, length), strict=False), start=1):
        for number, moves in enumerate(machine.moves):
            below = 0
            for at, move in enumerate(moves[:-1] if layer[number] else ()):
                below += move.ways * before[machine.numbers[move.state]]
                exact = Fraction(below, layer[number])
                stored = int(found.thresholds[left, found.slot[number] + at])
                assert stored == min(int(exact * 2**64), 2**64 - 1)


def _two(machine: counts.Machine, length: int):
    """The layers up to `length`, and the same from the second on."""
    layers = [layer for layer, _ in zip(machine.layers(), range(length + 1), strict=False)]
    return layers, layers[1:]


def test_a_machine_with_too_many_states_is_not_completed():
    assert counts.table_size(64, 1, 64, 1024) > 2**60
