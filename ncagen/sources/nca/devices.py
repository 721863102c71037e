"""Chooses the backends that run the automaton, by the name of a device. Imports torch only for names that need it."""

import re
from functools import cache
from typing import TYPE_CHECKING

from ncagen.errors import NcagenError
from ncagen.hints import MissingPackage, install, reinstall
from ncagen.sources.nca.backends import CPU, Backend

if TYPE_CHECKING:
    from ncagen.sources.nca.gpu import Gpu


@cache
def backend(device: str) -> Backend:
    """Returns the backend of a device: `backends.CPU`, or a `gpu.Gpu`.

    device: "cpu"; "cuda", the first CUDA device, or one of several as "cuda:1"; "auto", a CUDA device if torch is
    installed and finds one, otherwise the processor; "host", the CUDA kernels compiled for the processor, for tests.
    Raises NcagenError for a device that is unknown, missing or too old, MissingPackage without torch or cuda-bindings.
    """
    if device == "cpu":
        return CPU
    if device == "host":
        return _gpu("host")
    names = devices(device)
    return CPU if names == ["cpu"] else _cuda(names[0])


def devices(device: str) -> list[str]:
    """Returns the names of the devices that a build uses: all CUDA devices that torch finds for "cuda" and "auto".

    Raises NcagenError for a device that is unknown or missing, MissingPackage without torch.
    """
    if device in ("cpu", "host"):
        return [device]
    if device == "auto" and not _cuda_devices():
        return ["cpu"]
    if device != "auto" and not re.fullmatch(r"cuda(:[0-9]{1,3})?", device):
        raise NcagenError(f"--device {device} is not known: use auto, cpu, cuda, or one of several as cuda:1")
    count = _cuda_devices()
    if count is None:
        raise MissingPackage(f"--device {device} needs torch: {install('torch')}")
    if not count:
        raise NcagenError(f"--device {device} {_why_none()}, or use --device cpu")
    _, _, number = device.partition(":")
    if number and int(number) >= count:
        raise NcagenError(f"--device {device} is not here: use cuda:0 to cuda:{count - 1}")
    return [f"cuda:{int(number)}"] if number else [f"cuda:{each}" for each in range(count)]


@cache
def _cuda(name: str) -> "Gpu":
    return _gpu(name)


def _gpu(name: str) -> "Gpu":
    try:
        from ncagen.sources.nca.gpu import Gpu
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingPackage(f"--device {name} needs torch: {install('torch')}") from None
    return Gpu(name)


def _cuda_devices() -> int | None:
    """Counts the CUDA devices that torch finds; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _why_none() -> str:
    """Why torch finds no CUDA device, and what to type, as the middle of an error."""
    import torch

    if torch.version.cuda is None:
        return (
            f"needs a torch with CUDA, and torch {torch.__version__} has none: {reinstall('torch')}"
            " on a machine with an NVIDIA GPU"
        )
    return "needs an NVIDIA GPU and its driver, and torch finds none here: run nvidia-smi to see which is missing"
