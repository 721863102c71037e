"""Chooses the backend that runs the automaton, by the name of a device. Imports torch only for names that need it."""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from ncagen.errors import NcagenError
from ncagen.hints import MissingPackage, install
from ncagen.sources.nca import cpu

if TYPE_CHECKING:
    from ncagen.sources.nca.gpu import Torch


@cache
def backend(device: str) -> Any:
    """Returns the backend of a device: the module `cpu`, or a `gpu.Torch` (both are a `batch.Backend`).

    device: "cpu"; "cuda", or one of several as "cuda:1"; "auto", a CUDA device if torch is installed and finds one,
    otherwise the host; "torch", the host through torch, for tests. Raises NcagenError for a device that is unknown
    or missing, MissingPackage without torch.
    """
    if device == "cpu":
        return cpu
    if device == "auto":
        return _torch("cuda") if _cuda_devices() else cpu
    if device == "torch":
        return _torch("cpu")
    if not re.fullmatch(r"cuda(:[0-9]{1,3})?", device):
        raise NcagenError(f"--device {device} is not known: use auto, cpu, cuda, or one of several as cuda:1")
    _refuse_missing(device)
    return _torch(device)


def _torch(device: str) -> "Torch":
    from ncagen.sources.nca.gpu import Torch

    return Torch(device)


def _cuda_devices() -> int | None:
    """Counts the CUDA devices that torch finds; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _refuse_missing(device: str) -> None:
    count = _cuda_devices()
    if count is None:
        raise MissingPackage(f"--device {device} needs torch: {install('torch')}")
    if not count:
        raise NcagenError(f"--device {device} needs a CUDA device, and torch sees none here: use --device cpu")
    if int(device.partition(":")[2] or 0) >= count:
        raise NcagenError(f"--device {device} is not here: use cuda:0 to cuda:{count - 1}")
