"""The kernels of `cpu` that run the automaton: steps and patch tokens, compiled by numba.

They allocate nothing and check nothing: `cpu` and `workspace` make arrays of the right shapes. Arguments without an
explanation here are those of `definition`, in the layouts of `cpu`. `work` is a Workspace.
"""

import numpy as np

from ncagen import philox
from ncagen.kernels import inlined, kernel, trailing_zeros
from ncagen.philox_kernels import philox_block
from ncagen.sources.nca import simd
from ncagen.sources.nca.entropy_kernels import cell_entropy, pair_entropy
from ncagen.sources.nca.rule_kernels import IN_REGISTERS, MOST, load_rule
from ncagen.sources.nca.rules import (
    CENTRE,
    GUMBEL_SHIFT,
)
from ncagen.sources.nca.simd import INEXACT
from ncagen.sources.nca.vectors import BLOCK, COPIED, ENTRIES, GROUP, LANES

_NOISE = philox.NOISE
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)


@inlined
def _shift(work, width, cell, place):
    simd.shift(work.grid, work.first_column, work.last_column, width, cell, place, work.before, work.here, work.after)


@inlined
def _shift_all(work, height, width):
    """Writes the grid and its left and right neighbours, each with the last row before the first and the first after
    the last. What a vector writes beyond its row is overwritten by the next."""
    cells = height * width
    block = np.uint64(BLOCK)
    for c in range(np.uint64(0), width, block):
        _shift(work, width, cells - width + c, c)
    for c in range(np.uint64(0), cells, block):
        _shift(work, width, c, width + c)
    for c in range(np.uint64(0), width, block):
        _shift(work, width, c, width + cells + c)


@kernel
def _perceive(packed, states, grid, height, width, first, second):
    """Does the same as simd.perceive for any states and processor: nine loads a cell, of four channels each. grid:
    uint8[cell], without wrapped rows."""
    states = np.uint64(states)
    for y in range(height):
        above = y - _ONE if y else height - _ONE
        below = y + _ONE if y + _ONE < height else np.uint64(0)
        for x in range(width):
            left = x - _ONE if x else width - _ONE
            right = x + _ONE if x + _ONE < width else np.uint64(0)
            lanes = np.uint64(CENTRE * 0x0001000100010001)
            base = np.uint64(0)
            for row in (above, y, below):
                at = row * width
                lanes += packed[base + np.uint64(grid[at + left])]
                lanes += packed[base + states + np.uint64(grid[at + x])]
                lanes += packed[base + states + states + np.uint64(grid[at + right])]
                base += np.uint64(3) * states
            lanes ^= np.uint64(0x8000800080008000)
            first[y * width + x] = np.int32(lanes & _LOW)
            second[y * width + x] = np.int32(lanes >> _32)


@inlined
def _settle(key, candidate, step, cell, states, logits, best, noise, words):
    """Returns the next state of a cell that noise may decide. Only states within reach of the best can win.

    best: the largest logit, or a lower one, with which the result is the same. Also returns how many states are within
    reach of `best`, and the sum of their distances from it. logits: int32[state * GROUP], which begins with the cell's.
    """
    blocks = (states + np.uint64(7)) >> np.uint64(3)
    least = np.int64(best) - noise.reach
    winner = np.uint64(0)
    top = np.int64(-(2**62))
    count = np.int64(0)
    distances = np.int64(0)
    for block in range(blocks):
        first = block << np.uint64(3)
        within = np.uint64(0)
        s = min(first + np.uint64(8), states)
        while s > first:  # downwards, which LLVM does not turn into vectors: there are too few states
            s -= _ONE
            within = within << _ONE | np.uint64(logits[s * np.uint64(GROUP)] >= least)
        if within:
            philox_block(key[0], key[1], _NOISE + step, candidate, cell * blocks + block, words, 0)
        while within:
            i = np.uint64(trailing_zeros(within))
            within &= within - _ONE
            logit = np.int64(logits[(first + i) * np.uint64(GROUP)])
            count += 1
            distances += best - logit
            gumbel = np.int64(noise.gumbel[words[i]]) + noise.lowest
            logit += gumbel * noise.temperature >> GUMBEL_SHIFT
            winner = first + i if logit > top else winner
            top = max(logit, top)
    return winner, count, distances


@inlined
def _largest(logits, states):
    """Returns the largest logit of a cell."""
    best = logits[0]
    for s in range(_ONE, states):
        best = max(best, logits[s * np.uint64(GROUP)])
    return best


@inlined
def _settle_word(key, candidate, step, first, close, states, logits, noise, counting, counted, work):
    """Settles the cells whose bit is set in `close`, of at most 64 cells from `first`. Returns their entropy."""
    entropy = np.int64(0)
    while close:
        bit = np.uint64(trailing_zeros(close))
        close &= close - _ONE
        lane = bit % np.uint64(GROUP)
        cell = logits[(bit - lane) * states + lane :]
        # What names the best state leaves out low bytes, so its logit may be less than the largest.
        named = np.uint64(work.grid[first + bit])
        best = _largest(cell, states) if counted else cell[named * np.uint64(GROUP)]
        work.grid[first + bit], count, distances = _settle(
            key, candidate, step, first + bit, states, cell, best, noise, work.words
        )
        if counted:
            if count == 2:
                entropy += pair_entropy(distances, counting.scale, counting.pairs)
            else:
                entropy += cell_entropy(
                    cell, states, GROUP, noise.reach, counting.scale, counting.exponentials, counting.logarithms
                )
    return entropy


@inlined
def _perceive_all(states, shape, work):
    """Perception of all cells of the grid."""
    height, width = shape
    if IN_REGISTERS and states <= MOST:
        _shift_all(work, height, width)
        for c in range(np.uint64(0), height * width, np.uint64(BLOCK)):
            if states <= ENTRIES:
                simd.perceive(work.tables, work.before, work.here, work.after, width, c, work.first, work.second)
            else:
                simd.perceive_two(work.tables, work.before, work.here, work.after, width, c, work.first, work.second)
    else:
        _perceive(work.packed, states, work.grid, height, width, work.first, work.second)


@inlined
def _best_states(work, states, relative, bias, reach, begun, ended, logits):
    """Runs `simd.best_states` on the cells from `begun` to `ended`, at most 64. Returns the bits of close cells."""
    close = np.uint64(0)
    if states <= COPIED:
        for c in range(begun, ended, np.uint64(GROUP)):
            at = c - begun
            close |= (
                simd.best_states_copied(
                    work.units, work.copies, relative, states, bias, reach, work.grid, c, work.numbers, logits, at
                )
                << at
            )
    else:
        for c in range(begun, ended, np.uint64(GROUP)):
            at = c - begun
            close |= (
                simd.best_states(
                    work.units, work.pairs, relative, states, bias, reach, work.grid, c, work.numbers, logits, at
                )
                << at
            )
    if ended - begun < np.uint64(64):  # the last group may end beyond the grid
        close &= (_ONE << (ended - begun)) - _ONE
    return close


@inlined
def _steps(key, candidate, first_step, steps, states, relative, shape, noise, counting, work):
    """Runs `steps` steps on the grid in `work`, in place.

    Returns the entropy of all cells in the last steps, as many as `counting` says, in units of 1/2**24 nat.
    """
    cells = shape[0] * shape[1]
    word = np.uint64(work.logits.shape[1]) // states
    reach = np.int32(noise.reach + INEXACT)
    entropy = np.int64(0)
    for step in range(first_step, first_step + steps):
        counted = step + counting.steps >= first_step + steps
        _perceive_all(states, shape, work)
        for c in range(np.uint64(0), cells, np.uint64(LANES)):
            simd.hidden_units(work.first, work.second, work.hidden, c, work.units)
        close = np.uint64(0)
        # Close cells are settled a word later: a branch on new results of `best_states` would stall its successors.
        for begun in range(np.uint64(0), cells + word, word):
            before, close = close, np.uint64(0)
            odd = begun // word & _ONE
            if begun < cells:
                ended = min(begun + word, cells)
                if noise.bias:
                    close = _best_states(work, states, relative, noise.bias, reach, begun, ended, work.logits[odd])
                else:  # a bias known to be zero costs nothing
                    close = _best_states(work, states, relative, np.int32(0), reach, begun, ended, work.logits[odd])
            if before:
                entropy += _settle_word(
                    key,
                    candidate,
                    step,
                    begun - word,
                    before,
                    states,
                    work.logits[odd ^ _ONE],
                    noise,
                    counting,
                    counted,
                    work,
                )
    return entropy


@kernel
def rollout(key, candidates, rules, grids, states, shape, frame_steps, noise, counting, work, recorded, sums):
    """Runs each candidate through its frames.

    rules: perception int16[batch, 9, state * channel], hidden int32[batch, 32], pairs of weights, and output
    int16[batch, state * unit]. shape: height and width. frame_steps: (step of `grids`, steps before the first frame,
    steps between frames). noise, counting, work: Noise, Counting, Workspace. Writes recorded: uint8[batch, frame, cell]
    and, where `counting` says so, sums: int64[batch, frame].
    """
    at, before, between = frame_steps
    cells = shape[0] * shape[1]
    states = np.uint64(states)
    for b in range(len(candidates)):
        relative = load_rule(rules, b, states, noise.bias, work)
        for c in range(cells):
            work.grid[c] = grids[b, c]
        step = at + 1
        steps = before
        for frame in range(recorded.shape[1]):
            entropy = _steps(key, candidates[b], step, steps, states, relative, shape, noise, counting, work)
            if counting.steps:
                sums[b, frame] = entropy
            step += steps
            steps = between
            for c in range(cells):
                recorded[b, frame, c] = work.grid[c]


@kernel
def patch_tokens(grids, states, order, digits, patches):
    """Writes the patches of grids. order: uint64[digit, patch], the cells of each patch, the highest digit first."""
    batch, frames, _ = grids.shape
    count = np.uint64(len(digits))
    for b in range(np.uint64(batch)):
        for f in range(np.uint64(frames)):
            for i in range(count):
                digits[i] = grids[b, f, order[0, i]]
            for digit in range(np.uint64(1), np.uint64(len(order))):
                for i in range(count):
                    digits[i] = digits[i] * states + grids[b, f, order[digit, i]]
            for i in range(count):
                patches[b, f, i] = digits[i]
