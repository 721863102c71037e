"""Runs automata of two states 64 candidates at a time: bit k of a word is a cell of candidate k.

A step is then a few logical operations on whole words for each cell, whatever the rules: those of all 64 candidates
are words too, one for each entry of the rule's table. A grid is stored with a border, a copy of its opposite side, so
that no neighbour needs a case of its own.

The kernels allocate and check nothing: `lanes` makes the arrays. Not covered: which rules and settings there are
(`life` and `elementary`, which also have the definitions that these kernels are compared with).
"""

import numpy as np

from ncagen.kernels import inlined, kernel
from ncagen.philox_kernels import draw
from ncagen.sources.cellular.rules import LIFE, START

LANES = 64

_ONE = np.uint64(1)


@inlined
def _choose(which, zero, one):
    """Each bit of `one` where that of `which` is set, else that of `zero`."""
    return zero ^ (which & (zero ^ one))


@inlined
def _most(a, b, c):
    """The bits that are set in two or three of the words."""
    return (a & b) | (c & (a | b))


@kernel
def _gather(rules, first, lanes, masks):
    """Writes the rules of candidates `first` and on: bit k of masks[entry] is bit `entry` of rule first + k."""
    for entry in range(len(masks)):
        mask = np.uint64(0)
        for k in range(lanes):
            mask |= (np.uint64(rules[first + k]) >> np.uint64(entry) & _ONE) << np.uint64(k)
        masks[entry] = mask


@kernel
def draw_starts(key, candidates, threshold, words, starts):
    """Draws start grids: a cell is 1 where its word is below the threshold. starts: uint8[candidate, cell]."""
    for b in range(len(candidates)):
        draw(key[0], key[1], START, candidates[b], starts.shape[1], words)
        for c in range(starts.shape[1]):
            starts[b, c] = np.int64(words[c]) < threshold


@kernel
def _load(starts, first, lanes, grid):
    """Writes the cells of candidates `first` and on: bit k of a word is of first + k. grid: uint64[y, x], bordered."""
    height, width = grid.shape[0] - 2, grid.shape[1] - 2
    for y in range(height):
        for x in range(width):
            cells = np.uint64(0)
            for k in range(lanes):
                cells |= np.uint64(starts[first + k, y * width + x]) << np.uint64(k)
            grid[y + 1, x + 1] = cells


@kernel
def _wrap(grid):
    """Fills the border of a grid: each side is a copy of the opposite one."""
    height, width = grid.shape[0] - 2, grid.shape[1] - 2
    for y in range(1, height + 1):
        grid[y, 0] = grid[y, width]
        grid[y, width + 1] = grid[y, 1]
    for x in range(width + 2):
        grid[0, x] = grid[height, x]
        grid[height + 1, x] = grid[1, x]


@kernel
def _life_step(masks, grid, ones, twos):
    """Runs a step in place. masks: uint64[entry]. ones, twos: uint64[y, x], the sums of three cells side by side.

    A sum over 3 x 3 cells, the cell itself included, is written in binary in the words t0 (lowest) to t3. Where the
    cell is 0 its neighbours have this sum, where it is 1 they have one less.
    """
    height, width = grid.shape[0] - 2, grid.shape[1] - 2
    _wrap(grid)
    for y in range(height + 2):
        for x in range(1, width + 1):
            left, cell, right = grid[y, x - 1], grid[y, x], grid[y, x + 1]
            ones[y, x] = left ^ cell ^ right
            twos[y, x] = _most(left, cell, right)
    b0, b1, b2, b3, b4, b5, b6, b7, b8 = (
        masks[0], masks[1], masks[2], masks[3], masks[4], masks[5], masks[6], masks[7], masks[8],
    )  # fmt: skip
    s0, s1, s2, s3, s4, s5, s6, s7, s8 = (
        masks[9], masks[10], masks[11], masks[12], masks[13], masks[14], masks[15], masks[16], masks[17],
    )  # fmt: skip
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            t0 = ones[y - 1, x] ^ ones[y, x] ^ ones[y + 1, x]
            carry = _most(ones[y - 1, x], ones[y, x], ones[y + 1, x])
            odd = twos[y - 1, x] ^ twos[y, x] ^ twos[y + 1, x]
            four = _most(twos[y - 1, x], twos[y, x], twos[y + 1, x])
            t1 = odd ^ carry
            t2 = four ^ (odd & carry)
            t3 = four & odd & carry
            low = _choose(t1, _choose(t0, b0, b1), _choose(t0, b2, b3))
            high = _choose(t1, _choose(t0, b4, b5), _choose(t0, b6, b7))
            born = _choose(t3, _choose(t2, low, high), b8)
            # The sum is 1 to 9 here: one more than the neighbours.
            low = _choose(t1, s0, _choose(t0, s1, s2))
            high = _choose(t1, _choose(t0, s3, s4), _choose(t0, s5, s6))
            stays = _choose(t3, _choose(t2, low, high), _choose(t0, s7, s8))
            grid[y, x] = _choose(grid[y, x], born, stays)


@kernel
def _elementary_step(masks, grid, ones, twos):
    """Runs a step in place on a grid of one row. masks: uint64[entry], entry 4 * left + 2 * cell + right."""
    width = grid.shape[1] - 2
    grid[1, 0] = grid[1, width]
    grid[1, width + 1] = grid[1, 1]
    m0, m1, m2, m3 = masks[0], masks[1], masks[2], masks[3]
    m4, m5, m6, m7 = masks[4], masks[5], masks[6], masks[7]
    for x in range(1, width + 1):
        left, cell, right = grid[1, x - 1], grid[1, x], grid[1, x + 1]
        zero = _choose(cell, _choose(right, m0, m1), _choose(right, m2, m3))
        one = _choose(cell, _choose(right, m4, m5), _choose(right, m6, m7))
        ones[1, x] = _choose(left, zero, one)
    for x in range(1, width + 1):
        grid[1, x] = ones[1, x]


@kernel
def _write(cells, lanes, order, frame, first, rows):
    """Writes the tokens of a frame. cells: uint64[place], the bordered grid row by row. order: uint64[digit, patch],
    the places of each patch, the lowest digit first. rows: uint16 or uint32 [row, token]."""
    digits, patches = np.uint64(order.shape[0]), np.uint64(order.shape[1])
    at = np.uint64(frame) * (patches + np.uint64(2))
    opening = _ONE << digits
    for k in range(np.uint64(lanes)):
        row = np.uint64(first) + k
        rows[row, at] = opening
        for patch in range(patches):
            token = np.uint64(0)
            for digit in range(digits):
                token |= (cells[order[digit, patch]] >> k & _ONE) << digit
            rows[row, at + _ONE + patch] = token
        rows[row, at + _ONE + patches] = opening + _ONE


@kernel
def trajectories(starts, rules, times, scratch, order, rows):
    """Writes rows. starts: uint8[row, cell]. rules: int32[row]. times: (warmup, stride, frames). rows: [row, token].

    scratch: (masks, grid, cells, ones, twos). masks has the entries of a rule: 18 of life, 8 of an elementary one.
    cells is the same memory as grid.
    """
    masks, grid, cells, ones, twos = scratch
    warmup, stride, frames = times
    for first in range(0, len(rules), LANES):
        lanes = min(LANES, len(rules) - first)
        _gather(rules, first, lanes, masks)
        _load(starts, first, lanes, grid)
        steps = warmup
        for frame in range(frames):
            for _ in range(steps):
                if len(masks) == LIFE:
                    _life_step(masks, grid, ones, twos)
                else:
                    _elementary_step(masks, grid, ones, twos)
            _write(cells, lanes, order, frame, first, rows)
            steps = stride
