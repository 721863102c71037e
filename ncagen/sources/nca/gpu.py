"""Runs and scores candidates with the CUDA kernels of `ncagen.cuda`: the same integers, whole batches on a device.

A batch of candidates leaves the device as its scores, one int32 each, and as the rows that are kept, in one copy. torch
provides memory and streams, so its allocator bounds and reuses what the threads of a process take. Several threads may
use one `Gpu` at once: each has a stream, so while one thread waits for the device another hashes and writes. A method
returns after its work is complete.

Not covered: the arithmetic (`ncagen/cuda`), bands and files. `tests/test_gpu.py` compares the kernels, compiled for the
host, with the definition bit for bit.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from ncagen.cuda.program import WORK, Program
from ncagen.errors import NcagenError
from ncagen.sources.nca import entropy, rules
from ncagen.sources.nca.rules import later_candidates, logit_units
from ncagen.sources.nca.settings import Settings
from ncagen.sources.source import OutOfDeviceMemory, Stage

UNKNOWN = -1  # the score of a candidate that the kernels leave to the host, of huffman.h

MOST_CANDIDATES = 2**15  # some ten for each block that an H100 runs at a time; more would only be tried in vain
MOST_BYTES = 2**28  # of a batch, for each thread: 2**15 candidates of the default settings take 29 MB
SHARE_OF_MEMORY = 64  # on a small device the limit is 1 / SHARE_OF_MEMORY of its memory
FEWEST_CANDIDATES = 16
# Cells times states times steps of a batch: some ten seconds at 10**11 a second, until a build looks at Ctrl-C.
MOST_WORK = 2**40


class Kernels(Protocol):
    """The kernels of one program: `nvrtc.Kernels` or `host.Kernels`."""

    def launch(self, kernel: str, blocks: int, work: int, stream: int) -> None: ...


class Gpu:
    """A device: a CUDA device such as "cuda:1", or "host", this processor, for tests."""

    def __init__(self, device: str):
        """Raises NcagenError for a card that is too old, and where NVRTC is missing."""
        self.name = device
        self.device = torch.device("cpu" if device == "host" else device)
        self.is_cuda = self.device.type == "cuda"
        self._local, self._compiling = threading.local(), threading.Lock()
        self._most_candidates, self._most_bytes = MOST_CANDIDATES, MOST_BYTES
        if self.is_cuda:
            self._properties = torch.cuda.get_device_properties(self.device)
            _refuse_old(device, self._properties)
            self._most_bytes = min(MOST_BYTES, self._properties.total_memory // SHARE_OF_MEMORY)
        self._kernels = lru_cache(maxsize=16)(self._compiled)

    def batch_candidates(self, settings: Settings) -> int:
        """Returns the recommended limit of candidates in a batch; lower after the device ran out of memory."""
        a_candidate = settings.cells * settings.states * (settings.scored_steps + 1)
        of_bytes, of_work = self._most_bytes // _candidate_bytes(settings), MOST_WORK // a_candidate
        return max(FEWEST_CANDIDATES, min(self._most_candidates, of_bytes, of_work))

    def tables(self) -> dict[str, np.ndarray]:
        """Returns the tables stored on the device, with the names and dtypes of `cpu.tables`."""
        weights, start, gumbel = (table.cpu().numpy() for table in self._tables)
        return dict(zip(("perception", "hidden", "output"), weights, strict=True)) | {"start": start, "gumbel": gumbel}

    def start(
        self, settings: Settings, key: tuple[int, int], candidates: np.ndarray, at_least: int, stage: Stage
    ) -> "Trajectories":
        """Runs candidates through their scored grids, and scores them where bands select by the gzip length.

        key: seed and stream. candidates: uint64[candidate]. at_least: gzip bytes; a length that is provably smaller may
        be returned as 0. Raises OutOfDeviceMemory, after which `batch_candidates` is smaller; NcagenError at its least.
        """
        try:
            return Trajectories(self, settings, key, candidates, at_least, stage)
        except torch.cuda.OutOfMemoryError:
            self._shrink(len(candidates))
            raise OutOfDeviceMemory(f"--device {self.name} has no memory for {len(candidates)} candidates") from None

    def kernels(self, settings: Settings) -> Kernels:
        """Returns the kernels for settings, compiled at the first call."""
        with self._compiling:
            return self._kernels(program_of(settings))

    @contextmanager
    def work(self) -> Iterator[int]:
        """Runs the block on this thread's stream, whose address it yields, and waits for the end of its work."""
        if not self.is_cuda:
            with torch.inference_mode():
                yield 0
            return
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.device)
            self._local.done = torch.cuda.Event(blocking=True)  # a waiting thread does not occupy its core
        stream, done = self._local.stream, self._local.done
        with torch.inference_mode(), torch.cuda.stream(stream):
            yield stream.cuda_stream
            done.record()
        done.synchronize()

    def upload(self, parts: list[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
        """Copies arrays to the device in one piece. Returns it, and the address of each."""
        places, size = [], 0
        for part in parts:
            places.append(size)
            size += -(-part.nbytes // 16) * 16
        host = torch.empty(size, dtype=torch.uint8, pin_memory=self.is_cuda)
        there = host.numpy()
        for part, place in zip(parts, places, strict=True):
            there[place : place + part.nbytes] = part.reshape(-1).view(np.uint8)
        copied = host.to(self.device, non_blocking=True)
        return copied, [copied.data_ptr() + place for place in places]

    def download(self, tensor: torch.Tensor) -> torch.Tensor:
        """Starts the copy of a tensor to the host; the result is there at the end of the block of `work`."""
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self.is_cuda)
        return host.copy_(tensor, non_blocking=True)

    def table_addresses(self) -> tuple[int, ...]:
        """The addresses of the weights, the start and the Gumbel table."""
        return tuple(table.data_ptr() for table in self._tables)

    @cached_property
    def _tables(self) -> list[torch.Tensor]:
        weights = np.stack([rules.weight_table(scale) for scale in rules.SCALES])
        tables = weights, rules.start_table(), rules.gumbel_table()
        made = [torch.tensor(table, device=self.device) for table in tables]
        if self.is_cuda:
            torch.cuda.synchronize(self.device)  # other streams will read them
        return made

    def _compiled(self, program: Program) -> Kernels:
        if not self.is_cuda:
            from ncagen.cuda import host

            return host.Kernels(program)
        from ncagen.cuda import nvrtc

        _ = self._tables  # torch has begun to use the device
        found, number = self._properties, self.device.index or 0
        nvrtc.refuse_large(program, number, getattr(found, "shared_memory_per_block_optin", 48 * 1024))
        return nvrtc.Kernels(program, nvrtc.compile_program(program, 10 * found.major + found.minor), number)

    def no_memory(self, what: str) -> NcagenError:
        """Returns the error of a device that has no memory for the least there is to do."""
        return NcagenError(
            f"--device {self.name} has no memory for {what}: stop what else uses the device, use fewer --workers, or"
            " --device cpu"
        )

    def _shrink(self, tried: int) -> None:
        """Halves the limit of candidates after so many did not fit. Raises NcagenError at the least."""
        if self.is_cuda:
            torch.cuda.empty_cache()
        if tried <= FEWEST_CANDIDATES:
            raise self.no_memory(f"{tried} candidates") from None
        self._most_candidates = max(FEWEST_CANDIDATES, min(self._most_candidates, tried // 2))


class Trajectories:
    """Candidates on a device, run through their scored grids.

    lengths: int32[candidate], gzip bytes, or 0 where proven to be below `at_least`; None where bands select by another
    measure.
    """

    def __init__(
        self, gpu: Gpu, settings: Settings, key: tuple[int, int], candidates: np.ndarray, at_least: int, stage: Stage
    ):
        self._gpu, self._settings, self._key, self._candidates = gpu, settings, key, candidates
        self._kernels, count = gpu.kernels(settings), len(candidates)
        rule_key, numbers = rules.rule_address(settings, key, candidates)
        later = numbers
        if settings.change_at is not None:
            later = rules.rule_address(settings, key, later_candidates(settings, candidates))[1]
        self._work = constants(settings, gpu.table_addresses()).copy()
        self._work["key"], self._work["rule_key"], self._work["at_least"] = key, rule_key, max(at_least, 0)
        with gpu.work() as stream:
            self._numbers, places = gpu.upload([candidates, numbers, later])
            self._work["candidates"], self._work["rules"], self._work["later_rules"] = places
            shape = count, settings.scored_frames, settings.patches
            self._patches = torch.empty(shape, dtype=_token(settings), device=gpu.device)
            self._last = torch.empty((count, settings.cells), dtype=torch.uint8, device=gpu.device)
            self._scores = torch.full((count,), UNKNOWN, dtype=torch.int32, device=gpu.device)
            self._work["patches"], self._work["last"] = self._patches.data_ptr(), self._last.data_ptr()
            self._work["scores"] = self._scores.data_ptr()
            work, (place,) = gpu.upload([self._work])
            with stage("rollout"):
                self._kernels.launch("rollout", count, place, stream)
            with stage("score"):
                if settings.measure == "gzip" and program_of(settings).scores:
                    self._kernels.launch("score", count, place, stream)
                found = gpu.download(self._scores)
        del work
        self.lengths = found.numpy() if settings.measure == "gzip" else None
        if self.lengths is not None:
            with stage("score"):
                self._score_on_host(np.flatnonzero(self.lengths == UNKNOWN), at_least)

    def patches(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """Copies the patches of scored grids to the host.

        chosen: int64[row], indices of candidates, or None for all. Returns uint16 or uint32 [candidate, frame, patch].
        """
        with self._gpu.work():
            found = self._patches
            if chosen is not None:
                found = found.index_select(0, torch.from_numpy(chosen).to(self._gpu.device))
            host = self._gpu.download(found)
        return host.numpy().view(self._settings.token_dtype)

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Runs candidates to the end of their rows. chosen: int64[row]. Returns uint16 or uint32 [row, token].

        Where the device's memory runs out, it makes them in halves. Raises NcagenError where there is none for one row.
        """
        try:
            return self._rows(chosen)
        except torch.cuda.OutOfMemoryError:
            if len(chosen) == 1:
                raise self._gpu.no_memory("a row") from None
        half = len(chosen) // 2
        return np.concatenate([self.rows(chosen[:half]), self.rows(chosen[half:])])

    def _rows(self, chosen: np.ndarray) -> np.ndarray:
        settings = self._settings
        tokens = settings.frames * settings.tokens_per_grid
        if not len(chosen):
            return np.empty((0, tokens), settings.token_dtype)
        with self._gpu.work() as stream:
            rows = torch.empty((len(chosen), tokens), dtype=_token(settings), device=self._gpu.device)
            indices, (place,) = self._gpu.upload([chosen.astype(np.uint32)])
            work = self._work.copy()
            work["chosen"], work["rows"] = place, rows.data_ptr()
            copied, (place,) = self._gpu.upload([work])
            self._kernels.launch("rows", len(chosen), place, stream)
            host = self._gpu.download(rows)
        del indices, copied
        return host.numpy().view(settings.token_dtype)

    def launch_again(self, kernel: str) -> None:
        """Runs "rollout" or "score" again on the same arrays, for measurements."""
        with self._gpu.work() as stream:
            work, (place,) = self._gpu.upload([self._work])
            self._kernels.launch(kernel, len(self._candidates), place, stream)
        del work

    def entropy_sums(self, chosen: np.ndarray) -> np.ndarray:
        """Adds up the entropy of rows, on the host. chosen: int64[row]. Returns int64[row], as `cpu.rollout`."""
        from ncagen.sources.nca.rollout import entropies

        return entropies(self._settings, self._key, self._candidates[chosen])[:, 1:].sum(axis=1)

    def _score_on_host(self, left: np.ndarray, at_least: int) -> None:
        """Computes the lengths that the kernels leave to the host. left: int64[candidate]."""
        if len(left):
            from ncagen.deflate.lengths import token_gzip_lengths

            assert self.lengths is not None
            self.lengths[left] = token_gzip_lengths(self.patches(left).reshape(len(left), -1), at_least)


@lru_cache(maxsize=64)
def program_of(settings: Settings) -> Program:
    """Returns the kernels for settings."""
    return Program(
        states=settings.states,
        height=settings.height,
        width=settings.width,
        patch=settings.patch,
        wrap=settings.channel_wrap,
        uniform_start=settings.start == "uniform",
        has_noise=logit_units(settings, settings.temperature) > 0,
        has_bias=logit_units(settings, settings.identity_bias) != 0,
        scored_frames=settings.scored_frames,
        token_bytes=np.dtype(settings.token_dtype).itemsize,
    )


@lru_cache(maxsize=16)
def constants(settings: Settings, tables: tuple[int, ...]) -> np.ndarray:
    """Returns a WORK with what follows from the settings, to be copied: a batch need not compute it again.

    tables: addresses of the weights, the start and the Gumbel table.
    """
    work = np.zeros((), WORK)
    work["weights"], work["start"], work["gumbel"] = tables
    work["temperature"] = logit_units(settings, settings.temperature)
    work["bias"] = logit_units(settings, settings.identity_bias)
    work["reach"] = max(entropy.reach(settings), 0)
    work["warmup"], work["stride"], work["frames"] = settings.warmup, settings.stride, settings.frames
    work["change_at"] = settings.frames if settings.change_at is None else settings.change_at
    return work


def _token(settings: Settings) -> torch.dtype:
    """Signed integers as wide as a token: torch has few operations for unsigned ones."""
    return torch.int16 if settings.token_dtype == "uint16" else torch.int32


def _candidate_bytes(settings: Settings) -> int:
    """Bytes that a candidate takes on the device: its scored patches, last grid, numbers and score."""
    patches = settings.scored_frames * settings.patches * np.dtype(settings.token_dtype).itemsize
    return patches + settings.cells + 3 * 8 + 4


def _refuse_old(device: str, found: Any) -> None:
    """Raises NcagenError for a card that the kernels cannot be compiled for."""
    from ncagen.cuda.nvrtc import OLDEST

    if 10 * found.major + found.minor < OLDEST:
        raise NcagenError(
            f"--device {device} is a {found.name} of compute capability {found.major}.{found.minor}, and the kernels"
            f" need {OLDEST / 10} or newer: use --device cpu"
        )
