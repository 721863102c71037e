"""Reads rows of bracket words: the facts that are stored with them, and what `ncagen verify` finds wrong in them.

It knows the grammar alone, and nothing of how words are drawn. Not covered: whether a row is that of its candidate,
which is found by making it again.
"""

import numpy as np

from ncagen.kernels import inlined, kernel
from ncagen.sources.dyck.settings import Settings

UNMATCHED, DEPTH, LENGTH = 1, 2, 4  # faults, as bits


def facts(settings: Settings, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Returns depth, int32[row], the most brackets that are open at once, and mean_depth, float32[row].

    tokens: integers [row, token]. The mean is that of the open brackets after each bracket of the row.
    """
    depth, total, brackets = (np.zeros(len(tokens), dtype) for dtype in (np.int32, np.int64, np.int64))
    _depths(np.ascontiguousarray(tokens, np.uint16), settings.k, depth, total, brackets)
    return {"depth": depth, "mean_depth": (total / np.maximum(brackets, 1)).astype(np.float32)}


def problems(settings: Settings, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Returns bool[row] by the text of each possible problem, true where the row is right.

    tokens: integers [row, token].
    """
    faults = _faults(settings, tokens)
    return {
        "a bracket has no partner": faults & UNMATCHED == 0,
        f"a word has a depth outside {settings.min_depth} to {settings.max_depth}": faults & DEPTH == 0,
        "a word has a length that its settings do not give": faults & LENGTH == 0,
    }


def _faults(settings: Settings, tokens: np.ndarray) -> np.ndarray:
    """Returns the faults of each row: uint8[row]."""
    limits = np.array(
        [settings.k, settings.min_depth, settings.max_depth, settings.min_length, settings.length, settings.cut],
        np.int64,
    )
    opened = np.zeros(settings.k if settings.shuffle else 2 * tokens.shape[1] + 1, np.int64)
    faults = np.zeros(len(tokens), np.uint8)
    _read_rows(np.ascontiguousarray(tokens, np.uint16), limits, settings.shuffle, opened, faults)
    return faults


@kernel
def _depths(tokens, k, depth, total, brackets):
    """Fills the largest depth, the sum of depths and the number of brackets: [row]. tokens: uint16[row, token]."""
    for row in range(len(tokens)):
        now, deepest, depths, count = 0, 0, 0, 0
        for token in tokens[row]:
            bracket = token < 2 * k
            now += bracket * (1 if token < k else -1)
            depths += bracket * now
            count += bracket
            deepest = max(deepest, now)
        depth[row], total[row], brackets[row] = deepest, depths, count


@kernel
def _read_rows(tokens, limits, shuffle, opened, faults):
    """Fills faults: uint8[row].

    tokens: uint16[row, token]. limits: k, depths, lengths, cut. opened: with shuffle, the number of open brackets of
    each type, int64[type]; else their types, int64[2 * row tokens + 1], that at depth d at index row tokens + d.
    """
    _, least, _, _, _, cut = limits
    size = tokens.shape[1]
    for row in range(len(tokens)):
        begin = 0
        opened[:] = 0  # words that match leave it so
        while size - begin > (0 if cut else 2 * least) and not faults[row] & (UNMATCHED | LENGTH):
            end, fault = _read_word(tokens[row], begin, limits, shuffle, opened)
            faults[row] |= fault
            begin = end + 1
        if not cut and not faults[row]:
            faults[row] |= _rest(tokens[row], begin, limits)


@kernel
def _rest(tokens, begin, limits):
    """Returns LENGTH if there is anything but document ends from `begin` on, else 0."""
    for position in range(begin, len(tokens)):
        if tokens[position] != 2 * limits[0]:
            return LENGTH
    return 0


@kernel
def _read_word(tokens, begin, limits, shuffle, opened):
    """Reads from `begin` to the next document end or the row's. Returns where that is, and faults."""
    k, least, most, shortest, longest, cut = limits
    size = len(tokens)
    at, depth, deepest, matched = begin, 0, 0, True
    while at < size and tokens[at] != 2 * k:
        token = np.int64(tokens[at])
        step = 1 if token < k else -1
        matched &= (token < 2 * k) & _takes(token if token < k else token - k, step, k, shuffle, size + depth, opened)
        depth += step
        deepest = max(deepest, depth)
        at += 1
    matched &= bool(cut) | (depth == 0)
    length, whole = at - begin, size if cut else (size - begin - 1) // 2 * 2
    right = shortest <= length <= min(longest, whole) or length == whole < longest
    deep = 0 if least <= deepest <= most else DEPTH
    return at, (0 if matched else UNMATCHED) | (0 if right else LENGTH) | deep


@inlined
def _takes(kind, step, k, shuffle, place, opened):
    """Opens (step 1) or closes (-1) a bracket in `opened`, at `place` where they nest. Returns whether it matches."""
    if shuffle:
        kind = min(kind, k - 1)  # of an id that no bracket has
        opened[kind] += step
        return opened[kind] >= 0
    # What is written above the last open bracket is never read.
    last = opened[place]
    opened[place + 1] = kind + 1
    return (step > 0) | (last == kind + 1)
