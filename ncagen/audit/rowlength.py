"""Finds the tokens of a row in a flat file that does not state them.

It tries the lengths of rows made for 64 to 128k positions, powers of two: whole grids, or cut at the positions or one
token later. A length is right if its rows are whole grids with one rule, and the next row has another rule. Not
covered: other lengths, and rows of several trajectories; they need --row-tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ncagen.audit.neighbours import breaks, pair_bits, pair_shares, step_bits
from ncagen.audit.shape import Shape
from ncagen.sources.patches import DELIMITERS

USUAL_POSITIONS = 1024
POSITIONS = tuple(2**power for power in range(6, 18))
TRIED_TOKENS, MOST_TRIED, LEAST_TRIED = 1 << 15, 24, 4
NO_RULE = "none that was tried has one rule a row; if it is another, use --row-tokens"


@dataclass(frozen=True)
class Evidence:
    """The evidence for a length: of `tried` rows, how many are whole, of these have one rule, of these end with it."""

    row_tokens: int
    tried: int
    whole: int
    one_rule: int
    ends: int

    @property
    def is_right(self) -> bool:
        """Whether most rows tried end with their rule."""
        return self.ends * 2 >= self.tried

    def __str__(self) -> str:
        parts = f"{self.whole} whole, {self.one_rule} under one rule, {self.ends} ending with it"
        return f"{self.row_tokens:,} ({self.tried} rows tried: {parts})"


def lengths(shape: Shape, positions: Sequence[int] = POSITIONS) -> list[int]:
    """Lists the lengths to try in tokens, shortest first. positions: that the rows may have been made for."""
    grid, marked = shape.tokens_per_grid, shape.patches + DELIMITERS
    cut = {n for s in positions for n in (s, s + 1)}
    whole = {
        n // g * grid for s in positions for g in (grid, marked) for n in (s, s + g)
    }  # also lengths of rows whose delimiters were removed
    return sorted(n for n in cut | whole if n >= 4 * grid)


def guess(shape: Shape, tokens: np.ndarray) -> tuple[int, str]:
    """Returns the best-supported length and its evidence as text. tokens: integers [token]; only samples are read.

    Of a length of rows for fewer than USUAL_POSITIONS three rows of four must end with their rule: a part of a longer
    row is whole and has one rule too, and of halves every second one ends with it.
    """
    usual = lengths(shape, [positions for positions in POSITIONS if positions >= USUAL_POSITIONS])
    known = [evidence(replace(shape, row_tokens=n), tokens) for n in lengths(shape) if len(tokens) >= 2 * n]
    known = [e for e in known if e.row_tokens in usual or 4 * e.ends > 3 * e.tried]
    default = -(-(USUAL_POSITIONS + 1) // shape.tokens_per_grid) * shape.tokens_per_grid
    if not known or not max(e.whole for e in known):
        return max(
            default, 2 * shape.tokens_per_grid
        ), "assumed: no length that was tried gives whole grids; if it is another, use --row-tokens"
    known.sort(key=lambda e: (-e.ends / e.tried, -e.whole / e.tried, len(tokens) % e.row_tokens > 0, e.row_tokens))
    best = known[0]
    if not best.is_right:
        return best.row_tokens, f"assumed from whole grids and the file's size; {NO_RULE}"
    return best.row_tokens, f"found: {best}" + "".join(f"; next best {e}" for e in known[1:2])


def evidence(shape: Shape, tokens: np.ndarray) -> Evidence:
    """Tries evenly spaced rows of the shape's length, each with the next row. tokens: integers [token]."""
    n = shape.row_tokens
    tried = min(len(tokens) // n - 1, max(LEAST_TRIED, min(MOST_TRIED, TRIED_TOKENS // n)))
    first = np.linspace(0, len(tokens) // n - 2, tried).astype(np.int64)
    rows = np.stack([np.asarray(tokens[i * n : (i + 2) * n]) for i in first]).astype(np.int64).reshape(-1, n)
    whole = (shape.aligned(rows) & shape.in_range(rows)).reshape(-1, 2).all(axis=1)
    pairs = rows.reshape(tried, 2, n)[whole].reshape(-1, n)
    if shape.stride != 1 or not len(pairs):
        return Evidence(n, tried, int(whole.sum()), 0, 0)
    grids = shape.grids_of(shape.patches_of(pairs)).reshape(-1, 2 * shape.frames, shape.height, shape.width)
    bits = pair_bits(pair_shares(grids, shape.states), grids[0, 1:].size)
    broken = breaks(step_bits(grids, bits, shape.states))
    last = shape.frames - 1
    inner = broken[:, :last].any(axis=1) | broken[:, last + 1 :].any(axis=1)
    return Evidence(n, tried, int(whole.sum()), int((~inner).sum()), int((~inner & broken[:, last]).sum()))
