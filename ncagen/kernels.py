"""Kernels of this package: run from a library that was compiled before (`native`), or compiled by numba on first use.

numba's results run without the interpreter's lock and are cached on disk. numba itself is imported when the first
kernel must be compiled, which takes as long as a small build: with a library, a command needs neither.

A kernel allocates nothing; its callers make the arrays. Numba counts references to an array, atomically, at every call
that takes it. In a function that is called for every cell or byte this costs more than the work, so the counting is
turned off (`_nrt`, an option without a public name: it changes the time, not the result).

Numba's cache on disk detects a change of the file that contains a kernel, but not of the files that it calls. A stale
kernel would make different rows, so the hash of all kernel sources is added to the cache's stamp, and the vector
extensions that they were written out for, which NCAGEN_KERNELS may restrict.
"""

import hashlib
import threading
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from importlib import import_module
from pathlib import Path
from typing import Any

from ncagen import native, processor
from ncagen.hints import needed_by

_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
_SOURCES = (
    "kernels.py",
    "native/__init__.py",
    "native/emit.py",
    "processor.py",
    "philox.py",
    "philox_kernels.py",
    "sources/cellular/lane_kernels.py",
    "sources/cellular/rules.py",
    "sources/nca/control_kernels.py",
    "sources/grid_facts_kernels.py",
    "sources/logarithm.py",
    "sources/dyck/kernels.py",
    "sources/dyck/parse.py",
    "sources/dyck/settings.py",
    "sources/nca/cpu_kernels.py",
    "sources/nca/entropy.py",
    "sources/nca/entropy_kernels.py",
    "sources/nca/rule_kernels.py",
    "sources/nca/rules.py",
    "sources/nca/sample_kernels.py",
    "sources/nca/simd.py",
    "sources/nca/structure_kernels.py",
    "sources/nca/vectors.py",
    "sources/procedural/kernels.py",
    "sources/procedural/tasks.py",
    "sources/text/digest_kernels.py",
    "sources/text/window_kernels.py",
    "deflate/huffman.py",
    "deflate/lengths.py",
    "deflate/lz77.py",
    "deflate/masks.py",
    "deflate/token_columns.py",
    "deflate/token_parse.py",
    "evaluate/rungs/fit_kernels.py",
    "evaluate/rungs/lookup_kernels.py",
    "audit/neighbour_kernels.py",
)

_COMPILER = threading.RLock()


class Kernel:
    """A function that numba can compile, called from Python or from another kernel."""

    def __init__(self, function: Callable, options: dict[str, Any]) -> None:
        update_wrapper(self, function)
        self.py_func, self._options = function, options
        self.name = f"{function.__module__}.{function.__qualname__}".removeprefix("ncagen.")

    def __call__(self, *args: Any) -> Any:
        """Runs the kernel. Indices are not checked: callers pass the right shapes."""
        library = _library()
        if library is not None and library.has(self.name):
            return library.call(self.name, args, self._compile_and_run)
        return self.compiled(*args)

    def _compile_and_run(self, *args: Any) -> Any:
        return self.compiled(*args)

    @property
    def compiled(self) -> Any:
        """Numba's dispatcher, which compiles the function for the types of its arguments."""
        with _COMPILER:
            return self._compiled

    @cached_property
    def _compiled(self) -> Any:
        """It has a disk cache if numba finds a folder for it and its stamp can be set."""
        numba = _numba()
        try:
            compiled = numba.njit(cache=True, **self._options)(self.py_func)
            index = compiled._cache._cache_file
            index._source_stamp = index._source_stamp, _sources(), sorted(processor.features())
        except (RuntimeError, AttributeError):
            return numba.njit(**self._options)(self.py_func)
        return compiled


class Intrinsic:
    """A function that generates code at its place in a kernel, as `numba.extending.intrinsic` has it."""

    def __init__(self, function: Callable) -> None:
        self.__doc__, self._function = function.__doc__, function

    @cached_property
    def registered(self) -> Any:
        """Numba's object for it."""
        from numba.extending import intrinsic

        return intrinsic(self._function)


class _Deferred:
    """A module of numba that is imported when something of it is used: by code that generates code."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


cgutils, types = _Deferred("numba.core.cgutils"), _Deferred("numba.core.types")


def kernel(function: Callable) -> Kernel:
    """Decorates a function that numba compiles, without bounds checks."""
    return Kernel(function, _OPTIONS)


def inlined(function: Callable) -> Kernel:
    """The same as `kernel`, for a small function in a hot loop: it is inlined wherever it is called."""
    return Kernel(function, _OPTIONS | {"forceinline": True})


def intrinsic(function: Callable) -> Intrinsic:
    """Decorates a function (typing context, types) that returns a signature and a code generator."""
    return Intrinsic(function)


def arguments(context, builder, signature, args):
    """Returns, within an intrinsic, array arguments as pointers to their data, scalars unchanged."""
    return [
        context.make_array(kind)(context, builder, arg).data if isinstance(kind, types.Array) else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]


@intrinsic
def trailing_zeros(typing, number):
    """Counts the trailing zero bits of a uint64, 64 for 0: one instruction that neither Python nor NumPy offers."""
    from llvmlite import ir

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@cache
def _numba() -> Any:
    """Imports numba and has it know kernels and intrinsics as globals of other kernels."""
    with needed_by("compiling kernels"):
        import numba
        from numba.core.registry import cpu_target
        from numba.extending import typeof_impl

    from ncagen.compile_notice import watch

    @typeof_impl.register(Kernel)
    def kernel_type(value, context):
        return numba.typeof(value.compiled)

    @typeof_impl.register(Intrinsic)
    def intrinsic_type(value, context):
        registered = value.registered
        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(registered)

    watch()
    return numba


@cache
def _library() -> native.Library | None:
    return native.load(_sources())


@cache
def _sources() -> str:
    """Returns the hash of every file that a kernel may be compiled from."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
