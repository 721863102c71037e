"""Which process this is among those that torchrun started, its device, and sums over all of them."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Ranks:
    """rank: this process; world: how many; device: of torch, where it computes."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of each rank's values, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Returns when all ranks are here."""
        if self.world > 1:
            dist.barrier()


def start(device: str) -> Ranks:
    """Joins the processes of torchrun, if there are any, and makes torch deterministic.

    device: "auto", "cpu" or "cuda".
    """
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(local)
        torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if world > 1:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Ranks(int(os.environ.get("RANK", 0)), world, f"cuda:{local}" if kind == "cuda" else kind)


def stop() -> None:
    """Leaves the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
