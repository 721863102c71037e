"""The kernels of `cpu` that run the automaton: steps and patch tokens, compiled by numba.

They allocate nothing and check nothing: `cpu` makes arrays of the right shapes. Arguments without an explanation here
are those of `definition`, in the layouts of `cpu`.
"""

import numpy as np

from ncagen import philox
from ncagen.kernels import kernel, trailing_zeros
from ncagen.philox_kernels import philox_block
from ncagen.sources.nca import simd
from ncagen.sources.nca.entropy_kernels import cell_entropy, pair_entropy
from ncagen.sources.nca.rules import (
    CENTRE,
    GUMBEL_SHIFT,
    LIFT,
    NEIGHBOURS,
    PERCEPTION_CHANNELS,
)
from ncagen.sources.nca.simd import BLOCK, IN_REGISTERS, LANES

_NOISE = philox.NOISE
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)


@kernel
def _pair(low, high):
    """Two int16 as the halves of an int32."""
    return np.int32(np.uint32(np.uint16(low)) | (np.uint32(np.uint16(high)) << np.uint32(16)))


@kernel
def _load_rule(perception, hidden, output, b, tables, packed, hidden_pairs, output_pairs):
    """Copies rule b to the layouts that the steps read."""
    for place in range(np.uint64(NEIGHBOURS)):
        for s in range(len(packed) // NEIGHBOURS):
            lanes = np.uint64(0)
            for c in range(np.uint64(PERCEPTION_CHANNELS)):
                weight = perception[b, place, np.uint64(s * PERCEPTION_CHANNELS) + c]
                if IN_REGISTERS and s < BLOCK:
                    tables[(place * np.uint64(PERCEPTION_CHANNELS) + c) * np.uint64(BLOCK) + np.uint64(s)] = weight
                lanes |= np.uint64(weight + LIFT) << (_SIXTEEN * c)
            packed[place * np.uint64(len(packed) // NEIGHBOURS) + np.uint64(s)] = lanes
    for i in range(np.uint64(len(hidden_pairs))):
        hidden_pairs[i] = _pair(hidden[b, i + i], hidden[b, i + i + _ONE])
    for i in range(np.uint64(len(output_pairs))):
        output_pairs[i] = _pair(output[b, i + i], output[b, i + i + _ONE])


@kernel
def _wrap_rows(torus, width, cells):
    """Repeats the grid's last row before its first and its first after its last. torus: as in `simd.perceive`."""
    top = np.uint64(BLOCK)
    for c in range(top, top + width):
        torus[c] = torus[c + cells]
        torus[c + cells + width] = torus[c + width]


@kernel
def _perceive(packed, states, torus, height, width, first, second):
    """Does the same as simd.perceive for any states and processor: nine loads a cell, of four channels each."""
    states = np.uint64(states)
    for y in range(height):
        for x in range(width):
            left = x - _ONE if x else width - _ONE
            right = x + _ONE if x + _ONE < width else np.uint64(0)
            lanes = np.uint64(CENTRE * 0x0001000100010001)
            for row in range(np.uint64(3)):
                at = np.uint64(BLOCK) + (y + row) * width
                base = np.uint64(3) * row * states
                lanes += packed[base + torus[at + left]]
                lanes += packed[base + states + torus[at + x]]
                lanes += packed[base + states + states + torus[at + right]]
            lanes ^= np.uint64(0x8000800080008000)
            first[y * width + x] = np.int32(lanes & _LOW)
            second[y * width + x] = np.int32(lanes >> _32)


@kernel
def _settle(key, candidate, step, cell, states, logits, pitch, reach, temperature, gumbel, words):
    """Returns the next state of a cell that noise may decide: only states within `reach` of the best can win.

    Also returns how many these are, and the sum of their distances from the best.
    """
    best = logits[cell]
    for s in range(np.uint64(1), np.uint64(states)):
        best = max(best, logits[s * pitch + cell])
    winner = np.uint64(0)
    top = np.int64(-(2**62))
    blocks = np.uint64((states + 7) // 8)
    drawn = blocks
    close = np.int64(0)
    distances = np.int64(0)
    for s in range(np.uint64(states)):
        logit = np.int64(logits[s * pitch + cell])
        if logit + reach < best:
            continue
        close += 1
        distances += best - logit
        if s >> np.uint64(3) != drawn:
            drawn = s >> np.uint64(3)
            philox_block(key[0], key[1], _NOISE + step, candidate, cell * blocks + drawn, words, 0)
        logit += np.int64(gumbel[words[s & np.uint64(7)]]) * temperature >> GUMBEL_SHIFT
        if logit > top:
            top = logit
            winner = s
    return winner, close, distances


@kernel
def _steps(key, candidate, first_step, steps, states, shape, noise, counting, rule, scratch):
    """Runs `steps` steps on the grid in scratch, in place.

    Returns the entropy of all cells in the last steps, as many as `counting` says, in units of 1/2**24 nat.
    """
    bias, temperature, reach, gumbel = noise
    counted_steps, scale, exponentials, logarithms, pairs = counting
    entropy = np.int64(0)
    tables, packed, hidden_pairs, output_pairs = rule
    torus, grid, first_column, last_column, first, second, logits, close_cells, words = scratch
    pitch = np.uint64(len(first))
    height, width = shape
    cells = height * width
    for step in range(first_step, first_step + steps):
        _wrap_rows(torus, width, cells)
        if IN_REGISTERS and states <= BLOCK:
            for c in range(np.uint64(0), pitch, np.uint64(BLOCK)):
                simd.perceive(tables, torus, first_column, last_column, width, c, first, second)
        else:
            _perceive(packed, states, torus, height, width, first, second)
        for c in range(np.uint64(0), pitch, np.uint64(LANES)):
            if bias:
                close = simd.dense(
                    first, second, hidden_pairs, output_pairs, states, bias, reach, grid, c, pitch, logits
                )
            else:  # a bias known to be zero costs nothing
                close = simd.dense(
                    first, second, hidden_pairs, output_pairs, states, np.int32(0), reach, grid, c, pitch, logits
                )
            close_cells[c // np.uint64(LANES)] = close
        # In a separate loop: a branch on the result of `dense` would stall the pipeline for the next vectors.
        for vector in range(np.uint64(len(close_cells))):
            close = close_cells[vector]
            while close:
                cell = vector * np.uint64(LANES) + np.uint64(trailing_zeros(close))
                if cell < cells:
                    grid[cell], close_states, distances = _settle(
                        key, candidate, step, cell, states, logits, pitch, reach, temperature, gumbel, words
                    )
                    if step + counted_steps >= first_step + steps:
                        if close_states == 2:
                            entropy += pair_entropy(distances, scale, pairs)
                        else:
                            entropy += cell_entropy(cell, states, logits, pitch, reach, scale, exponentials, logarithms)
                close &= close - _ONE
    return entropy


@kernel
def rollout(key, candidates, rules, grids, states, shape, frame_steps, noise, counting, rule, scratch, recorded, sums):
    """Runs each candidate through its frames. frame_steps: (step of `grids`, steps before the first frame, steps
    between frames). shape: height and width. noise: (bias, temperature, reach, gumbel). counting: (steps before each
    frame whose entropy is added up in `sums`: int64[batch, frame], or 0; scale and the tables of `entropy`)."""
    perception, hidden, output = rules
    at, before, between = frame_steps
    grid = scratch[1]
    cells = shape[0] * shape[1]
    for b in range(len(candidates)):
        _load_rule(perception, hidden, output, b, rule[0], rule[1], rule[2], rule[3])
        for c in range(cells):
            grid[c] = grids[b, c]
        step = at + 1
        steps = before
        for frame in range(recorded.shape[1]):
            entropy = _steps(key, candidates[b], step, steps, states, shape, noise, counting, rule, scratch)
            if counting[0]:
                sums[b, frame] = entropy
            step += steps
            steps = between
            for c in range(cells):
                recorded[b, frame, c] = grid[c]


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
