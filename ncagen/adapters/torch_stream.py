"""A `Stream` in PyTorch's processes: the rank is read when a pass starts, and workers agree on the pass."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import get_worker_info

from ncagen.adapters.sharing import SharedMemory, ranks
from ncagen.dataset.division import Division
from ncagen.dataset.stream import Stream
from ncagen.errors import NcagenError
from ncagen.numbers import whole

Tensors = dict[str, torch.Tensor]


class Ranks:
    """This process's rank and the number of ranks when they are asked for: given, or found.

    A worker that is not forked does not know them, so they travel with what is sent to it; they count there alone.
    """

    def __init__(self, rank: int | None, world: int | None):
        """Both or none. Raises NcagenError."""
        self._given: tuple[int, int] | None = None
        if rank is not None or world is not None:
            if rank is None or world is None:
                raise NcagenError(f"rank {rank!r} and world {world!r}: give both, or none to have torch's")
            world = whole("world", world, 1)
            self._given = whole("rank", rank, 0, world - 1), world
        self._sent: tuple[int, int] | None = None

    def __call__(self) -> tuple[int, int]:
        if self._given:
            return self._given
        return self._sent if self._sent and get_worker_info() else ranks()

    def __getstate__(self) -> dict:
        return {"_given": self._given, "_sent": self()}


class TorchStream(Stream):
    """A stream whose rank is asked for when a pass begins, and whose workers agree on the pass."""

    def _memory(self) -> SharedMemory:
        return SharedMemory()

    def __init__(self, *arguments: Any, rank: int | None, world: int | None, **options: Any):
        """rank, world: None for those of the process when they are asked for."""
        self._late_ranks = Ranks(rank, world)
        super().__init__(*arguments, **options)

    def ranks(self) -> tuple[int, int]:
        """This process's rank now, and how many there are."""
        return self._late_ranks()

    def begin_at(self, state: dict) -> Division:
        """Begins with what a state leaves of its pass, in each worker alike. Raises NcagenError."""
        return self.divide(self._passes.begin_at(self.position_of(state)))


def tensors(arrays: Mapping) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
