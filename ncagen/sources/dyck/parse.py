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
    depth, total, _ = _read(settings, tokens)
    brackets = (tokens != settings.end).sum(axis=1)
    return {"depth": depth, "mean_depth": (total / np.maximum(brackets, 1)).astype(np.float32)}


def problems(settings: Settings, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Returns bool[row] by the text of each possible problem, true where the row is right.

    tokens: integers [row, token].
    """
    _, _, faults = _read(settings, tokens)
    return {
        "a bracket has no partner": faults & UNMATCHED == 0,
        f"a word has a depth outside {settings.min_depth} to {settings.max_depth}": faults & DEPTH == 0,
        "a word has a length that its settings do not give": faults & LENGTH == 0,
    }


def _read(settings: Settings, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the largest depth, int32[row], the sum of depths, int64[row], and faults, uint8[row]."""
    depth, total = np.zeros(len(tokens), np.int32), np.zeros(len(tokens), np.int64)
    faults = np.zeros(len(tokens), np.uint8)
    limits = np.array(
        [settings.k, settings.min_depth, settings.max_depth, settings.min_length, settings.length, settings.cut],
        np.int64,
    )
    # Types of open brackets where they nest, or the number of open brackets of each type.
    opened = np.zeros(settings.k if settings.shuffle else tokens.shape[1], np.int64)
    rows = np.ascontiguousarray(tokens, np.int64)
    _read_rows(rows, limits, settings.shuffle, opened, depth, total, faults)
    return depth, total, faults


@kernel
def _read_rows(tokens, limits, shuffle, opened, depth, total, faults):
    """Fills depth, total and faults. tokens: int64[row, token]. limits: k, depths, lengths, cut."""
    _, least, _, _, _, cut = limits
    for row in range(len(tokens)):
        at, left = 0, tokens.shape[1]
        opened[:] = 0  # words that match leave it so
        while left > (0 if cut else 2 * least) and not faults[row] & (UNMATCHED | LENGTH):
            end, deepest, depths, fault = _read_word(tokens[row], at, limits, shuffle, opened)
            depth[row] = max(depth[row], deepest)
            total[row] += depths
            faults[row] |= fault
            at, left = end + 1, tokens.shape[1] - end - 1
        if not cut and not faults[row]:
            faults[row] |= _rest(tokens[row], at, limits)


@kernel
def _rest(tokens, at, limits):
    """Returns LENGTH if there is anything but document ends from `at` on, else 0."""
    for position in range(at, len(tokens)):
        if tokens[position] != 2 * limits[0]:
            return LENGTH
    return 0


@kernel
def _read_word(tokens, at, limits, shuffle, opened):
    """Reads from `at` to the next document end or the row's.

    Returns where that is, the largest depth, the sum of the depths after each bracket, and faults.
    """
    k, least, most, shortest, longest, cut = limits
    begin, depth, deepest, total, matched = at, 0, 0, 0, True
    while at < len(tokens) and tokens[at] != 2 * k:
        matched &= _takes(tokens[at], k, shuffle, depth, opened)
        depth += 1 if tokens[at] < k else -1
        total += depth
        deepest = max(deepest, depth)
        at += 1
    matched &= cut or depth == 0
    length, most_length = at - begin, len(tokens) if cut else (len(tokens) - begin - 1) // 2 * 2
    right = shortest <= length <= min(longest, most_length) or length == most_length < longest
    deep = 0 if least <= deepest <= most else DEPTH
    return at, deepest, total, (0 if matched else UNMATCHED) | (0 if right else LENGTH) | deep


@inlined
def _takes(token, k, shuffle, depth, opened):
    """Opens or closes a bracket in `opened`. Returns whether it may be there."""
    kind = token % k
    if token > 2 * k:
        return False
    if token < k and shuffle:
        opened[kind] += 1
    elif token < k:
        opened[depth] = kind
    elif shuffle:
        opened[kind] -= 1
        return opened[kind] >= 0
    else:
        return depth > 0 and opened[depth - 1] == kind
    return True
