"""The kernels of `cpu`: random words, rules, start cells, steps and patch tokens, compiled by numba.

They allocate nothing and check nothing: `cpu` makes arrays of the right shapes. Arguments without an explanation here
are those of `definition`, in the layouts of `cpu`.
"""

import numpy as np

from ncagen import philox
from ncagen.kernels import inlined, kernel, trailing_zeros
from ncagen.philox_kernels import draw, philox_block
from ncagen.sources.nca import simd
from ncagen.sources.nca.entropy_kernels import cell_entropy, pair_entropy
from ncagen.sources.nca.rules import (
    CENTRE,
    GUMBEL_SHIFT,
    HIDDEN_UNITS,
    LIFT,
    MOST_UNIT,
    NEIGHBOURS,
    PERCEPTION_CHANNELS,
)
from ncagen.sources.nca.simd import DIGITS, INEXACT
from ncagen.sources.nca.vectors import BLOCK, COPIES, ENTRIES, GROUP, LANES, PARTS

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
WORD = 64 - 64 % GROUP  # cells whose bits are kept in 64 bits


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


@inlined
def _load_tables(perception, b, states, padded, tables):
    """Copies the perception of rule b to the layout of `simd.perceive`. padded: int16[state, channel], for entries."""
    entries = np.uint64(ENTRIES if states <= ENTRIES else 2 * ENTRIES)
    channels = np.uint64(PERCEPTION_CHANNELS)
    at = np.uint64(0)
    for place in range(np.uint64(NEIGHBOURS)):
        for i in range(np.uint64(states) * channels):
            padded[i] = perception[b, place, i]
        for c in range(channels):
            for s in range(entries):
                tables[at + s] = padded[s * channels + c]
            at += entries
            if DIGITS == 2:
                for s in range(entries):
                    tables[at + s] = padded[s * channels + c] >> 8
                at += entries


@inlined
def _pack_rule(perception, b, states, packed):
    """Copies the perception of rule b to the layout of `_perceive`."""
    states = np.uint64(states)
    for place in range(np.uint64(NEIGHBOURS)):
        for s in range(states):
            lanes = np.uint64(0)
            for c in range(np.uint64(PERCEPTION_CHANNELS)):
                weight = perception[b, place, s * np.uint64(PERCEPTION_CHANNELS) + c]
                lanes |= np.uint64(weight + LIFT) << (_SIXTEEN * c)
            packed[place * states + s] = lanes


@inlined
def _relative_weights(output, b, bias, differences):
    """Copies rule b's weights of the output layer, those of state 0 subtracted: one logit less to compute.

    Returns 1, or 0 where a difference of logits might not fit 32 bits, and the weights are copied as they are.
    """
    most = np.int64(0)
    for s in range(np.uint64(HIDDEN_UNITS), np.uint64(len(differences)), np.uint64(HIDDEN_UNITS)):
        total = np.int32(0)
        for i in range(np.uint64(HIDDEN_UNITS)):
            difference = np.int32(output[b, s + i]) - np.int32(output[b, i])
            differences[s + i] = difference
            total += abs(difference)
        most = max(most, np.int64(total))
    if most * MOST_UNIT + abs(np.int64(bias)) < 2**31:
        return np.uint64(1)
    for i in range(np.uint64(len(differences))):
        differences[i] = output[b, i]
    return np.uint64(0)


@inlined
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


@inlined
def _settle(key, candidate, step, cell, states, logits, noise, words):
    """Returns the next state of a cell that noise may decide: only states within reach of the best can win.

    Also returns how many these are, and the sum of their distances from the best. logits: int32[state * GROUP], which
    begins with the cell's.
    """
    _, temperature, reach, gumbel = noise
    blocks = (states + np.uint64(7)) >> np.uint64(3)
    best = logits[0]
    for s in range(_ONE, states):
        best = max(best, logits[s * np.uint64(GROUP)])
    least = best - reach
    winner = np.uint64(0)
    top = np.int64(-(2**62))
    count = np.int64(0)
    distances = np.int64(0)
    for block in range(blocks):
        first = block << np.uint64(3)
        within = np.uint64(0)
        for i in range(min(np.uint64(8), states - first)):
            within |= np.uint64(logits[(first + i) * np.uint64(GROUP)] >= least) << i
        if within:
            philox_block(key[0], key[1], _NOISE + step, candidate, cell * blocks + block, words, 0)
        while within:
            i = np.uint64(trailing_zeros(within))
            within &= within - _ONE
            logit = np.int64(logits[(first + i) * np.uint64(GROUP)])
            count += 1
            distances += best - logit
            logit += np.int64(gumbel[words[i]]) * temperature >> GUMBEL_SHIFT
            winner = first + i if logit > top else winner
            top = max(logit, top)
    return winner, count, distances


@inlined
def _settle_word(key, candidate, step, first, close, states, logits, noise, counting, counted, grid, words):
    """Settles the cells whose bit is set in `close`, of WORD cells from `first`. Returns their entropy."""
    _, scale, exponentials, logarithms, pairs = counting
    entropy = np.int64(0)
    while close:
        bit = np.uint64(trailing_zeros(close))
        close &= close - _ONE
        lane = bit % np.uint64(GROUP)
        cell = logits[(bit - lane) * states + lane :]
        grid[first + bit], count, distances = _settle(
            key, candidate, step, first + bit, states, cell, noise, words
        )
        if counted:
            if count == 2:
                entropy += pair_entropy(distances, scale, pairs)
            else:
                entropy += cell_entropy(cell, states, GROUP, noise[2], scale, exponentials, logarithms)
    return entropy


@inlined
def _perceive_all(rule, states, shape, scratch):
    """Perception of all cells of the grid."""
    tables, _, packed, _, _, _ = rule
    torus, _, first_column, last_column, first, second, units = scratch
    height, width = shape
    cells = height * width
    if IN_REGISTERS and states <= ENTRIES:
        for c in range(np.uint64(0), cells, np.uint64(BLOCK)):
            simd.perceive(tables, torus, first_column, last_column, width, c, first, second)
    elif IN_REGISTERS and states <= MOST:
        for c in range(np.uint64(0), cells, np.uint64(BLOCK)):
            simd.perceive_two(tables, torus, first_column, last_column, width, c, first, second)
    else:
        _perceive(packed, states, torus, height, width, first, second)


@inlined
def _dense_word(rule, states, bias, reach, scratch, begun, ended, logits):
    """Runs `simd.dense` on the cells from `begun` to `ended`, at most WORD. Returns the bit mask of the close ones."""
    hidden, output, start, numbers = rule
    _, grid, _, _, first, second, units = scratch
    close = np.uint64(0)
    if bias:
        for c in range(begun, ended, np.uint64(GROUP)):
            at = c - begun
            found = simd.best_states(units, output, start, states, bias, reach, grid, c, numbers, logits, at)
            close |= found << at
    else:  # a bias known to be zero costs nothing
        for c in range(begun, ended, np.uint64(GROUP)):
            at, none = c - begun, np.int32(0)
            found = simd.best_states(units, output, start, states, none, reach, grid, c, numbers, logits, at)
            close |= found << at
    if ended - begun < np.uint64(64):  # the last group may end beyond the grid
        close &= (_ONE << (ended - begun)) - _ONE
    return close


@inlined
def _steps(key, candidate, first_step, steps, states, shape, noise, counting, tables, weights, scratch, settling):
    """Runs `steps` steps on the grid in scratch, in place.

    Returns the entropy of all cells in the last steps, as many as `counting` says, in units of 1/2**24 nat.
    """
    bias, _, reach, _ = noise
    reach = np.int32(reach + INEXACT)
    logits, words = settling
    height, width = shape
    cells = height * width
    word = np.uint64(WORD)
    entropy = np.int64(0)
    for step in range(first_step, first_step + steps):
        counted = step + counting[0] >= first_step + steps
        _wrap_rows(scratch[0], width, cells)
        _perceive_all(tables, states, shape, scratch)
        for c in range(np.uint64(0), cells, np.uint64(LANES)):
            simd.hidden_units(scratch[4], scratch[5], weights[0], c, scratch[6])
        close = np.uint64(0)
        # Close cells are settled a word later: a branch on new results of `dense` would stall its successors.
        for begun in range(np.uint64(0), cells + word, word):
            before, close = close, np.uint64(0)
            odd = begun // word & _ONE
            if begun < cells:
                close = _dense_word(
                    weights, states, bias, reach, scratch, begun, min(begun + word, cells), logits[odd]
                )
            if before:
                entropy += _settle_word(
                    key,
                    candidate,
                    step,
                    begun - word,
                    before,
                    states,
                    logits[_ONE - odd],
                    noise,
                    counting,
                    counted,
                    scratch[1],
                    words,
                )
    return entropy


@kernel
def rollout(
    key, candidates, rules, grids, states, shape, frame_steps, noise, counting, rule, scratch, settling, recorded, sums
):
    """Runs each candidate through its frames. frame_steps: (step of `grids`, steps before the first frame, steps
    between frames). shape: height and width. noise: (bias, temperature, reach, gumbel). counting: (steps before each
    frame whose entropy is added up in `sums`: int64[batch, frame], or 0; scale and the tables of `entropy`)."""
    perception, hidden, output, numbers = rules
    tables, padded, packed, copies, differences, difference_pairs = rule
    at, before, between = frame_steps
    grid = scratch[1]
    cells = shape[0] * shape[1]
    states = np.uint64(states)
    for b in range(len(candidates)):
        if states <= MOST:
            _load_tables(perception, b, states, padded, tables)
        else:
            _pack_rule(perception, b, states, packed)
        start = _relative_weights(output, b, noise[0], differences)
        for i in range(np.uint64(len(copies))):
            copies[i] = hidden[b, i // np.uint64(COPIES)]
        weights = copies, difference_pairs, start, numbers
        for c in range(cells):
            grid[c] = grids[b, c]
        step = at + 1
        steps = before
        for frame in range(recorded.shape[1]):
            entropy = _steps(
                key, candidates[b], step, steps, states, shape, noise, counting, rule, weights, scratch, settling
            )
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
