"""Compiles the kernels for a CUDA device with NVRTC, and launches them by the driver.

Compiling needs neither a device nor a driver. Not covered: memory and streams, which torch provides (`device`).
"""

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from ncagen.cuda.program import Program
from ncagen.errors import NcagenError
from ncagen.hints import MissingPackage, install

OLDEST = 75  # compute capability 7.5, the oldest that CUDA 13 compiles for


@dataclass(frozen=True)
class Compiled:
    """Machine code of a program, and what the compiler said of it. is_ptx: whether the driver has to translate it."""

    code: bytes
    log: str
    is_ptx: bool


@dataclass(frozen=True)
class Resources:
    """What a thread of a kernel takes. registers: of 32 bits. stack, spills: bytes of local memory."""

    registers: int
    stack: int
    spills: int


def compile_program(program: Program, capability: int, ptx: bool = False) -> Compiled:
    """Compiles a program for a compute capability, such as 90; for a newer one than NVRTC knows into PTX.

    ptx: whether to return PTX in any case. Raises NcagenError where NVRTC is missing or refuses, MissingPackage without
    cuda-bindings.
    """
    nvrtc = _nvrtc()
    known = _call(nvrtc, "nvrtcGetSupportedArchs")
    newest = max(arch for arch in known if arch <= capability)
    ptx = ptx or newest < capability
    options = [f"--gpu-architecture={'compute' if ptx else 'sm'}_{newest}", "--std=c++17", "--ptxas-options=-v"]
    handle = _call(nvrtc, "nvrtcCreateProgram", program.source.encode(), b"kernels.cu", 0, [], [])
    try:
        result = nvrtc.nvrtcCompileProgram(handle, len(options), [option.encode() for option in options])[0]
        log = _text(nvrtc, handle, "ProgramLog")
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise NcagenError(f"NVRTC does not compile the kernels for capability {capability / 10}: {log.strip()}")
        return Compiled(_bytes(nvrtc, handle, "PTX" if ptx else "CUBIN"), log, ptx)
    finally:
        nvrtc.nvrtcDestroyProgram(handle)


def resources(log: str) -> dict[str, Resources]:
    """Reads what each kernel takes from the log of `compile_program`."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        numbers = {
            name: int(re.search(rf"(\d+) {text}", part)[1])  # type: ignore[index]
            for name, text in (("registers", "registers"), ("stack", "bytes stack"), ("spills", "bytes spill stores"))
        }
        found[part.split("'")[0]] = Resources(**numbers)
    return found


def refuse_large(program: Program, device: int, shared_limit: int) -> None:
    """Raises NcagenError where a block of a kernel takes more shared memory than the device has for one."""
    size = max(program.shared_bytes(kernel) for kernel in program.kernels)
    if size > shared_limit:
        raise NcagenError(
            f"--device cuda:{device} has {shared_limit} bytes of shared memory for a block, and these settings take"
            f" {size}: use --device cpu"
        )


class Kernels:
    """The kernels of a program on a CUDA device. torch must have begun to use the device."""

    def __init__(self, program: Program, compiled: Compiled, device: int):
        """compiled: the program, for the device. device: its number. Raises NcagenError where the driver does."""
        self.program, self._driver = program, _driver()
        driver = self._driver
        library = _call(driver, "cuLibraryLoadData", compiled.code, [], [], 0, [], [], 0)
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._functions, number = {}, _call(driver, "cuDeviceGet", device)
        for name in program.kernels:
            size = program.shared_bytes(name)
            kernel = _call(driver, "cuLibraryGetKernel", library, name.encode())
            _call(driver, "cuKernelSetAttribute", attribute, size, kernel, number)
            self._functions[name] = driver.CUfunction(int(kernel)), size

    def launch(self, kernel: str, blocks: int, work: int, stream: int) -> None:
        """Starts a kernel on a stream. kernel: of `program.kernels`. blocks: candidates or rows. work: a WORK."""
        function, size = self._functions[kernel]
        grid, block = (blocks, 1, 1), (self.program.lanes, 1, 1)
        arguments = (work,), (ctypes.c_void_p,)
        _call(self._driver, "cuLaunchKernel", function, *grid, *block, size, stream, arguments, 0)


def _call(module: Any, name: str, *arguments: Any) -> Any:
    """Calls a function of cuda-bindings; returns its result, None without one. Raises NcagenError for an error."""
    status, *results = getattr(module, name)(*arguments)
    if status.value:
        raise NcagenError(f"{name} failed: {status.name}")
    return results[0] if results else None


def _bytes(nvrtc: Any, handle: Any, what: str) -> bytes:
    # NVRTC writes into it. A bytes object of one byte, the size of an empty log, would be the interpreter's only b" ".
    found = bytearray(_call(nvrtc, f"nvrtcGet{what}Size", handle))
    _call(nvrtc, f"nvrtcGet{what}", handle, found)
    return bytes(found)


def _text(nvrtc: Any, handle: Any, what: str) -> str:
    return _bytes(nvrtc, handle, what).decode(errors="replace").rstrip("\0")


@cache
def _nvrtc() -> Any:
    """The module of NVRTC. Raises MissingPackage without cuda-bindings, NcagenError without NVRTC."""
    try:
        from cuda import bindings as cuda_bindings
        from cuda.bindings import nvrtc
    except ImportError:
        raise MissingPackage(f"--device cuda needs cuda-bindings: {install('cuda')}") from None
    try:
        nvrtc.nvrtcVersion()
    except (RuntimeError, OSError) as error:
        major = int(cuda_bindings.__version__.split(".")[0])
        package = f"nvidia-cuda-nvrtc{'-cu12' if major == 12 else ''}=={major}.*"
        raise NcagenError(
            f"--device cuda needs NVRTC of CUDA {major}, that of cuda-bindings {cuda_bindings.__version__}, and it is"
            f" not here: {install(repr(package))}"
        ) from error
    return nvrtc


@cache
def _driver() -> Any:
    _nvrtc()
    from cuda.bindings import driver

    return driver
