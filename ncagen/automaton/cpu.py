"""The automaton of `definition`, fast: the same integers from numba kernels, about a hundred times sooner.

Three things make the speed. The arithmetic is 16-bit pairs in vector registers (`simd`). Noise is only drawn for
cells whose best logits are so close that it could change the winner: it is bounded, so leaving it out elsewhere is
exact. And a batch is one call, which holds no interpreter lock.

Functions take batches and say nothing of scores, bands or files. `tests/test_identity.py` compares them with the
definition bit for bit.
"""

import numpy as np

from ncagen.automaton import rng, rules, simd
from ncagen.automaton.rules import (
    GUMBEL_SCALE,
    HIDDEN_SCALE,
    HIDDEN_UNITS,
    NEIGHBOURS,
    OUTPUT_SCALE,
    PERCEPTION_CHANNELS,
    PERCEPTION_SCALE,
    Rules,
)
from ncagen.automaton.simd import BLOCK, HAS_PERCEIVE, LANES, PERCEIVE_STATES
from ncagen.kernels import kernel
from ncagen.spec import Spec

# Centres the four 16-bit channels that one 64-bit number carries, so that nine sums borrow from no neighbour:
# each weight is lifted by LIFT, the nine lifts and CENTRE are 2**15 together, and flipping the top bit ends it.
LIFT = 2 * 1819
CENTRE = 2**15 - NEIGHBOURS * LIFT

_MULTIPLIER_0, _MULTIPLIER_1 = (np.uint64(m) for m in rng.MULTIPLIERS)
_WEYL_0, _WEYL_1 = (np.uint64(w) for w in rng.WEYL)
_ROUNDS = rng.ROUNDS
_PERCEPTION, _HIDDEN, _OUTPUT, _START_WEIGHTS, _START_CELLS, _NOISE = (
    rng.PERCEPTION,
    rng.HIDDEN,
    rng.OUTPUT,
    rng.START_WEIGHTS,
    rng.START_CELLS,
    rng.NOISE,
)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)


def sample(spec: Spec, stream: int, candidates: np.ndarray) -> tuple[Rules, np.ndarray]:
    """Rules and start grids, as `rules.sample_rules` and `rules.sample_starts` draw them.

    candidates: uint64[batch]. Returns Rules and uint8[batch, cell].
    """
    batch = len(candidates)
    drawn = Rules(
        np.empty((batch, 3, 3, spec.states, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, HIDDEN_UNITS, PERCEPTION_CHANNELS), np.int16),
        np.empty((batch, spec.states, HIDDEN_UNITS), np.int16),
    )
    starts = np.empty((batch, spec.cells), np.uint8)
    scales = PERCEPTION_SCALE, HIDDEN_SCALE, OUTPUT_SCALE
    _sample_rules(
        spec.seed,
        stream,
        candidates // np.uint64(spec.trajectories_per_rule),
        spec.channel_wrap,
        *(rules.weight_table(scale) for scale in scales),
        drawn.perception.reshape(batch, NEIGHBOURS, spec.states, PERCEPTION_CHANNELS),
        drawn.hidden,
        drawn.output,
    )
    uniform = spec.start == "uniform"
    _sample_starts(spec.seed, stream, candidates, spec.states, uniform, rules.start_table(), starts)
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
    batch = len(candidates)
    recorded = np.empty((batch, frames, spec.cells), np.uint8)
    temperature = rules.logit_units(spec, spec.temperature)
    _rollout(
        spec.seed,
        stream,
        candidates,
        drawn.perception.reshape(batch, NEIGHBOURS, spec.states, PERCEPTION_CHANNELS),
        drawn.hidden,
        drawn.output,
        grids,
        spec.grid,
        spec.warmup,
        spec.stride,
        first_frame,
        rules.logit_units(spec, spec.identity_bias),
        temperature,
        rules.gumbel_table(),
        recorded,
    )
    return recorded


def patch_tokens(spec: Spec, grids: np.ndarray) -> np.ndarray:
    """The patches of recorded grids, as `tokens.patch_tokens` reads them.

    grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch].
    """
    patches = np.empty((*grids.shape[:2], spec.patches), spec.token_dtype)
    _patch_tokens(grids, spec.grid, spec.patch, spec.states, patches)
    return patches


@kernel
def _philox(seed, stream, purpose, number, block, words):
    """Writes the eight 16-bit words of one block."""
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
    words[0] = c0
    words[1] = c0 >> _SIXTEEN
    words[2] = c1
    words[3] = c1 >> _SIXTEEN
    words[4] = c2
    words[5] = c2 >> _SIXTEEN
    words[6] = c3
    words[7] = c3 >> _SIXTEEN


@kernel
def _draw(seed, stream, purpose, number, words):
    """Fills words: uint16[a multiple of 8]."""
    for block in range(len(words) // 8):
        _philox(seed, stream, purpose, number, block, words[8 * block : 8 * block + 8])


@kernel
def _sample_rules(
    seed, stream, numbers, wrap, perception_table, hidden_table, output_table, perception, hidden, output
):
    batch, places, states, channels = perception.shape
    inputs = states + 2 if wrap else states
    words = np.empty((max(places * inputs * channels, HIDDEN_UNITS * states) + 7) // 8 * 8, np.uint16)
    for b in range(batch):
        number = numbers[b]
        count = (places * inputs * channels + 7) // 8 * 8
        _draw(seed, stream, _PERCEPTION, number, words[:count])
        at = 0
        for place in range(places):
            if wrap:  # channel 0 is state n-1 again, the last is state 0: see rules.fold_wrap
                last = at + channels * (states + 1)
                for s in range(states):
                    for c in range(channels):
                        perception[b, place, s, c] = perception_table[words[at + channels * (s + 1) + c]]
                for c in range(channels):
                    perception[b, place, states - 1, c] += perception_table[words[at + c]]
                    perception[b, place, 0, c] += perception_table[words[last + c]]
            else:
                for s in range(states):
                    for c in range(channels):
                        perception[b, place, s, c] = perception_table[words[at + channels * s + c]]
            at += channels * inputs
        _draw(seed, stream, _HIDDEN, number, words[: HIDDEN_UNITS * channels])
        for j in range(HIDDEN_UNITS):
            for c in range(channels):
                hidden[b, j, c] = hidden_table[words[j * channels + c]]
        _draw(seed, stream, _OUTPUT, number, words[: HIDDEN_UNITS * states])
        for s in range(states):
            for j in range(HIDDEN_UNITS):
                output[b, s, j] = output_table[words[s * HIDDEN_UNITS + j]]


@kernel
def _sample_starts(seed, stream, candidates, states, uniform, table, starts):
    batch, cells = starts.shape
    words = np.empty((max(cells, states) + 7) // 8 * 8, np.uint16)
    ends = np.empty(states, np.uint64)
    for b in range(batch):
        total = np.uint64(0)
        if uniform:
            total = np.uint64(states)
        else:
            _draw(seed, stream, _START_WEIGHTS, candidates[b], words[: (states + 7) // 8 * 8])
            for s in range(states):
                total += np.uint64(table[words[s]])
                ends[s] = total
        _draw(seed, stream, _START_CELLS, candidates[b], words[: (cells + 7) // 8 * 8])
        for c in range(cells):
            point = np.uint64(words[c]) * total >> _SIXTEEN
            if uniform:
                starts[b, c] = point
            else:
                state = 0
                for s in range(states):
                    state += point >= ends[s]
                starts[b, c] = state


@kernel
def _pair(low, high):
    """Two int16 as the halves of an int32."""
    return np.int32(np.uint32(np.uint16(low)) | (np.uint32(np.uint16(high)) << np.uint32(16)))


@kernel
def _aligned(bytes_wanted):
    """Scratch space that starts on a 64-byte line and ends BLOCK bytes late, for whole vectors past the end.

    Unaligned, every other vector would straddle two lines: that cost a third of the time.
    """
    space = np.zeros(bytes_wanted + 192, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + (bytes_wanted + 127) // 64 * 64]


@kernel
def _load_rule(perception, hidden, output, tables, packed, hidden_pairs, output_pairs):
    """One rule in the layouts that the kernels read."""
    places, states, channels = perception.shape
    in_registers = HAS_PERCEIVE and states <= PERCEIVE_STATES
    for place in range(places):
        for s in range(states):
            if in_registers:
                for c in range(channels):
                    tables[(place * channels + c) * BLOCK + s] = perception[place, s, c]
            else:
                lanes = np.uint64(0)
                for c in range(channels):
                    lanes |= np.uint64(perception[place, s, c] + LIFT) << np.uint64(16 * c)
                packed[place * states + s] = lanes
    for j in range(HIDDEN_UNITS):
        for i in range(channels // 2):
            hidden_pairs[j * (channels // 2) + i] = _pair(hidden[j, 2 * i], hidden[j, 2 * i + 1])
    for s in range(states):
        for i in range(HIDDEN_UNITS // 2):
            output_pairs[s * (HIDDEN_UNITS // 2) + i] = _pair(output[s, 2 * i], output[s, 2 * i + 1])


@kernel
def _unroll_torus(grid, side, left, middle, right):
    """The grid with its wrapped rows, three times: shifted so that a cell's place holds its left neighbour, itself,
    its right neighbour. grid: uint8[cell]. left, middle, right: uint16[(side + 2) * side, and padding]."""
    side = np.uint64(side)
    cells = side * side
    for c in range(cells):
        middle[side + c] = grid[c]
    for c in range(side):
        middle[c] = grid[cells - side + c]
        middle[side + cells + c] = grid[c]
    end = cells + side + side - _ONE
    for c in range(end):
        left[c + _ONE] = middle[c]
        right[c] = middle[c + _ONE]
    for row in range(side + np.uint64(2)):
        first = row * side
        last = first + side - _ONE
        left[first] = middle[last]
        right[last] = middle[first]


@kernel
def _perceive_by_lookup(packed, left, middle, right, side, states, first, second):
    """What simd.perceive does, for any number of states and any processor: nine loads a cell, four channels each."""
    side = np.uint64(side)
    states = np.uint64(states)
    centre = np.uint64(CENTRE * 0x0001000100010001)
    for c in range(side * side):
        lanes = centre
        for row in range(np.uint64(3)):
            at = c + row * side
            base = np.uint64(3) * row * states
            lanes += packed[base + left[at]]
            lanes += packed[base + states + middle[at]]
            lanes += packed[base + states + states + right[at]]
        lanes ^= np.uint64(0x8000800080008000)
        first[c] = np.int32(lanes & _LOW)
        second[c] = np.int32(lanes >> _32)


@kernel
def _perceive_in_registers(tables, left, middle, right, side, first, second):
    if HAS_PERCEIVE:
        for c in range(0, side * side, BLOCK):
            simd.perceive(tables, left, middle, right, side, c, first, second)


@kernel
def _settle(seed, stream, candidate, step, cell, states, logits, pitch, reach, temperature, gumbel, words):
    """The next state of a cell that noise may decide: only states within `reach` of the best can win."""
    best = logits[cell]
    for s in range(1, states):
        best = max(best, logits[s * pitch + cell])
    winner = 0
    top = np.int64(-(2**62))
    drawn = -1
    blocks = (states + 7) // 8
    for s in range(states):
        logit = np.int64(logits[s * pitch + cell])
        if logit + reach < best:
            continue
        if s // 8 != drawn:
            drawn = s // 8
            _philox(seed, stream, _NOISE + step, candidate, cell * blocks + drawn, words)
        logit += np.int64(gumbel[words[s % 8]]) * temperature // GUMBEL_SCALE
        if logit > top:
            top = logit
            winner = s
    return winner


@kernel
def _rollout(
    seed,
    stream,
    candidates,
    perception,
    hidden,
    output,
    grids,
    side,
    warmup,
    stride,
    first_frame,
    bias,
    temperature,
    gumbel,
    recorded,
):
    batch, frames, cells = recorded.shape
    states = output.shape[1]
    pitch = (cells + BLOCK - 1) // BLOCK * BLOCK
    padded = cells + 2 * side + BLOCK
    tables = _aligned(NEIGHBOURS * PERCEPTION_CHANNELS * BLOCK * 2).view(np.int16)
    packed = np.empty(NEIGHBOURS * states, np.uint64)
    hidden_pairs = _aligned(HIDDEN_UNITS * 2 * 4).view(np.int32)
    output_pairs = _aligned(states * HIDDEN_UNITS * 2).view(np.int32)
    left = _aligned(padded * 2).view(np.uint16)
    middle = _aligned(padded * 2).view(np.uint16)
    right = _aligned(padded * 2).view(np.uint16)
    first = _aligned(pitch * 4).view(np.int32)
    second = _aligned(pitch * 4).view(np.int32)
    logits = _aligned(states * pitch * 4).view(np.int32)
    grid = _aligned(pitch)
    winners = _aligned(pitch)
    words = np.empty(8, np.uint16)
    # The most that noise can gain on the best: beyond it, equals included, the winner stays.
    reach = (
        np.int64(gumbel[len(gumbel) - 1]) * temperature // GUMBEL_SCALE
        - np.int64(gumbel[0]) * temperature // GUMBEL_SCALE
    )
    if temperature == 0:
        reach = -1
    for b in range(batch):
        _load_rule(perception[b], hidden[b], output[b], tables, packed, hidden_pairs, output_pairs)
        for c in range(cells):
            grid[c] = grids[b, c]
        step = warmup + (first_frame - 1) * stride if first_frame > 0 else 0
        for frame in range(frames):
            while step < warmup + (first_frame + frame) * stride:
                step += 1
                _unroll_torus(grid, side, left, middle, right)
                if HAS_PERCEIVE and states <= PERCEIVE_STATES:
                    _perceive_in_registers(tables, left, middle, right, side, first, second)
                else:
                    _perceive_by_lookup(packed, left, middle, right, side, states, first, second)
                for c in range(0, pitch, LANES):
                    close = simd.dense(
                        first,
                        second,
                        hidden_pairs,
                        output_pairs,
                        states,
                        np.int32(bias),
                        np.int32(reach),
                        grid,
                        c,
                        pitch,
                        logits,
                        winners,
                    )
                    cell = c
                    while close:
                        if close & _ONE and cell < cells:
                            winners[cell] = _settle(
                                seed,
                                stream,
                                candidates[b],
                                step,
                                cell,
                                states,
                                logits,
                                pitch,
                                reach,
                                temperature,
                                gumbel,
                                words,
                            )
                        close >>= _ONE
                        cell += 1
                grid, winners = winners, grid
            for c in range(cells):
                recorded[b, frame, c] = grid[c]


@kernel
def _patch_tokens(grids, side, patch, states, patches):
    batch, frames, _ = grids.shape
    across = side // patch
    for b in range(batch):
        for f in range(frames):
            for y in range(across):
                for x in range(across):
                    token = np.uint32(0)
                    for row in range(patch - 1, -1, -1):
                        for column in range(patch - 1, -1, -1):
                            cell = (y * patch + row) * side + x * patch + column
                            token = token * np.uint32(states) + np.uint32(grids[b, f, cell])
                    patches[b, f, y * across + x] = token
