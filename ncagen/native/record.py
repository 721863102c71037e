"""Records which kernels are called from Python, and with which types, into `kernels.txt`.

    python -m ncagen.native.record

It makes and checks rows of every source, with settings for each branch that changes the types of arguments. A kernel
or type that no run here uses is compiled on first use: a missing line costs time there and changes no result.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ncagen import kernels, native, processor
from ncagen.native.compile import LIST

LEVELS = ("avx512", "avx2")  # their tables of weights have other types: 16-bit integers, bytes

_FACTS = "period,changed,states,entropy"
# Settings of a few rows each, beside COMMON.
_ANY = {"band": ["0.01-1"]}
RUNS: tuple[dict[str, Any], ...] = (
    _ANY | {"validation": 300, "facts": f"oracle,lambda,{_FACTS}"},
    _ANY | {"states": 40},  # patches of 32 bits
    _ANY | {"patch": 1, "states": 40, "facts": f"oracle,lambda,{_FACTS}"},
    {"measure": "linear-gap", "band": ["0.001-1"]},
    *(_ANY | {"control": name} for name in ("shuffle-time", "shuffle-row", "unigram", "noise", "frozen-rule")),
    *(_ANY | {"control": "shuffle-cells", "states": states} for states in (10, 40)),
    _ANY | {"control": "new-rule"},
    _ANY | {"source": "life", "facts": f"lambda,{_FACTS}"},
    {"source": "elementary", "rule": "disjoint", "facts": f"lambda,{_FACTS}"},
    {"source": "dyck"},
    {"source": "dyck", "shuffle": True},
    {"source": "dyck", "uniform": True, "length": 16, "max_depth": 8},
    {"source": "procedural", "seq_len": 256},
)
COMMON = {"tokens": 3000, "validation": 0, "seq_len": 128}


class Recorder:
    """Takes the place of a library: has numba compile every kernel, and lists the types that it is called with."""

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def has(self, kernel: str) -> bool:
        """Every call is recorded."""
        return True

    def call(self, kernel: str, args: tuple, otherwise: Callable) -> Any:
        """Adds a line for this call and runs the compiled kernel."""
        types: list[str] = []
        try:
            native.flatten(args, types, [])
        except native.UnknownType:
            return otherwise(*args)
        self.lines.add(" ".join([kernel, *types]))
        return otherwise(*args)


def main() -> None:
    """Writes the list, from a process for each of LEVELS; with a path, the lines of this process there."""
    if sys.argv[1:]:
        return record(Path(sys.argv[1]))
    lines: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for level in LEVELS:
            path = Path(folder, level)
            command = [sys.executable, "-m", "ncagen.native.record", str(path)]
            subprocess.run(command, env=os.environ | {processor.SWITCH: level}, check=True)
            lines |= set(path.read_text(encoding="utf-8").splitlines())
    LIST.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")


def record(path: Path) -> None:
    """Runs what uses kernels, and writes their lines to a file."""
    recorder = Recorder()
    kernels._library = lambda: recorder  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))
    path.write_text("\n".join(sorted(recorder.lines)) + "\n", encoding="utf-8")


def run(folder: Path) -> None:
    """Builds and verifies small datasets in `folder`."""
    import ncagen

    for length in (40, 2000, 100_000):
        ncagen.gzip_length(bytes(length))
    for number, settings in enumerate(RUNS):
        print(settings)
        out = folder / str(number)
        ncagen.build(COMMON | settings, out, workers=1)
        ncagen.verify(out, regenerate=1.0)


if __name__ == "__main__":
    main()
