"""The kernels of `cpu`: random words, rules, start cells, steps and patch tokens, compiled by numba.

They allocate nothing and check nothing: `cpu` makes arrays of the right shapes. Arguments without an explanation here
are those of `definition`, in the layouts of `cpu`.
"""

import numpy as np

from ncagen import philox
from ncagen.kernels import kernel, trailing_zeros
from ncagen.philox_kernels import draw, philox_block
from ncagen.sources.nca import simd
from ncagen.sources.nca.entropy_kernels import cell_entropy, pair_entropy
from ncagen.sources.nca.rules import (
    CENTRE,
    GUMBEL_SHIFT,
    LIFT,
    NEIGHBOURS,
    PERCEPTION_CHANNELS,
)
from ncagen.sources.nca.simd import DIGITS
from ncagen.sources.nca.vectors import BLOCK, ENTRIES, GROUP, PARTS

_PERCEPTION, _HIDDEN, _OUTPUT, _START_WEIGHTS, _START_CELLS, _NOISE = (
    philox.PERCEPTION,
    philox.HIDDEN,
    philox.OUTPUT,
    philox.START_WEIGHTS,
    philox.START_CELLS,
    philox.NOISE,
)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)
IN_REGISTERS = PARTS > 0
MOST = PARTS * ENTRIES  # states of a table in registers


@kernel
def sample_rules(seed, stream, numbers, wrap, tables, words, perception, hidden, output):
    """Draws rules into perception, hidden and output, with the shapes of `cpu._flat`. tables: int16[layer, 65536]."""
    batch, places, size = perception.shape
    size = np.uint64(size)
    around = np.uint64(PERCEPTION_CHANNELS if wrap else 0)
    inputs = size + around + around
    for b in range(batch):
        number = numbers[b]
        draw(seed, stream, _PERCEPTION, number, places * inputs, words)
        for place in range(np.uint64(places)):
            at = place * inputs
            for i in range(size):
                perception[b, place, i] = tables[0, words[at + around + i]]
            for c in range(around):  # channel 0 is state n-1 again, the last is state 0: see rules.fold_wrap
                perception[b, place, size - around + c] += tables[0, words[at + c]]
                perception[b, place, c] += tables[0, words[at + around + size + c]]
        draw(seed, stream, _HIDDEN, number, hidden.shape[1], words)
        for i in range(np.uint64(hidden.shape[1])):
            hidden[b, i] = tables[1, words[i]]
        draw(seed, stream, _OUTPUT, number, output.shape[1], words)
        for i in range(np.uint64(output.shape[1])):
            output[b, i] = tables[2, words[i]]


@kernel
def sample_starts(seed, stream, candidates, states, uniform, table, words, ends, starts):
    batch, cells = starts.shape
    for b in range(batch):
        total = np.uint64(states)
        if not uniform:
            draw(seed, stream, _START_WEIGHTS, candidates[b], states, words)
            total = np.uint64(0)
            for s in range(np.uint64(states)):
                total += np.uint64(table[words[s]])
                ends[s] = total
        draw(seed, stream, _START_CELLS, candidates[b], cells, words)
        for c in range(np.uint64(cells)):
            point = np.uint64(words[c]) * total >> _SIXTEEN
            state = point
            if not uniform:
                state = np.uint64(0)
                for s in range(np.uint64(states)):
                    state += np.uint64(point >= ends[s])
            starts[b, c] = state


@kernel
def _load_rule(perception, b, states, tables, packed):
    """Copies the perception of rule b to the layout that the steps read: `simd.perceive`'s or `_perceive`'s."""
    parts = np.uint64(1 if states <= ENTRIES else 2)
    for place in range(np.uint64(NEIGHBOURS)):
        for s in range(np.uint64(states)):
            lanes = np.uint64(0)
            for c in range(np.uint64(PERCEPTION_CHANNELS)):
                weight = perception[b, place, s * np.uint64(PERCEPTION_CHANNELS) + c]
                if IN_REGISTERS and states <= MOST:
                    at = (place * np.uint64(PERCEPTION_CHANNELS) + c) * np.uint64(DIGITS) * parts * np.uint64(ENTRIES) + s
                    if DIGITS == 1:
                        tables[at] = weight
                    else:
                        tables[at] = weight & 15
                        tables[at + parts * np.uint64(ENTRIES)] = weight >> 4 & 15
                        tables[at + np.uint64(2) * parts * np.uint64(ENTRIES)] = weight >> 8
                else:
                    lanes |= np.uint64(weight + LIFT) << (_SIXTEEN * c)
            if not IN_REGISTERS or states > MOST:
                packed[place * np.uint64(states) + s] = lanes


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
                lanes += packed[base + np.uint64(torus[at + left])]
                lanes += packed[base + states + np.uint64(torus[at + x])]
                lanes += packed[base + states + states + np.uint64(torus[at + right])]
            lanes ^= np.uint64(0x8000800080008000)
            first[y * width + x] = np.int32(lanes & _LOW)
            second[y * width + x] = np.int32(lanes >> _32)


@kernel
def _settle(key, candidate, step, cell, states, logits, at, reach, temperature, gumbel, words):
    """Returns the next state of a cell that noise may decide: only states within `reach` of the best can win.

    Also returns how many these are, and the sum of their distances from the best. logits: int32[group, state, GROUP]
    and the index of the cell's first.
    """
    best = logits[at]
    for s in range(np.uint64(1), np.uint64(states)):
        best = max(best, logits[at + s * np.uint64(GROUP)])
    winner = np.uint64(0)
    top = np.int64(-(2**62))
    blocks = np.uint64((states + 7) // 8)
    drawn = blocks
    close = np.int64(0)
    distances = np.int64(0)
    for s in range(np.uint64(states)):
        logit = np.int64(logits[at + s * np.uint64(GROUP)])
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
def _settle_group(key, candidate, step, first, close, cells, states, logits, at, noise, counting, counted, grid, words):
    """Settles the cells whose bit is set in `close`, of a group that begins with cell `first`. Returns their entropy."""
    _, temperature, reach, gumbel = noise
    _, scale, exponentials, logarithms, pairs = counting
    entropy = np.int64(0)
    while close:
        lane = np.uint64(trailing_zeros(close))
        close &= close - _ONE
        cell = first + lane
        if cell >= cells:
            break
        grid[cell], close_states, distances = _settle(
            key, candidate, step, cell, states, logits, at + lane, reach, temperature, gumbel, words
        )
        if counted:
            if close_states == 2:
                entropy += pair_entropy(distances, scale, pairs)
            else:
                entropy += cell_entropy(at + lane, states, logits, GROUP, reach, scale, exponentials, logarithms)
    return entropy


@kernel
def _steps(key, candidate, first_step, steps, states, shape, noise, counting, rule, scratch):
    """Runs `steps` steps on the grid in scratch, in place.

    Returns the entropy of all cells in the last steps, as many as `counting` says, in units of 1/2**24 nat.
    """
    bias, _, reach, _ = noise
    entropy = np.int64(0)
    tables, packed, hidden, output = rule
    torus, grid, first_column, last_column, first, second, logits, close, words = scratch
    height, width = shape
    cells = height * width
    states = np.uint64(states)
    groups = (cells + np.uint64(GROUP - 1)) // np.uint64(GROUP)
    chunk = np.uint64(len(close))
    for step in range(first_step, first_step + steps):
        counted = step + counting[0] >= first_step + steps
        _wrap_rows(torus, width, cells)
        if IN_REGISTERS and states <= ENTRIES:
            for c in range(np.uint64(0), cells, np.uint64(BLOCK)):
                simd.perceive(tables, torus, first_column, last_column, width, c, first, second)
        elif IN_REGISTERS and states <= MOST:
            for c in range(np.uint64(0), cells, np.uint64(BLOCK)):
                simd.perceive_two(tables, torus, first_column, last_column, width, c, first, second)
        else:
            _perceive(packed, states, torus, height, width, first, second)
        for begun in range(np.uint64(0), groups, chunk):
            ended = min(begun + chunk, groups)
            for g in range(begun, ended):
                c = g * np.uint64(GROUP)
                if bias:
                    close[g - begun] = simd.dense(
                        first, second, hidden, output, states, bias, reach, grid, c, logits, g - begun
                    )
                else:  # a bias known to be zero costs nothing
                    close[g - begun] = simd.dense(
                        first, second, hidden, output, states, np.int32(0), reach, grid, c, logits, g - begun
                    )
            # In a separate loop: a branch on the result of `dense` would stall the pipeline for the next vectors.
            for g in range(begun, ended):
                if close[g - begun]:
                    at = (g - begun) * states * np.uint64(GROUP)
                    entropy += _settle_group(
                        key,
                        candidate,
                        step,
                        g * np.uint64(GROUP),
                        close[g - begun],
                        cells,
                        states,
                        logits,
                        at,
                        noise,
                        counting,
                        counted,
                        grid,
                        words,
                    )
    return entropy


@kernel
def rollout(key, candidates, rules, grids, states, shape, frame_steps, noise, counting, rule, scratch, recorded, sums):
    """Runs each candidate through its frames. frame_steps: (step of `grids`, steps before the first frame, steps
    between frames). shape: height and width. noise: (bias, temperature, reach, gumbel). counting: (steps before each
    frame whose entropy is added up in `sums`: int64[batch, frame], or 0; scale and the tables of `entropy`)."""
    perception, hidden, output = rules
    tables, packed = rule
    at, before, between = frame_steps
    grid = scratch[1]
    cells = shape[0] * shape[1]
    for b in range(len(candidates)):
        _load_rule(perception, b, states, tables, packed)
        each = tables, packed, hidden[b], output[b]
        for c in range(cells):
            grid[c] = grids[b, c]
        step = at + 1
        steps = before
        for frame in range(recorded.shape[1]):
            entropy = _steps(key, candidates[b], step, steps, states, shape, noise, counting, each, scratch)
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
