"""Rules of two-state automata as numbers: their symmetries, how rows draw them, and which split has which.

A rule is a table of next states, one bit an entry, entry 0 lowest. An elementary rule has entry 4 * left + 2 * cell +
right, Wolfram's numbers. A life-like rule has entry n for a dead cell with n living neighbours (born) and 9 + n for a
living one (survives). Not covered: how a rule changes cells (`life`, `elementary`).
"""

import re
from collections.abc import Sequence
from functools import cache
from math import comb

import numpy as np

from ncagen import philox
from ncagen.errors import SpecError

RULE, START, DIVIDE = 0, 1, 2  # purposes of Philox blocks
ELEMENTARY, LIFE = 8, 18  # entries of a rule
# How many neighbourhoods each entry decides: of eight neighbours, C(8, n) have n living ones.
ELEMENTARY_NEIGHBOURHOODS = (1,) * ELEMENTARY
LIFE_NEIGHBOURHOODS = tuple(comb(8, n) for n in range(9)) * 2

RANDOM, DISJOINT = "random", "disjoint"
SHARE = 8  # of the classes of equivalent rules, one in so many is of validation, and as many are of test


def life_number(text: str) -> int:
    """Reads a rule such as "B3/S23". Raises SpecError for other text, and for a digit that is given twice."""
    match = re.fullmatch(r"B([0-8]*)/S([0-8]*)", text.upper(), re.ASCII)
    if not match or any(len(set(digits)) != len(digits) for digits in match.groups()):
        raise SpecError(
            f"rule {text!r} is not a rule of life: use neighbours of birth and survival as in B3/S23, or"
            f" {RANDOM} or {DISJOINT}"
        )
    born, survives = match.groups()
    return sum(1 << int(n) for n in born) + sum(1 << 9 + int(n) for n in survives)


def life_text(number: int) -> str:
    """Writes a rule of life as text, as in "B3/S23". number: below 2**18."""
    born, survives = ("".join(str(n) for n in range(9) if number >> first + n & 1) for first in (0, 9))
    return f"B{born}/S{survives}"


def elementary_number(text: str) -> int:
    """Reads an elementary rule, "0" to "255". Raises SpecError for other text."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,8}", text, re.ASCII) or int(text) > 255:
        raise SpecError(f"rule {text!r} is not an elementary rule: use 0 to 255, or {RANDOM} or {DISJOINT}")
    return int(text)


def complement(entries: int, rules: np.ndarray) -> np.ndarray:
    """The rules that do the same with the two states exchanged. rules: int32[rule]. Returns int32[rule]."""
    # Exchanged, entry i is entry 7 - i; of life, n neighbours are 8 - n and a dead cell is a living one: 17 - i.
    return _permuted(entries, ~rules, [entries - 1 - i for i in range(entries)])


def mirror(rules: np.ndarray) -> np.ndarray:
    """The elementary rules that do the same with left and right exchanged. rules: int32[rule]. Returns int32[rule]."""
    return _permuted(ELEMENTARY, rules, [0, 4, 2, 6, 1, 5, 3, 7])


def _permuted(entries: int, rules: np.ndarray, source: list[int]) -> np.ndarray:
    """Rules whose entry i is entry source[i] of the given ones."""
    bits = rules[:, None] >> np.array(source, np.int32) & 1
    return (bits << np.arange(entries, dtype=np.int32)).sum(axis=1, dtype=np.int32)


def class_of(entries: int, rules: np.ndarray) -> np.ndarray:
    """The least of all equivalent rules, by exchange of states and, of elementary rules, of sides: int32[rule]."""
    same = [rules, complement(entries, rules)]
    if entries == ELEMENTARY:
        same += [mirror(rules), mirror(same[1])]
    return np.min(same, axis=0)


def langton_counts(neighbourhoods: Sequence[int], rules: np.ndarray) -> np.ndarray:
    """Counts the neighbourhoods whose next state is not the more frequent one: int32[rule].

    neighbourhoods: of each entry. rules: int32[rule]. Langton's lambda is this over all neighbourhoods.
    """
    ones = (rules[:, None] >> np.arange(len(neighbourhoods)) & 1) @ np.array(neighbourhoods)
    return np.minimum(ones, sum(neighbourhoods) - ones).astype(np.int32)


@cache
def divided(entries: int) -> dict[int, np.ndarray]:
    """The rules of each stream that share no class with those of another: int32[rule] in rising order, by stream.

    The classes are sorted by a 64-bit number, words 0 to 3 (lowest first) of purpose DIVIDE under seed 0, stream 0 and
    the class's least rule as the number. The first eighth is of validation, the next of test, the others are of train,
    and of any other stream. It is the same for each seed, so rows of several seeds can be mixed.
    """
    rules = np.arange(1 << entries, dtype=np.int32)
    classes, members = np.unique(class_of(entries, rules), return_inverse=True)
    keys = philox.words(0, 0, DIVIDE, classes.astype(np.uint64), 4).astype("<u2").view("<u8")[:, 0]
    rank = np.empty(len(classes), np.int64)
    rank[np.lexsort((classes, keys))] = np.arange(len(classes))
    part = rank[members.reshape(-1)] // (len(classes) // SHARE)
    train, validation, test = (philox.STREAMS[name] for name in ("train", "validation", "test"))
    return {train: rules[part > 1], validation: rules[part == 0], test: rules[part == 1]}


def drawn(entries: int, setting: str, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    """Draws a rule for each candidate: int32[candidate]. setting: RANDOM or DISJOINT.

    Rule number (w * count) >> 32 of the list of allowed rules in rising order; w is word 0 of the candidate's RULE
    block plus 2**16 times word 1.
    """
    lists = divided(entries)
    allowed = np.arange(1 << entries, dtype=np.int32)
    if setting == DISJOINT:
        allowed = lists.get(key[1], lists[philox.STREAMS["train"]])
    words = philox.words(*key, RULE, candidates, 2).astype(np.uint64)
    return allowed[(words[:, 0] | words[:, 1] << np.uint64(16)) * np.uint64(len(allowed)) >> np.uint64(32)]
