"""The tensor operations of `gpu`: rules in the layouts that a step reads, the step, and random bits.

All numbers are exact. Weights, states and random bits are integers. The two dense layers are float64 matrix products:
every sum is an integer below 2**31 (`rules`), times 256 where it becomes a key, so it fits 53 bits in any order of
summation. TF32 and other short formats are not used: torch uses them for float32 only, which does not occur here. A
state is chosen by one key, `state - 256 * logit`: the least key has the largest logit and, among equals, the lowest
state, so the order of an argmax does not matter. Philox multiplies in int64, which wraps: the product of two 32-bit
words is exact modulo 2**64.

Memory traffic takes most of a step's time: 1.2 KB a cell at the default settings (144 cells of ten states).

    states of the neighbours, from a torus with its edges repeated    19 bytes a cell
    nine weights of four 16-bit channels each, and their sum         168
    the channels as float64                                           40
    16 hidden sums, their whole parts, the units                     480
    ten keys                                                         230
    the least key, its state, and the mask of cells with close keys  254

That is 170 KB and 67,000 floating-point operations for each step of a candidate: 57 ns at 3 TB/s. Noise is drawn only
for cells that it may decide (see `cpu`); the host waits once in a step, for the list of these cells.

This module reads 64-bit numbers as halves, the low one first: it assumes a little-endian host, as CUDA does. Not
covered: streams, and copies between host and device (`gpu`).
"""

from typing import Any, NamedTuple

import torch

from ncagen import philox
from ncagen.sources.nca import rules
from ncagen.sources.nca.rules import CENTRE, HIDDEN_SHIFT, HIDDEN_UNITS, LIFT
from ncagen.sources.nca.settings import Settings

Tensor = torch.Tensor

KEY = 256  # keys of neighbouring logits are this far apart: states are fewer


class Network(NamedTuple):
    """A batch of rules in the layouts that a step reads.

    perception: int64[batch, 3, 3, state, column], four lifted channels each, the same for every column of the grid.
    hidden: float64[batch, unit, channel], over 2**16. output: float64[batch, state, unit + 1], times -KEY; its last
    unit is 1, with the state itself as weight. bias: float64[batch, 1, cell], what the identity bias adds to the key of
    a cell's own state, or None.
    """

    perception: Tensor
    hidden: Tensor
    output: Tensor
    bias: Tensor | None


class Scratch(NamedTuple):
    """Buffers for the results of a step.

    torus: int64[position], the cells of a grid with its edges repeated around it. zero: int16. perception:
    float64[batch, cell, channel]. sums: float64[batch, unit, cell]. short: int16[batch, unit, cell]. units:
    float64[batch, unit + 1, cell], the last one 1. keys: float64[batch, state, cell].
    """

    torus: Tensor
    zero: Tensor
    perception: Tensor
    sums: Tensor
    short: Tensor
    units: Tensor
    keys: Tensor


class Generator(NamedTuple):
    """Philox under one key. multipliers: int64[2, 2], the pair twice. round_keys: int32[round, 2]."""

    multipliers: Tensor
    round_keys: Tensor


class Noise(NamedTuple):
    """The inputs for drawing the noise of a step.

    numbers: int32[batch, 2], the candidates' low and high words. table: float64[65536], a word's noise in keys. reach:
    how far above the least key one may be that wins with noise.
    """

    generator: Generator
    numbers: Tensor
    table: Tensor
    reach: int


def noise_blocks(settings: Settings) -> int:
    """Returns the number of noise blocks of a cell."""
    return -(-settings.states // 8)


def fold_wrap(wrapped: Any) -> Any:
    """Does the same as `rules.fold_wrap`, for tensors of the same shapes."""
    folded = wrapped[..., 1:-1, :].clone()
    folded[..., -1, :] += wrapped[..., 0, :]
    folded[..., 0, :] += wrapped[..., -1, :]
    return folded


def network_of(settings: Settings, drawn: Any) -> Network:
    """Converts rules to the layouts that a step reads. drawn: Rules of tensors, with the shapes of `rules.Rules`."""
    lifted = drawn.perception + LIFT
    lifted[:, 1, 1] += CENTRE
    output = torch.empty((*drawn.output.shape[:2], HIDDEN_UNITS + 1), dtype=torch.float64, device=lifted.device)
    torch.mul(drawn.output.double(), -KEY, out=output[..., :HIDDEN_UNITS])
    output[..., HIDDEN_UNITS] = torch.arange(settings.states, device=lifted.device)
    bias = -KEY * rules.logit_units(settings, settings.identity_bias)
    biases = torch.tensor(bias, dtype=torch.float64, device=lifted.device).expand(len(lifted), 1, settings.cells)
    return Network(
        lifted.view(torch.int64).expand(-1, -1, -1, -1, settings.width),
        drawn.hidden.double() * 2.0**-HIDDEN_SHIFT,
        output,
        biases if settings.identity_bias else None,
    )


def perceive(settings: Settings, network: Network, scratch: Scratch, states: Tensor) -> None:
    """Writes the perception to scratch.perception. states: int64[batch, cell]."""
    torus = states.index_select(1, scratch.torus)
    height, width, pitch = settings.height, settings.width, settings.width + 2
    # The nine neighbours of every cell are views of the torus, without a copy.
    shape, strides = (len(states), 3, 3, height, width), (pitch * (height + 2), pitch, 1, pitch, 1)
    lanes = network.perception.gather(3, torus.as_strided(shape, strides)).sum((1, 2))
    torch.bitwise_xor(lanes.view(torch.int16).view(scratch.perception.shape), -(2**15), out=scratch.perception)


def keys_of(network: Network, scratch: Scratch) -> Tensor:
    """Computes the key of every state in every cell from scratch.perception. Returns float64[batch, state, cell].

    The magnitude of a unit's sum over 2**16 is below 2**15, so it fits int16. The conversion truncates towards 0, which
    rounds down any number that is not negative; negative ones become 0 next.
    """
    torch.bmm(network.hidden, scratch.perception.mT, out=scratch.sums)
    scratch.short.copy_(scratch.sums)
    torch.maximum(scratch.short, scratch.zero, out=scratch.units[:, :HIDDEN_UNITS])
    return torch.bmm(network.output, scratch.units, out=scratch.keys)


def settled(settings: Settings, noise: Noise, keys: Tensor, cells: Tensor, step: int) -> Tensor:
    """Computes the next states of cells that noise may decide.

    keys: float64[batch, state, cell]. cells: int64[chosen], each candidate * cells of a grid + cell. step: 1 is the
    first. Returns int64[chosen].
    """
    row, cell = cells // settings.cells, cells % settings.cells
    blocks = cell[:, None] * noise_blocks(settings) + torch.arange(noise_blocks(settings), device=cells.device)
    bits = philox_blocks(noise.generator, philox.NOISE + step, blocks, noise.numbers[row][:, None])
    words = bits.flatten(1)[:, : settings.states].long() & 0xFFFF
    return (keys[row, :, cell] - noise.table[words]).amin(1).long() & (KEY - 1)


def words_of(generator: Generator, purpose: int, numbers: Tensor, count: int) -> Tensor:
    """Draws the first `count` 16-bit words of a purpose. numbers: int32[batch, 2]. Returns int64[batch, word]."""
    blocks = torch.arange(-(-count // 8), device=numbers.device)
    bits = philox_blocks(generator, purpose, blocks[None], numbers[:, None])
    return bits.flatten(1)[:, :count].long() & 0xFFFF


def philox_blocks(generator: Generator, purpose: int, blocks: Tensor, numbers: Tensor) -> Tensor:
    """Does the same as `philox.philox`, in three operations a round.

    blocks: int64[batch or 1, block]. numbers: int32[batch, 1, 2], the low and the high word.
    Returns int16[batch, block, 8], 16-bit words stored as signed integers.
    """
    shape = len(numbers), blocks.shape[1], 2
    even = torch.zeros(shape, dtype=torch.int64, device=numbers.device)  # c0 and c2; the factors, so 64 bits wide
    odd = torch.empty(shape, dtype=torch.int32, device=numbers.device)  # c1 and c3
    words = even.view(torch.int32)[..., ::2]
    words[..., 0], words[..., 1] = blocks, numbers[..., 0]
    odd[..., 0], odd[..., 1] = purpose, numbers[..., 1]
    for key in generator.round_keys:
        # The products left, right, left, right: the middle two are in the order that the next round needs.
        halves = (even[..., None, :] * generator.multipliers).view(torch.int32).flatten(2)
        torch.bitwise_xor(halves[..., 3:7:2] ^ odd, key, out=words)
        odd = halves[..., 2:6:2]
    return torch.stack([words, odd], -1).flatten(2).view(torch.int16)
