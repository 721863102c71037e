"""Compiles the kernels of `kernels.txt` into a shared library for each level: `python -m ncagen.native.compile`.

numba generates and optimises the code of each kernel, exactly as on first use, for a processor of the level. An entry
function is added to each, which loads the arguments as `native` lays them out; all are linked into one object, and the
C compiler of this machine, `cc` or $CC, makes a shared library of it. Nothing in it refers to Python.

    python -m ncagen.native.compile          the level of this machine
    python -m ncagen.native.compile all      every level of this machine's architecture, as in a wheel
    python -m ncagen.native.compile LEVEL    one level, in this process

Which kernels are called from Python, and with which types, is recorded by `record`.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from ncagen import kernels, native, processor

LIST = Path(__file__).parent / "kernels.txt"
# numba's name of a processor of each level. Its tuning is that of the most common one.
_PROCESSORS = {"generic": "generic", "avx2": "haswell", "avx512": "skylake-avx512", "neon": "generic"}
_INTEL = ("generic", "avx2", "avx512")


def main() -> None:
    """Makes the libraries that the command line names, each level in a process of its own."""
    named = sys.argv[1:] or [processor.level()]
    if named == ["all"]:
        named = ["neon"] if platform.machine() in ("aarch64", "arm64") else list(_INTEL)
    if named == [os.environ.get("NCAGEN_LEVEL")]:
        return _make(named[0])
    shutil.rmtree(native.LIBRARIES, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        started = [subprocess.Popen([sys.executable, "-m", __spec__.name, n], env=_environment(n, cache)) for n in named]
        if any([process.wait() for process in started]):
            sys.exit(1)


def _environment(level: str, cache: str) -> dict[str, str]:
    """The environment in which numba compiles for a level. Its cache is empty: a cached kernel has no code to link."""
    features = [f"+{name}" for name in processor.REQUIRED[level]]
    return os.environ | {
        "NCAGEN_LEVEL": level,
        "NUMBA_CPU_NAME": _PROCESSORS[level],
        "NUMBA_CPU_FEATURES": ",".join([*features, "-prefer-256-bit"] if level == "avx512" else features),
        "NUMBA_CACHE_DIR": f"{cache}/{level}",
    }


def listed() -> dict[str, list[str]]:
    """Returns the kernels of `kernels.txt` by name, and the types of arguments of each."""
    found: dict[str, list[str]] = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        name, _, types = line.partition(" ")
        found.setdefault(name, []).append(types)
    return found


def _make(level: str) -> None:
    import llvmlite.binding as llvm

    whole = llvm.parse_assembly("")
    entries: dict[str, dict[str, list[str]]] = {}
    for name, variants in listed().items():
        for types in variants:
            symbol = f"ncagen_{len(entries)}_{len(entries.get(name, {}))}"
            compiled, result = _code(name, types)
            text, function = compiled
            module = llvm.parse_assembly(text)
            _add_entry(module, function, symbol)
            whole.link_in(module)
            entries.setdefault(name, {})[types] = [symbol, result]
    machine = _target_machine()
    _remove_unused(whole, machine)
    native.LIBRARIES.mkdir(exist_ok=True)
    path = native.LIBRARIES / f"{level}.so"
    _link(machine.emit_object(whole), path)
    described = {
        "stamp": kernels._sources(),
        "platform": sys.platform,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "entries": entries,
    }
    path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _code(name: str, types: str) -> tuple[tuple[str, str], str]:
    """Compiles a kernel. Returns its module as text and its function's name in it, and its result's type."""
    module, _, function = name.rpartition(".")
    dispatcher = getattr(import_module(f"ncagen.{module}"), function).compiled
    signature = _numba_types(types)
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    result = str(compiled.signature.return_type)
    short = {"none": "none", "bool": "b1", "float64": "f8"}.get(result)
    if short is None:
        short = f"{result[0]}{int(result.removeprefix('u').removeprefix('int')) // 8}"
    return (compiled.library.get_llvm_str(), compiled.fndesc.llvm_func_name), short


def _numba_types(types: str) -> tuple:
    """Converts types as `native.flatten` writes them to numba's."""
    import numpy as np
    from numba import from_dtype
    from numba import types as numba

    levels: list[list[Any]] = [[]]
    for word in types.split():
        if word == "(":
            levels.append([])
        elif word == ")":
            levels[-2].append(numba.BaseTuple.from_types(levels.pop()))
        elif "[" in word:
            dtype, _, axes = word.partition("[")
            levels[-1].append(numba.Array(from_dtype(np.dtype(dtype)), int(axes.rstrip("]r")), "C", axes[-1] == "r"))
        else:
            levels[-1].append(numba.boolean if word == "b1" else from_dtype(np.dtype(word)))
    return tuple(levels[0])


def _add_entry(module: Any, name: str, symbol: str) -> None:
    """Adds int32 symbol(words, result): it loads each argument from its word and calls the function `name`."""
    import llvmlite.binding as llvm

    kinds = [str(argument.type) for argument in module.get_function(name).arguments]
    lines, passed = [], ["ptr %result", "ptr %error"]
    for i, kind in enumerate(kinds[2:]):
        lines.append(f"%p{i} = getelementptr i64, ptr %words, i64 {i}")
        lines.append(f"%a{i} = load {kind}, ptr %p{i}, align 8")
        passed.append(f"{kind} %a{i}")
    body = "\n".join(lines)
    module.link_in(
        llvm.parse_assembly(
            f'declare i32 @"{name}"({", ".join(kinds)})\n'
            f"define i32 @{symbol}(ptr %words, ptr %result) {{\n%error = alloca ptr\n{body}\n"
            f'%status = call i32 @"{name}"({", ".join(passed)})\nret i32 %status\n}}\n'
        )
    )


def _target_machine() -> Any:
    import llvmlite.binding as llvm
    from numba.core import config

    return llvm.Target.from_default_triple().create_target_machine(
        cpu=config.CPU_NAME, features=config.CPU_FEATURES, opt=3, reloc="pic", codemodel="default"
    )


def _remove_unused(module: Any, machine: Any) -> None:
    """Removes numba's functions for Python, by having nothing but the entry functions visible from outside."""
    import llvmlite.binding as llvm

    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and not value.name.startswith("ncagen_"):
            value.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))


def _link(code: bytes, path: Path) -> None:
    """Makes a shared library of one object. `-z defs` refuses names that only Python's process would have."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernels.o"
        made.write_bytes(code)
        strict = [] if sys.platform == "darwin" else ["-Wl,-z,defs"]
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", *strict, "-s", "-o", str(path), str(made), "-lm"], check=True)


if __name__ == "__main__":
    main()
