"""The automaton of `definition` on torch, for a CUDA device: the same integers, many thousand candidates at a time.

All numbers are exact. Weights, states and random bits are integers. The two dense layers are float64 matrix products:
every sum is an integer below 2**31 (`rules`), times 256 where a key is made of it, so it fits 53 bits in whatever
order it is summed. TF32 and other short formats never come in: torch uses them for float32 alone, and there is none
here. A state is chosen by one key, `state - 256 * logit`: the least key has the largest logit and the lower
state of equals, so no order of an argmax matters. Philox multiplies in int64, which wraps: modulo 2**64 the product of
two 32-bit words is whole.

A step reads and writes memory for most of its time, at the default spec (144 cells of ten states) 1.2 KB a cell:

    states of the neighbours, from a torus with its edges repeated    19 bytes a cell
    nine weights of four 16-bit channels each, and their sum         168
    the channels as float64                                           40
    16 hidden sums, their whole parts, the units                     480
    ten keys                                                         230
    the least key, its state, and which cells have more close ones   254

That is 170 KB and 67,000 floating-point operations for each step of a candidate: at 3 TB/s 57 ns. Noise is drawn for
the cells that it may decide alone (see `cpu`); finding them is the one thing that the host waits for in a step.

A `Torch` may be used from several threads at once. Each has a CUDA stream of its own: while one thread's automaton
runs, the others' scores are computed by the host's cores. A method waits for what its caller's stream was given
before, and its own work is done when it returns, so a thread may index, keep and free arguments and results as it
would without streams.

This module reads 64-bit numbers as halves, the low one first, as every machine that runs CUDA stores them. It knows
no scores, bands or files. `tests/test_gpu.py` compares it with the definition bit for bit.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from ncagen import philox
from ncagen.sources.nca import rules
from ncagen.sources.nca.rules import (
    GUMBEL_SHIFT,
    HIDDEN_SCALE,
    HIDDEN_SHIFT,
    HIDDEN_UNITS,
    NEIGHBOURS,
    OUTPUT_SCALE,
    PERCEPTION_CHANNELS,
    PERCEPTION_SCALE,
    Rules,
)
from ncagen.spec import Spec

Tensor = torch.Tensor

# What a batch's arrays may take, for each thread that makes shards, and once more where noise decides every cell.
# 512 MB are 4,700 candidates of the default spec: a step's memory then takes about as long as its 70 launches, and a
# shard of 4,096 rows tries more in the end.
MOST_BYTES = 2**29
SHARE_OF_MEMORY = 64  # on a smaller device, this part of its memory
HOST_BYTES = 2**23  # on the host, about what a core's cache holds

# Centres the four 16-bit channels that one int64 carries, so that nine sums borrow from no neighbour: each weight is
# lifted by LIFT, the middle one by CENTRE too, which makes 2**15; flipping each top bit ends it.
LIFT = 2 * 1819
CENTRE = 2**15 - NEIGHBOURS * LIFT

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
    """Where a step's results stand.

    torus: int64[cell], the cells of a grid with its edges repeated around it. zero: int16. perception: float64[batch,
    cell, channel]. sums: float64[batch, unit, cell]. short: int16, the same. units: float64[batch, unit + 1, cell],
    the last one 1. keys: float64[batch, state, cell].
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
    """What it takes to draw a step's noise.

    numbers: int32[batch, 2], the candidates' low and high words. table: float64[65536], a word's noise in keys. reach:
    how far above the least key one may be that wins with noise.
    """

    generator: Generator
    numbers: Tensor
    table: Tensor
    reach: int


class Torch:
    """The automaton on a device of torch: "cuda", "cuda:1", or "cpu" (which tests use; `cpu` is far faster there).

    Rules and grids are tensors on the device, in the shapes and types of `cpu`.
    """

    def __init__(self, device: str):
        self.device = torch.device(device)
        self._local = threading.local()
        scales = PERCEPTION_SCALE, HIDDEN_SCALE, OUTPUT_SCALE
        self._weights = {scale: self._tensor(rules.weight_table(scale)) for scale in scales}
        self._start_weights = self._tensor(rules.start_table().astype(np.int64))
        self._gumbel = self._tensor(rules.gumbel_table().astype(np.int64))
        self._scratch_bytes = HOST_BYTES
        if self.device.type == "cuda":
            memory = torch.cuda.get_device_properties(self.device).total_memory
            self._scratch_bytes = min(MOST_BYTES, memory // SHARE_OF_MEMORY)
            torch.cuda.synchronize(self.device)  # other streams will read the tables

    def sample(self, spec: Spec, stream: int, candidates: np.ndarray) -> tuple[Rules, Tensor]:
        """Rules and start grids, as `rules.sample_rules` and `rules.sample_starts` draw them.

        candidates: uint64[batch], in the host's memory. Returns Rules of int16 tensors and uint8[batch, cell].
        """
        with self._work():
            generator = self._generator(spec.seed, stream)
            numbers = self._halves(candidates // np.uint64(spec.trajectories_per_rule))
            drawn = self._sample_rules(spec, generator, numbers)
            starts = self._sample_starts(spec, generator, self._halves(candidates))
        return drawn, starts

    def rollout(
        self,
        spec: Spec,
        stream: int,
        candidates: np.ndarray,
        drawn: Rules,
        grids: Tensor,
        first_frame: int,
        frames: int,
    ) -> Tensor:
        """The recorded grids `first_frame` to `first_frame + frames - 1` of each candidate.

        candidates: uint64[batch], in the host's memory. grids: uint8[batch, cell], the start grids, or for
        first_frame > 0 the recorded grids just before. Returns uint8[batch, frame, cell].
        """
        with self._work():
            network, noise = _network(spec, drawn), self._noise(spec, stream, candidates)
            scratch = self._scratch(spec, len(candidates))
            states = grids.long()
            recorded = torch.empty((len(candidates), frames, spec.cells), dtype=torch.uint8, device=self.device)
            step = spec.warmup + (first_frame - 1) * spec.stride if first_frame else 0
            for frame in range(frames):
                end = spec.warmup + (first_frame + frame) * spec.stride
                while step < end:
                    step += 1
                    states = self._next(spec, network, noise, scratch, states, step)
                recorded[:, frame] = states
        return recorded

    def patch_tokens(self, spec: Spec, grids: Tensor) -> np.ndarray:
        """The patches of recorded grids, as `tokens.patch_tokens` reads them.

        grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch], in the host's memory.
        """
        side, patch = spec.grid // spec.patch, spec.patch
        dtype = torch.int16 if spec.token_dtype == "uint16" else torch.int32
        with self._work():
            cells = grids.view(*grids.shape[:2], side, patch, side, patch)
            ids = cells[:, :, :, -1, :, -1].long()
            for digit in reversed(range(patch * patch - 1)):
                ids = torch.add(cells[:, :, :, digit // patch, :, digit % patch], ids, alpha=spec.states)
            ids = ids.to(dtype).flatten(2)
            host = torch.empty(ids.shape, dtype=dtype, pin_memory=self.device.type == "cuda")
            host.copy_(ids, non_blocking=True)
        return host.numpy().view(spec.token_dtype)

    def batch_candidates(self, spec: Spec) -> int:
        """Candidates that a batch should have at most: as many as its arrays have room for."""
        words = NEIGHBOURS * (spec.states + 2) * PERCEPTION_CHANNELS + HIDDEN_UNITS * spec.states
        # A word takes up to 32 bytes while it is drawn, a cell 576 in a step, a state's key and whether it is close 9.
        return max(1, self._scratch_bytes // (words * 32 + spec.cells * (576 + 9 * spec.states)))

    def tables(self) -> dict[str, np.ndarray]:
        """The tables as they stand on the device, in the names and types of `cpu.tables`."""
        scales = {"perception": PERCEPTION_SCALE, "hidden": HIDDEN_SCALE, "output": OUTPUT_SCALE}
        with self._work():
            found = {name: self._weights[scale].cpu().numpy() for name, scale in scales.items()}
            wide = {"start": self._start_weights.cpu().numpy(), "gumbel": self._gumbel.cpu().numpy()}
        return found | {name: table.astype(np.int32) for name, table in wide.items()}

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Runs what is within on this thread's stream, after all that its caller began, and to the end."""
        if self.device.type != "cuda":
            with torch.inference_mode():
                yield
            return
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.device)
            self._local.done = torch.cuda.Event(blocking=True)  # a thread that waits leaves its core to others
        stream, done = self._local.stream, self._local.done
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            yield
            done.record()
        done.synchronize()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self.device)

    def _halves(self, numbers: np.ndarray) -> Tensor:
        """uint64[batch] to int32[batch, 2], the low and the high word of each."""
        return self._tensor(np.ascontiguousarray(numbers).view(np.int32).reshape(-1, 2))

    def _generator(self, seed: int, stream: int) -> Generator:
        keys = np.array((seed, stream)) + np.arange(philox.ROUNDS)[:, None] * np.array(philox.WEYL)
        multipliers = self._tensor(np.array((philox.MULTIPLIERS, philox.MULTIPLIERS)))
        return Generator(multipliers, self._tensor(keys.astype(np.uint32).view(np.int32)))

    def _sample_rules(self, spec: Spec, generator: Generator, numbers: Tensor) -> Rules:
        channels = spec.states + 2 * spec.channel_wrap

        def draw(purpose: int, scale: int, *shape: int) -> Any:  # Rules is of NumPy arrays for whoever reads it
            words = _words(generator, purpose, numbers, math.prod(shape))
            return self._weights[scale][words].view(-1, *shape)

        perception = draw(philox.PERCEPTION, PERCEPTION_SCALE, 3, 3, channels, PERCEPTION_CHANNELS)
        return Rules(
            _fold_wrap(perception) if spec.channel_wrap else perception,
            draw(philox.HIDDEN, HIDDEN_SCALE, HIDDEN_UNITS, PERCEPTION_CHANNELS),
            draw(philox.OUTPUT, OUTPUT_SCALE, spec.states, HIDDEN_UNITS),
        )

    def _sample_starts(self, spec: Spec, generator: Generator, numbers: Tensor) -> Tensor:
        draws = _words(generator, philox.START_CELLS, numbers, spec.cells)
        if spec.start == "uniform":
            return (draws * spec.states >> 16).to(torch.uint8)
        weights = self._start_weights[_words(generator, philox.START_WEIGHTS, numbers, spec.states)]
        ends = weights.cumsum(1)
        return torch.searchsorted(ends, draws * ends[:, -1:] >> 16, right=True).to(torch.uint8)

    def _noise(self, spec: Spec, stream: int, candidates: np.ndarray) -> Noise | None:
        """None where all noise is the same."""
        temperature = rules.logit_units(spec, spec.temperature)
        if not temperature:
            return None
        least, most = (int(rules.gumbel_table()[end]) * temperature >> GUMBEL_SHIFT for end in (0, -1))
        table = (self._gumbel * temperature >> GUMBEL_SHIFT).double() * KEY
        # Two keys differ by their states too, by less than KEY.
        reach = (most - least + 1) * KEY - 1
        return Noise(self._generator(spec.seed, stream), self._halves(candidates), table, reach)

    def _scratch(self, spec: Spec, batch: int) -> Scratch:
        def empty(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.empty((batch, *shape), dtype=dtype, device=self.device)

        around = np.arange(-1, spec.grid + 1) % spec.grid
        units = empty(HIDDEN_UNITS + 1, spec.cells)
        units[:, HIDDEN_UNITS] = 1
        return Scratch(
            self._tensor((around[:, None] * spec.grid + around).ravel()),
            torch.zeros((), dtype=torch.int16, device=self.device),
            empty(spec.cells, PERCEPTION_CHANNELS),
            empty(HIDDEN_UNITS, spec.cells),
            empty(HIDDEN_UNITS, spec.cells, dtype=torch.int16),
            units,
            empty(spec.states, spec.cells),
        )

    def _next(
        self, spec: Spec, network: Network, noise: Noise | None, scratch: Scratch, states: Tensor, step: int
    ) -> Tensor:
        """One step; the first is 1. states: int64[batch, cell]. Returns the same."""
        _perceive(spec, network, scratch, states)
        keys = _keys(network, scratch)
        if network.bias is not None:
            keys.scatter_add_(1, states[:, None], network.bias)
        best = keys.amin(1)
        states = best.long() & (KEY - 1)
        if noise is not None:
            close = (keys <= (best + noise.reach)[:, None]).sum(1, dtype=torch.int32) > 1
            for some in close.flatten().nonzero().squeeze(1).split(self._cells_at_once(spec)):
                if len(some):
                    states.view(-1)[some] = _settled(spec, noise, keys, some, step)
        return states

    def _cells_at_once(self, spec: Spec) -> int:
        """How many cells may be settled together: a block of Philox takes 160 bytes, a state 40."""
        return max(1, self._scratch_bytes // (_blocks(spec) * 160 + spec.states * 40))


def _blocks(spec: Spec) -> int:
    """Blocks of noise that a cell has."""
    return -(-spec.states // 8)


def _fold_wrap(wrapped: Any) -> Any:
    """What `rules.fold_wrap` does."""
    folded = wrapped[..., 1:-1, :].clone()
    folded[..., -1, :] += wrapped[..., 0, :]
    folded[..., 0, :] += wrapped[..., -1, :]
    return folded


def _network(spec: Spec, drawn: Any) -> Network:
    """drawn: Rules of tensors."""
    lifted = drawn.perception + LIFT
    lifted[:, 1, 1] += CENTRE
    output = torch.empty((*drawn.output.shape[:2], HIDDEN_UNITS + 1), dtype=torch.float64, device=lifted.device)
    torch.mul(drawn.output.double(), -KEY, out=output[..., :HIDDEN_UNITS])
    output[..., HIDDEN_UNITS] = torch.arange(spec.states, device=lifted.device)
    bias = torch.tensor(-KEY * rules.logit_units(spec, spec.identity_bias), dtype=torch.float64, device=lifted.device)
    return Network(
        lifted.view(torch.int64).expand(-1, -1, -1, -1, spec.grid),
        drawn.hidden.double() * 2.0**-HIDDEN_SHIFT,
        output,
        bias.expand(len(lifted), 1, spec.cells) if spec.identity_bias else None,
    )


def _perceive(spec: Spec, network: Network, scratch: Scratch, states: Tensor) -> None:
    """Fills scratch.perception. states: int64[batch, cell]."""
    torus = states.index_select(1, scratch.torus)
    pitch = spec.grid + 2
    # Every cell's nine neighbours are windows of the torus: no copy of them is made.
    shape, strides = (len(states), 3, 3, spec.grid, spec.grid), (pitch * pitch, pitch, 1, pitch, 1)
    lanes = network.perception.gather(3, torus.as_strided(shape, strides)).sum((1, 2))
    torch.bitwise_xor(lanes.view(torch.int16).view(scratch.perception.shape), -(2**15), out=scratch.perception)


def _keys(network: Network, scratch: Scratch) -> Tensor:
    """The key of every state in every cell, from scratch.perception. Returns float64[batch, state, cell].

    A unit's sum over 2**16 is below 2**15 either way, so 16 bits hold it; that cuts off its fraction towards 0, which
    rounds down what is not negative.
    """
    torch.bmm(network.hidden, scratch.perception.mT, out=scratch.sums)
    scratch.short.copy_(scratch.sums)
    torch.maximum(scratch.short, scratch.zero, out=scratch.units[:, :HIDDEN_UNITS])
    return torch.bmm(network.output, scratch.units, out=scratch.keys)


def _settled(spec: Spec, noise: Noise, keys: Tensor, cells: Tensor, step: int) -> Tensor:
    """The next states of cells that noise may decide.

    keys: float64[batch, state, cell]. cells: int64[some], counted through the batch. Returns int64[some].
    """
    row, cell = cells // spec.cells, cells % spec.cells
    blocks = cell[:, None] * _blocks(spec) + torch.arange(_blocks(spec), device=cells.device)
    bits = _philox(noise.generator, philox.NOISE + step, blocks, noise.numbers[row][:, None])
    words = bits.flatten(1)[:, : spec.states].long() & 0xFFFF
    return (keys[row, :, cell] - noise.table[words]).amin(1).long() & (KEY - 1)


def _words(generator: Generator, purpose: int, numbers: Tensor, count: int) -> Tensor:
    """The first `count` 16-bit words of a purpose. numbers: int32[batch, 2]. Returns int64[batch, count]."""
    blocks = torch.arange(-(-count // 8), device=numbers.device)
    bits = _philox(generator, purpose, blocks[None], numbers[:, None])
    return bits.flatten(1)[:, :count].long() & 0xFFFF


def _philox(generator: Generator, purpose: int, blocks: Tensor, numbers: Tensor) -> Tensor:
    """What `philox.philox` does, in three operations a round.

    blocks: int64[batch or 1, block]. numbers: int32[batch, 1, 2], the low and the high word.
    Returns int16[batch, block, 8], which holds the words without their sign.
    """
    shape = len(numbers), blocks.shape[1], 2
    even = torch.zeros(shape, dtype=torch.int64, device=numbers.device)  # c0 and c2; the factors, so 64 bits wide
    odd = torch.empty(shape, dtype=torch.int32, device=numbers.device)  # c1 and c3
    words = even.view(torch.int32)[..., ::2]
    words[..., 0], words[..., 1] = blocks, numbers[..., 0]
    odd[..., 0], odd[..., 1] = purpose, numbers[..., 1]
    for key in generator.round_keys:
        # Left, right, left, right: the middle two are the pair in the order that the next round takes it.
        halves = (even[..., None, :] * generator.multipliers).view(torch.int32).flatten(2)
        torch.bitwise_xor(halves[..., 3:7:2] ^ odd, key, out=words)
        odd = halves[..., 2:6:2]
    return torch.stack([words, odd], -1).flatten(2).view(torch.int16)
