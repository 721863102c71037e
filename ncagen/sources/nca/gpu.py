"""Runs the automaton of `definition` with torch on a CUDA device: the same integers, thousands of candidates at a time.

Several threads may use one `Torch` at once. Each thread has a separate CUDA stream: while the automata of one thread
run on the device, the host computes the scores of another. A method waits for earlier work on its caller's stream, and
returns after its work is complete, so a thread may index, store and free arguments and results as without streams.

`gpu_kernels` describes the arithmetic and why it is exact. Not covered: scores, bands and files. `tests/test_gpu.py`
compares the results with the definition bit for bit.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ncagen import philox
from ncagen.sources.nca import rules
from ncagen.sources.nca.gpu_kernels import (
    KEY,
    Generator,
    Network,
    Noise,
    Scratch,
    Tensor,
    fold_wrap,
    keys_of,
    network_of,
    noise_blocks,
    perceive,
    settled,
    words_of,
)
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
from ncagen.sources.nca.settings import Settings

# Limit of a batch's arrays, for each thread that makes shards; twice that where noise decides every cell. 512 MiB hold
# 4,700 candidates of the default settings. The memory traffic of a step then takes about as long as its 70 launches,
# and a shard of 4,096 rows tries more candidates than that anyway.
MOST_BYTES = 2**29
SHARE_OF_MEMORY = 64  # on a small device the limit is 1 / SHARE_OF_MEMORY of its memory
HOST_BYTES = 2**23  # on the host: about the size of a core's cache


class Torch:
    """The automaton on a torch device: "cuda", "cuda:1", or "cpu" (for tests; the module `cpu` is far faster there).

    Rules and grids are tensors on the device, with the shapes and dtypes of the module `cpu`.
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

    def sample(self, settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> tuple[Rules, Tensor]:
        """Draws rules and start grids, the same as `rules.sample_rules` and `rules.sample_starts`.

        key: seed and stream. candidates: uint64[batch], on the host. Returns Rules of int16 tensors and uint8[batch,
        cell].
        """
        with self._work():
            rule_key, numbers = rules.rule_address(settings, key, candidates)
            drawn = self._sample_rules(settings, self._generator(rule_key), self._halves(numbers))
            starts = self._sample_starts(settings, self._generator(key), self._halves(candidates))
        return drawn, starts

    def rollout(
        self,
        settings: Settings,
        key: tuple[int, int],
        candidates: np.ndarray,
        drawn: Rules,
        grids: Tensor,
        first_frame: int,
        frames: int,
    ) -> Tensor:
        """Computes the recorded grids `first_frame` to `first_frame + frames - 1` of each candidate.

        key: seed and stream. candidates: uint64[batch], on the host. drawn: their rules. grids: uint8[batch, cell], the
        start grids, or for first_frame > 0 the recorded grids before `first_frame`. Returns uint8[batch, frame, cell].
        """
        with self._work():
            network, noise = network_of(settings, drawn), self._noise(settings, key, candidates)
            scratch = self._scratch(settings, len(candidates))
            states = grids.long()
            recorded = torch.empty((len(candidates), frames, settings.cells), dtype=torch.uint8, device=self.device)
            step = settings.warmup + (first_frame - 1) * settings.stride if first_frame else 0
            for frame in range(frames):
                end = settings.warmup + (first_frame + frame) * settings.stride
                while step < end:
                    step += 1
                    states = self._next(settings, network, noise, scratch, states, step)
                recorded[:, frame] = states
        return recorded

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Joins recorded grids along the frames. parts: uint8[batch, frame, cell]."""
        with self._work():
            return torch.cat(parts, dim=1)

    def patch_tokens(self, settings: Settings, grids: Tensor) -> np.ndarray:
        """Converts recorded grids to patches, the same as `grid_tokens.patch_tokens`.

        grids: uint8[batch, frame, cell]. Returns uint16 or uint32 [batch, frame, patch], in the host's memory.
        """
        patch = settings.patch
        high, wide = settings.height // patch, settings.width // patch
        dtype = torch.int16 if settings.token_dtype == "uint16" else torch.int32
        with self._work():
            cells = grids.view(*grids.shape[:2], high, patch, wide, patch)
            ids = cells[:, :, :, -1, :, -1].long()
            for digit in reversed(range(patch * patch - 1)):
                ids = torch.add(cells[:, :, :, digit // patch, :, digit % patch], ids, alpha=settings.states)
            ids = ids.to(dtype).flatten(2)
            host = torch.empty(ids.shape, dtype=dtype, pin_memory=self.device.type == "cuda")
            host.copy_(ids, non_blocking=True)
        return host.numpy().view(settings.token_dtype)

    def batch_candidates(self, settings: Settings) -> int:
        """Returns the recommended limit of candidates in a batch: as many as fit the memory limit."""
        words = NEIGHBOURS * (settings.states + 2) * PERCEPTION_CHANNELS + HIDDEN_UNITS * settings.states
        # A word takes up to 32 bytes while it is drawn, a cell 576 in a step, a state's key and whether it is close 9.
        return max(1, self._scratch_bytes // (words * 32 + settings.cells * (576 + 9 * settings.states)))

    def tables(self) -> dict[str, np.ndarray]:
        """Returns the tables stored on the device, with the names and dtypes of `cpu.tables`."""
        scales = {"perception": PERCEPTION_SCALE, "hidden": HIDDEN_SCALE, "output": OUTPUT_SCALE}
        with self._work():
            found = {name: self._weights[scale].cpu().numpy() for name, scale in scales.items()}
            wide = {"start": self._start_weights.cpu().numpy(), "gumbel": self._gumbel.cpu().numpy()}
        return found | {name: table.astype(np.int32) for name, table in wide.items()}

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Runs the block on this thread's stream, after earlier work of its caller's stream, and waits for its end."""
        if self.device.type != "cuda":
            with torch.inference_mode():
                yield
            return
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.device)
            self._local.done = torch.cuda.Event(blocking=True)  # a waiting thread does not occupy its core
        stream, done = self._local.stream, self._local.done
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            yield
            done.record()
        done.synchronize()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self.device)

    def _halves(self, numbers: np.ndarray) -> Tensor:
        """Splits uint64[batch] into int32[batch, 2], the low and the high word of each."""
        return self._tensor(np.ascontiguousarray(numbers).view(np.int32).reshape(-1, 2))

    def _generator(self, key: tuple[int, int]) -> Generator:
        keys = np.array(key) + np.arange(philox.ROUNDS)[:, None] * np.array(philox.WEYL)
        multipliers = self._tensor(np.array((philox.MULTIPLIERS, philox.MULTIPLIERS)))
        return Generator(multipliers, self._tensor(keys.astype(np.uint32).view(np.int32)))

    def _sample_rules(self, settings: Settings, generator: Generator, numbers: Tensor) -> Rules:
        channels = settings.states + 2 * settings.channel_wrap

        def draw(purpose: int, scale: int, *shape: int) -> Any:  # Any, because Rules declares NumPy arrays
            words = words_of(generator, purpose, numbers, math.prod(shape))
            return self._weights[scale][words].view(-1, *shape)

        perception = draw(philox.PERCEPTION, PERCEPTION_SCALE, 3, 3, channels, PERCEPTION_CHANNELS)
        return Rules(
            fold_wrap(perception) if settings.channel_wrap else perception,
            draw(philox.HIDDEN, HIDDEN_SCALE, HIDDEN_UNITS, PERCEPTION_CHANNELS),
            draw(philox.OUTPUT, OUTPUT_SCALE, settings.states, HIDDEN_UNITS),
        )

    def _sample_starts(self, settings: Settings, generator: Generator, numbers: Tensor) -> Tensor:
        draws = words_of(generator, philox.START_CELLS, numbers, settings.cells)
        if settings.start == "uniform":
            return (draws * settings.states >> 16).to(torch.uint8)
        weights = self._start_weights[words_of(generator, philox.START_WEIGHTS, numbers, settings.states)]
        ends = weights.cumsum(1)
        return torch.searchsorted(ends, draws * ends[:, -1:] >> 16, right=True).to(torch.uint8)

    def _noise(self, settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> Noise | None:
        """Returns the noise of these settings; None at temperature 0, where it is 0."""
        temperature = rules.logit_units(settings, settings.temperature)
        if not temperature:
            return None
        least, most = (int(rules.gumbel_table()[end]) * temperature >> GUMBEL_SHIFT for end in (0, -1))
        table = (self._gumbel * temperature >> GUMBEL_SHIFT).double() * KEY
        # Keys also contain states, which add less than KEY to a difference.
        reach = (most - least + 1) * KEY - 1
        return Noise(self._generator(key), self._halves(candidates), table, reach)

    def _scratch(self, settings: Settings, batch: int) -> Scratch:
        def empty(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.empty((batch, *shape), dtype=dtype, device=self.device)

        rows, columns = (np.arange(-1, side + 1) % side for side in (settings.height, settings.width))
        units = empty(HIDDEN_UNITS + 1, settings.cells)
        units[:, HIDDEN_UNITS] = 1
        return Scratch(
            self._tensor((rows[:, None] * settings.width + columns).ravel()),
            torch.zeros((), dtype=torch.int16, device=self.device),
            empty(settings.cells, PERCEPTION_CHANNELS),
            empty(HIDDEN_UNITS, settings.cells),
            empty(HIDDEN_UNITS, settings.cells, dtype=torch.int16),
            units,
            empty(settings.states, settings.cells),
        )

    def _next(
        self, settings: Settings, network: Network, noise: Noise | None, scratch: Scratch, states: Tensor, step: int
    ) -> Tensor:
        """Runs one step; the first is 1. states: int64[batch, cell]. Returns the same shape and dtype."""
        perceive(settings, network, scratch, states)
        keys = keys_of(network, scratch)
        if network.bias is not None:
            keys.scatter_add_(1, states[:, None], network.bias)
        best = keys.amin(1)
        states = best.long() & (KEY - 1)
        if noise is not None:
            close = (keys <= (best + noise.reach)[:, None]).sum(1, dtype=torch.int32) > 1
            for some in close.flatten().nonzero().squeeze(1).split(self._cells_at_once(settings)):
                if len(some):
                    states.view(-1)[some] = settled(settings, noise, keys, some, step)
        return states

    def _cells_at_once(self, settings: Settings) -> int:
        """Returns how many cells can be settled together: a Philox block takes 160 bytes, a state 40."""
        return max(1, self._scratch_bytes // (noise_blocks(settings) * 160 + settings.states * 40))
