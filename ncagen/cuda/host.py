"""Compiles the kernels for the host's processor with a C++ compiler, and runs them there: for tests, not for builds.

One thread runs the lanes of a block phase by phase, in an order that changes from phase to phase. The kernels of `cpu`
are twenty times as fast. Not covered: devices (`nvrtc`).
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ncagen.cuda.program import KERNELS, Program
from ncagen.errors import NcagenError

FLAGS = ("-std=c++20", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")


class Kernels:
    """The kernels of a program on this processor."""

    def __init__(self, program: Program, order: int = 1):
        """order: a number that the order of the lanes follows from."""
        self._library, self._order = ctypes.CDLL(str(_built(program))), order

    def launch(self, kernel: str, blocks: int, work: int, stream: int = 0) -> None:
        """Runs a kernel to its end. kernel: of KERNELS. blocks: candidates or rows. work: address of a WORK."""
        assert kernel in KERNELS and not stream
        getattr(self._library, kernel)(ctypes.c_void_p(work), ctypes.c_uint32(blocks), ctypes.c_uint32(self._order))


@cache
def _built(program: Program) -> Path:
    folder = Path(tempfile.gettempdir()) / f"ncagen-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{hashlib.sha256(program.source.encode()).hexdigest()[:32]}.so"
    if not library.exists():
        compile_library(program, library)
    return library


def compile_library(program: Program, library: Path) -> None:
    """Compiles a program into a shared library. Raises NcagenError without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise NcagenError("the kernels need a C++ compiler on the host: install g++")
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        source, built = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        source.write_text(program.source, encoding="utf-8")
        command = [compiler, *FLAGS, str(source), "-o", str(built)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NcagenError(f"{compiler} does not compile the kernels: {done.stderr[-2000:]}")
        built.replace(library)
