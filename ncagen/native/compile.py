"""Compiles the kernels of `kernels.txt` into a shared library for each level.

    python -m ncagen.native.compile          for this machine, unless its library is that of these sources
    python -m ncagen.native.compile all      every level of this machine's architecture, for a wheel

numba generates the code (`emit`), in a process for each level and module with kernels, as many at a time as there are
cores. The C compiler of this machine, `cc` or $CC, links it. `record` lists the kernels.
"""

import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ncagen import cores, kernels, native, processor
from ncagen.native import emit

LIST = Path(__file__).parent / "kernels.txt"
# numba's name of a processor of each level. Its tuning is that of the most common one.
_PROCESSORS = {"generic": "generic", "avx2": "haswell", "avx512": "skylake-avx512", "neon": "generic"}
_INTEL = ("generic", "avx2", "avx512")


def main() -> None:
    """Makes the libraries that the command line asks for, or one object of them in a process that it starts."""
    if len(sys.argv) == 4:
        return _make_part(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        sys.exit(f"ncagen: no C compiler {compiler} is installed: kernels are compiled on first use instead")
    if sys.argv[1:] == ["all"]:
        levels = ["neon"] if platform.machine() in ("aarch64", "arm64") else list(_INTEL)
    elif native.load(kernels._sources()):
        return
    else:
        levels = [processor.level()]
    make(levels, compiler)


def make(levels: list[str], compiler: str) -> None:
    """Makes the libraries of these levels, and removes all others."""
    stamp = kernels._sources()  # before anything is compiled
    modules = sorted({name.rpartition(".")[0] for name, _ in listed()})
    shutil.rmtree(native.LIBRARIES, ignore_errors=True)
    native.LIBRARIES.mkdir()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores.cores()) as pool:
        parts = [(level, module, folder) for module in modules for level in levels]
        list(pool.map(_start, parts))
        for level in levels:
            _link(level, sorted(Path(folder).glob(f"{level}-*.o")), compiler, stamp)


def listed() -> list[tuple[str, str]]:
    """Returns the kernels of `kernels.txt`: the name and the types of arguments of each."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [(name, types) for name, _, types in (line.partition(" ") for line in lines)]


def _start(part: tuple[str, str, str]) -> None:
    """Runs a process that makes one object. Its cache is empty: from a cached kernel there is no code to link."""
    level, module, folder = part
    features = [f"+{name}" for name in processor.REQUIRED[level]]
    environment = os.environ | {
        "NUMBA_CPU_NAME": _PROCESSORS[level],
        "NUMBA_CPU_FEATURES": ",".join([*features, "-prefer-256-bit"] if level == "avx512" else features),
        "NUMBA_CACHE_DIR": f"{folder}/{level}-{module}",
    }
    subprocess.run([sys.executable, "-m", "ncagen.native.compile", *part], env=environment, check=True)


def _make_part(level: str, module: str, folder: Path) -> None:
    logging.getLogger("ncagen.compile_notice").setLevel(logging.ERROR)
    chosen = [(name, types) for name, types in listed() if name.rpartition(".")[0] == module]
    code, entries = emit.make_object(chosen, module.replace(".", "_"))
    (folder / f"{level}-{module}.o").write_bytes(code)
    (folder / f"{level}-{module}.json").write_text(json.dumps(entries), encoding="utf-8")


def _link(level: str, objects: list[Path], compiler: str, stamp: str) -> None:
    """Makes a library of objects. `-z defs` refuses names that only Python's process would have."""
    path = native.LIBRARIES / f"{level}.so"
    strict = [] if sys.platform == "darwin" else ["-Wl,-z,defs"]
    subprocess.run([compiler, "-shared", *strict, "-s", "-o", path, *objects, "-lm"], check=True)
    entries: dict[str, dict] = {}
    for part in objects:
        entries |= json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))
    described = {
        "stamp": stamp,
        "platform": sys.platform,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "entries": entries,
    }
    path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
