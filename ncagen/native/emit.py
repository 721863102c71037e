"""Generates the code of kernels and of the entry functions before them, as one object file for a linker.

numba generates and optimises each kernel exactly as on first use. An entry function loads the arguments as `native`
lays them out and calls it. Nothing in the object refers to Python. For which processor and which kernels: `compile`.
"""

import os
from importlib import import_module
from typing import Any

from ncagen import native


def make_object(kernels: list[tuple[str, str]], prefix: str) -> tuple[bytes, dict[str, dict[str, list[str]]]]:
    """Compiles kernels for the processor that numba compiles for in this process.

    kernels: names and types of arguments, as in `kernels.txt`. prefix: of the entry functions' names.
    Returns the object file, and for each kernel and its types the entry function and the type of the result.
    """
    import llvmlite.binding as llvm

    whole = llvm.parse_assembly("")
    entries: dict[str, dict[str, list[str]]] = {}
    for number, (name, types) in enumerate(kernels):
        symbol, signature = f"ncagen_{prefix}_{number}", _numba_types(types)
        compiled = _compiled(name, signature)
        module = llvm.parse_assembly(compiled.library.get_llvm_str())
        _add_entry(module, compiled.fndesc.llvm_func_name, symbol, signature)
        whole.link_in(module)
        entries.setdefault(name, {})[types] = [symbol, _result(compiled.signature.return_type)]
    machine = _target_machine()
    _remove_unused(whole, machine)
    return machine.emit_object(whole), entries


def _compiled(name: str, signature: tuple) -> Any:
    """Has numba compile a kernel for these types. Returns its compile result."""
    module, _, function = name.rpartition(".")
    dispatcher = getattr(import_module(f"ncagen.{module}"), function).compiled
    dispatcher.compile(signature)
    return dispatcher.overloads[signature]


def _result(kind: Any) -> str:
    """The name of a result's type in `native.RESULTS`."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    return "none" if kind == types.none else "b1" if kind == types.boolean else as_dtype(kind).str[1:]


def _numba_types(types: str) -> tuple:
    """Converts types as `native.flatten` writes them to numba's."""
    import numpy as np
    from numba import from_dtype
    from numba import types as numba

    levels: list[list[Any]] = [[]]
    classes: list[str] = []
    for word in types.split():
        if word[0] == "(":
            levels.append([])
            classes.append(word[1:])
        elif word == ")":
            levels[-2].append(numba.BaseTuple.from_types(levels.pop(), _class(classes.pop())))
        elif "[" in word:
            dtype, _, axes = word.partition("[")
            levels[-1].append(numba.Array(from_dtype(np.dtype(dtype)), int(axes.rstrip("]r")), "C", axes[-1] == "r"))
        else:
            levels[-1].append(numba.boolean if word == "b1" else from_dtype(np.dtype(word)))
    return tuple(levels[0])


def _class(name: str) -> type | None:
    module, _, found = name.rpartition(".")
    return getattr(import_module(module), found) if module else None


def _add_entry(module: Any, name: str, symbol: str, signature: tuple) -> None:
    """Adds int32 symbol(words, result): it loads each argument from its word and calls the function `name`."""
    import llvmlite.binding as llvm

    kinds = [str(argument.type) for argument in module.get_function(name).arguments]
    lines: list[str] = []
    values = [value for i, kind in enumerate(_leaves(signature)) for value in _loaded(lines, i, kind)]
    passed = ", ".join(map(" ".join, zip(kinds, ["%result", "%error", *values], strict=True)))
    body = "\n".join(lines)
    module.link_in(
        llvm.parse_assembly(
            f'declare i32 @"{name}"({", ".join(kinds)})\n'
            f"define i32 @{symbol}(ptr %words, ptr %result) {{\n%error = alloca ptr\n{body}\n"
            f'%status = call i32 @"{name}"({passed})\nret i32 %status\n}}\n'
        )
    )


def _leaves(signature: tuple) -> list:
    """Numba's types of all values, those in tuples included, in order."""
    from numba import types

    found: list[Any] = []
    for kind in signature:
        members: Any = kind
        found += _leaves(members.types) if isinstance(kind, types.BaseTuple) else [kind]
    return found


def _loaded(lines: list[str], word: int, kind: Any) -> list[str]:
    """Appends instructions that load a value. Returns the names of what numba passes for it: see `native`."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    def load(name: str, kind: str, base: str, offset: object) -> str:
        lines.append(f"%{name}_at = getelementptr i8, ptr {base}, i64 {offset}")
        lines.append(f"%{name} = load {kind}, ptr %{name}_at")
        return f"%{name}"

    if not isinstance(kind, types.Array):
        bits = 8 * as_dtype(kind).itemsize
        return [load(f"v{word}", "double" if isinstance(kind, types.Float) else f"i{bits}", "%words", 8 * word)]
    array = load(f"array{word}", "ptr", "%words", 8 * word)
    data, shape, strides = (load(f"{name}{word}", "ptr", array, at) for name, at in native.ARRAY_FIELDS.items())
    axes = range(kind.ndim)
    sizes = [load(f"size{word}_{axis}", "i64", shape, 8 * axis) for axis in axes]
    steps = [load(f"stride{word}_{axis}", "i64", strides, 8 * axis) for axis in axes]
    items = "1"
    for axis, size in enumerate(sizes):
        lines.append(f"%items{word}_{axis} = mul i64 {items}, {size}")
        items = f"%items{word}_{axis}"
    return ["null", "null", items, str(as_dtype(kind.dtype).itemsize), data, *sizes, *steps]


def _target_machine() -> Any:
    import llvmlite.binding as llvm

    return llvm.Target.from_default_triple().create_target_machine(
        cpu=os.environ["NUMBA_CPU_NAME"],
        features=os.environ["NUMBA_CPU_FEATURES"],
        opt=3,
        reloc="pic",
        codemodel="default",
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
