"""The automaton of `definition`, fast: the same integers from numba kernels, about a hundred times sooner.

Three things make the speed. The arithmetic is 16-bit pairs in vector registers (`simd`). Noise is only drawn for
cells whose best logits are so close that it could change the winner: it is bounded, so leaving it out elsewhere is
exact. And a batch is one call, which holds no interpreter lock.

Functions take batches and say nothing of scores, bands or files. `tests/test_identity.py` compares them with the
definition bit for bit.
"""

from functools import cache

import numpy as np

from ncagen import philox
from ncagen.kernels import kernel, trailing_zeros
from ncagen.sources.nca import rules, simd
from ncagen.sources.nca.rules import (
    GUMBEL_SHIFT,
    HIDDEN_SCALE,
    HIDDEN_UNITS,
    NEIGHBOURS,
    OUTPUT_SCALE,
    PERCEPTION_CHANNELS,
    PERCEPTION_SCALE,
    Rules,
)
from ncagen.sources.nca.simd import BLOCK, IN_REGISTERS, LANES
from ncagen.spec import Spec

# Centres the four 16-bit channels that one 64-bit number carries, so that nine sums borrow from no neighbour:
# each weight is lifted by LIFT, the nine lifts and CENTRE are 2**15 together, and flipping the top bit ends it.
LIFT = 2 * 1819
CENTRE = 2**15 - NEIGHBOURS * LIFT

# Of cell-steps: a batch of the default spec is 512 candidates and takes about 25 ms, short enough to stop within.
BATCH_CELL_STEPS = 512 * 144 * 20
BATCH_LIMITS = 16, 512

_MULTIPLIER_0, _MULTIPLIER_1 = (np.uint64(m) for m in philox.MULTIPLIERS)
_WEYL_0, _WEYL_1 = (np.uint64(w) for w in philox.WEYL)
_ROUNDS = philox.ROUNDS
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


def sample(spec: Spec, stream: int, candidates: np.ndarray) -> tuple[Rules, np.ndarray]:
    """Rules and start grids, as `rules.sample_rules` and `rules.sample_starts` draw them.

    candidates: uint64[batch]. Returns Rules and uint8[batch, cell].
    """
    batch, inputs = len(candidates), spec.states + 2 * spec.channel_wrap
    drawn = Rules(
        np.empty((batch, 3, 3, spec.states, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, HIDDEN_UNITS, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, spec.states, HIDDEN_UNITS), np.int16),
    )
    longest = max(NEIGHBOURS * inputs * PERCEPTION_CHANNELS, spec.states * HIDDEN_UNITS, spec.cells)
    words = np.empty(longest + 8, np.uint16)
    numbers = candidates // np.uint64(spec.trajectories_per_rule)
    _sample_rules(spec.seed, stream, numbers, spec.channel_wrap, _weight_tables(), words, *_flat(drawn))
    starts = np.empty((batch, spec.cells), np.uint8)
    ends = np.empty(spec.states, np.uint64)
    uniform = spec.start == "uniform"
    _sample_starts(spec.seed, stream, candidates, spec.states, uniform, rules.start_table(), words, ends, starts)
    return drawn, starts


def rollout(
    spec: Spec,
    stream: int,
    candidates: np.ndarray,
    drawn: Rules,
    grids: np.ndarray,
    first_frame: int,
    frames: int,
) -> np.ndarray:
    """The recorded grids `first_frame` to `first_frame + frames - 1` of each candidate.

    candidates: uint64[batch]. grids: uint8[batch, cell], the start grids, or for first_frame > 0 the recorded grids
    just before. Returns uint8[batch, frame, cell].
    """
    states, side = spec.states, np.uint64(spec.grid)
    pitch = -(-spec.cells // BLOCK) * BLOCK
    rule = (
        _aligned(NEIGHBOURS * PERCEPTION_CHANNELS * BLOCK, np.int16),
        _aligned(NEIGHBOURS * states, np.uint64),
        _aligned(HIDDEN_UNITS * PERCEPTION_CHANNELS // 2, np.int32),
        _aligned(states * HIDDEN_UNITS // 2, np.int32),
    )
    torus = _aligned(BLOCK + pitch + 3 * spec.grid + BLOCK, np.uint16)  # its last vectors look one row further
    scratch = (
        torus,
        torus[BLOCK + spec.grid :],
        *_row_ends(spec.grid, pitch),
        *(_aligned(pitch, np.int32) for _ in range(2)),
        _aligned(states * pitch, np.int32),
        _aligned(pitch // LANES, np.uint64),
        _aligned(8, np.uint16),
    )
    gumbel = rules.gumbel_table()
    temperature = rules.logit_units(spec, spec.temperature)
    # The most that noise can gain on the best logit. Without any, no runner-up is close enough to look at.
    reach = (int(gumbel[-1]) * temperature >> GUMBEL_SHIFT) - (int(gumbel[0]) * temperature >> GUMBEL_SHIFT)
    noise = np.int32(rules.logit_units(spec, spec.identity_bias)), temperature, np.int32(reach or -1), gumbel
    at = spec.warmup + (first_frame - 1) * spec.stride if first_frame else 0
    before = spec.stride if first_frame else spec.warmup
    recorded = np.empty((len(candidates), frames, spec.cells), np.uint8)
    _rollout(
        (spec.seed, stream),
        candidates,
        _flat(drawn),
        np.ascontiguousarray(grids),
        states,
        side,
        (at, before, spec.stride),
        noise,
        rule,
        scratch,
        recorded,
    )
    return recorded


def batch_candidates(spec: Spec) -> int:
    """Candidates that a batch should have at most."""
    least, most = BATCH_LIMITS
    steps = spec.warmup + spec.stride * (spec.scored_frames - 1) + 1
    return min(most, max(least, BATCH_CELL_STEPS // (spec.cells * steps)))


def patch_tokens(spec: Spec, grids: np.ndarray) -> np.ndarray:
    """The patches of recorded grids, as `tokens.patch_tokens` reads them.

    grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch].
    """
    patches = np.empty((*grids.shape[:2], spec.patches), spec.token_dtype)
    cells = np.arange(spec.cells, dtype=np.uint64).reshape(spec.grid, spec.grid)
    side = spec.grid // spec.patch
    by_patch = cells.reshape(side, spec.patch, side, spec.patch).transpose(1, 3, 0, 2)
    order = np.ascontiguousarray(by_patch.reshape(spec.patch**2, spec.patches)[::-1])
    _patch_tokens(grids, np.uint32(spec.states), order, np.empty(spec.patches, np.uint32), patches)
    return patches


def tables() -> dict[str, np.ndarray]:
    """What the kernels draw from: perception, hidden and output as int16[65536], start and gumbel as int32[65536]."""
    weights = dict(zip(("perception", "hidden", "output"), _weight_tables(), strict=True))
    return weights | {"start": rules.start_table(), "gumbel": rules.gumbel_table()}


@cache
def _weight_tables() -> np.ndarray:
    """int16[layer, 65536]."""
    return np.stack([rules.weight_table(s) for s in (PERCEPTION_SCALE, HIDDEN_SCALE, OUTPUT_SCALE)])


def _row_ends(side: int, pitch: int) -> tuple[np.ndarray, np.ndarray]:
    """int16[pitch] twice: -1 at the first and at the last cell of each row."""
    column = np.arange(pitch) % side
    ends = _aligned(pitch, np.int16), _aligned(pitch, np.int16)
    ends[0][column == 0] = -1
    ends[1][column == side - 1] = -1
    return ends


def _flat(drawn: Rules) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights as int16[batch, place, state * channel], [batch, unit * channel], [batch, state * unit]."""
    batch = len(drawn.hidden)
    return (
        drawn.perception.reshape(batch, NEIGHBOURS, -1),
        drawn.hidden.reshape(batch, -1),
        drawn.output.reshape(batch, -1),
    )


def _aligned(count: int, dtype: type) -> np.ndarray:
    """Zeroed scratch space that starts on a 64-byte line.

    Unaligned, every other vector would straddle two lines: that cost a third of the time.
    """
    size = count * np.dtype(dtype).itemsize
    space = np.zeros(size + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size].view(dtype)


@kernel
def _philox(seed, stream, purpose, number, block, words, at):
    """Writes the eight 16-bit words of one block to words[at : at + 8]."""
    c0 = np.uint64(block)
    c1 = np.uint64(purpose)
    c2 = np.uint64(number) & _LOW
    c3 = np.uint64(number) >> _32
    k0 = np.uint64(seed)
    k1 = np.uint64(stream)
    for _ in range(_ROUNDS):
        left = c0 * _MULTIPLIER_0
        right = c2 * _MULTIPLIER_1
        c0 = (right >> _32) ^ c1 ^ k0
        c1 = right & _LOW
        c2 = (left >> _32) ^ c3 ^ k1
        c3 = left & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    at = np.uint64(at)
    words[at] = c0
    words[at + np.uint64(1)] = c0 >> _SIXTEEN
    words[at + np.uint64(2)] = c1
    words[at + np.uint64(3)] = c1 >> _SIXTEEN
    words[at + np.uint64(4)] = c2
    words[at + np.uint64(5)] = c2 >> _SIXTEEN
    words[at + np.uint64(6)] = c3
    words[at + np.uint64(7)] = c3 >> _SIXTEEN


@kernel
def _draw(seed, stream, purpose, number, count, words):
    """Fills the first `count` of words: uint16[count, and up to seven more]."""
    for at in range(np.uint64(0), np.uint64(count), np.uint64(8)):
        _philox(seed, stream, purpose, number, at >> np.uint64(3), words, at)


@kernel
def _sample_rules(seed, stream, numbers, wrap, tables, words, perception, hidden, output):
    """tables: int16[layer, 65536]. perception: int16[batch, place, state * channel], and so on."""
    batch, places, size = perception.shape
    size = np.uint64(size)
    around = np.uint64(PERCEPTION_CHANNELS if wrap else 0)
    inputs = size + around + around
    for b in range(batch):
        number = numbers[b]
        _draw(seed, stream, _PERCEPTION, number, places * inputs, words)
        for place in range(np.uint64(places)):
            at = place * inputs
            for i in range(size):
                perception[b, place, i] = tables[0, words[at + around + i]]
            for c in range(around):  # channel 0 is state n-1 again, the last is state 0: see rules.fold_wrap
                perception[b, place, size - around + c] += tables[0, words[at + c]]
                perception[b, place, c] += tables[0, words[at + around + size + c]]
        _draw(seed, stream, _HIDDEN, number, hidden.shape[1], words)
        for i in range(np.uint64(hidden.shape[1])):
            hidden[b, i] = tables[1, words[i]]
        _draw(seed, stream, _OUTPUT, number, output.shape[1], words)
        for i in range(np.uint64(output.shape[1])):
            output[b, i] = tables[2, words[i]]


@kernel
def _sample_starts(seed, stream, candidates, states, uniform, table, words, ends, starts):
    batch, cells = starts.shape
    for b in range(batch):
        total = np.uint64(states)
        if not uniform:
            _draw(seed, stream, _START_WEIGHTS, candidates[b], states, words)
            total = np.uint64(0)
            for s in range(np.uint64(states)):
                total += np.uint64(table[words[s]])
                ends[s] = total
        _draw(seed, stream, _START_CELLS, candidates[b], cells, words)
        for c in range(np.uint64(cells)):
            point = np.uint64(words[c]) * total >> _SIXTEEN
            state = point
            if not uniform:
                state = np.uint64(0)
                for s in range(np.uint64(states)):
                    state += np.uint64(point >= ends[s])
            starts[b, c] = state


@kernel
def _pair(low, high):
    """Two int16 as the halves of an int32."""
    return np.int32(np.uint32(np.uint16(low)) | (np.uint32(np.uint16(high)) << np.uint32(16)))


@kernel
def _load_rule(perception, hidden, output, b, tables, packed, hidden_pairs, output_pairs):
    """Rule b in the layouts that the steps read."""
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
def _wrap_rows(torus, side):
    """Repeats the grid's last row before its first and its first after its last. torus: as in `simd.perceive`."""
    top = np.uint64(BLOCK)
    rows = side * side
    for c in range(top, top + side):
        torus[c] = torus[c + rows]
        torus[c + rows + side] = torus[c + side]


@kernel
def _perceive(packed, states, torus, side, first, second):
    """What simd.perceive does, for any number of states and any processor: nine loads a cell, four channels each."""
    states = np.uint64(states)
    for y in range(side):
        for x in range(side):
            left = x - _ONE if x else side - _ONE
            right = x + _ONE if x + _ONE < side else np.uint64(0)
            lanes = np.uint64(CENTRE * 0x0001000100010001)
            for row in range(np.uint64(3)):
                at = np.uint64(BLOCK) + (y + row) * side
                base = np.uint64(3) * row * states
                lanes += packed[base + torus[at + left]]
                lanes += packed[base + states + torus[at + x]]
                lanes += packed[base + states + states + torus[at + right]]
            lanes ^= np.uint64(0x8000800080008000)
            first[y * side + x] = np.int32(lanes & _LOW)
            second[y * side + x] = np.int32(lanes >> _32)


@kernel
def _settle(key, candidate, step, cell, states, logits, pitch, reach, temperature, gumbel, words):
    """The next state of a cell that noise may decide: only states within `reach` of the best can win."""
    best = logits[cell]
    for s in range(np.uint64(1), np.uint64(states)):
        best = max(best, logits[s * pitch + cell])
    winner = np.uint64(0)
    top = np.int64(-(2**62))
    blocks = np.uint64((states + 7) // 8)
    drawn = blocks
    for s in range(np.uint64(states)):
        logit = np.int64(logits[s * pitch + cell])
        if logit + reach < best:
            continue
        if s >> np.uint64(3) != drawn:
            drawn = s >> np.uint64(3)
            _philox(key[0], key[1], _NOISE + step, candidate, cell * blocks + drawn, words, 0)
        logit += np.int64(gumbel[words[s & np.uint64(7)]]) * temperature >> GUMBEL_SHIFT
        if logit > top:
            top = logit
            winner = s
    return winner


@kernel
def _steps(key, candidate, first_step, steps, states, side, noise, rule, scratch):
    """Runs `steps` steps on the grid in scratch, in place."""
    bias, temperature, reach, gumbel = noise
    tables, packed, hidden_pairs, output_pairs = rule
    torus, grid, first_column, last_column, first, second, logits, close_cells, words = scratch
    pitch = np.uint64(len(first))
    for step in range(first_step, first_step + steps):
        _wrap_rows(torus, side)
        if IN_REGISTERS and states <= BLOCK:
            for c in range(np.uint64(0), pitch, np.uint64(BLOCK)):
                simd.perceive(tables, torus, first_column, last_column, side, c, first, second)
        else:
            _perceive(packed, states, torus, side, first, second)
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
        # Only now: a branch on what `dense` found would empty the pipeline of the next vectors' work.
        for vector in range(np.uint64(len(close_cells))):
            close = close_cells[vector]
            while close:
                cell = vector * np.uint64(LANES) + np.uint64(trailing_zeros(close))
                if cell < side * side:
                    grid[cell] = _settle(
                        key, candidate, step, cell, states, logits, pitch, reach, temperature, gumbel, words
                    )
                close &= close - _ONE


@kernel
def _rollout(key, candidates, rules, grids, states, side, frame_steps, noise, rule, scratch, recorded):
    """Runs each candidate through its frames. frame_steps: (step that `grids` stand at, steps before the first
    frame, steps between frames). noise: (bias, temperature, reach, gumbel)."""
    perception, hidden, output = rules
    at, before, between = frame_steps
    grid = scratch[1]
    for b in range(len(candidates)):
        _load_rule(perception, hidden, output, b, rule[0], rule[1], rule[2], rule[3])
        for c in range(side * side):
            grid[c] = grids[b, c]
        step = at + 1
        steps = before
        for frame in range(recorded.shape[1]):
            _steps(key, candidates[b], step, steps, states, side, noise, rule, scratch)
            step += steps
            steps = between
            for c in range(side * side):
                recorded[b, frame, c] = grid[c]


@kernel
def _patch_tokens(grids, states, order, digits, patches):
    """order: the cells of each patch, the highest digit first, as uint64[digit, patch]."""
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
