"""Compiles the kernels of this package with numba: without the interpreter's lock, and cached on disk between runs.

A kernel allocates nothing; its callers make the arrays. Numba counts references to an array, atomically, at every call
that takes it. In a function that is called for every cell or byte this costs more than the work, so the counting is
turned off (`_nrt`, an option without a public name: it changes the time, not the result).

Numba's cache on disk detects a change of the file that contains a kernel, but not of the files that it calls. A stale
kernel would make different rows, so the hash of all kernel sources is added to the cache's stamp.
"""

import hashlib
from functools import cache
from pathlib import Path

import numba
from llvmlite import ir
from numba.extending import intrinsic

from ncagen.compile_notice import watch

_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
_SOURCES = (
    "kernels.py",
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
    "evaluate/rungs/fit_kernels.py",
)


def kernel(function):
    """Decorates a function that numba compiles on first use. Indices are not checked: callers pass the right shapes."""
    return _compiled(function, _OPTIONS)


def inlined(function):
    """The same as `kernel`, for a small function in a hot loop: it is inlined wherever it is called."""
    return _compiled(function, _OPTIONS | {"forceinline": True})


@intrinsic
def trailing_zeros(typing, number):
    """Counts the trailing zero bits of a uint64, 64 for 0: one instruction that neither Python nor NumPy offers."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return numba.int64(numba.uint64), generate


def _compiled(function, options):
    """Compiles a function, with a disk cache if numba finds a folder for it and its stamp can be set."""
    watch()
    try:
        compiled = numba.njit(cache=True, **options)(function)
        index = compiled._cache._cache_file
        index._source_stamp = index._source_stamp, _sources()
    except (RuntimeError, AttributeError):
        return numba.njit(**options)(function)
    return compiled


@cache
def _sources() -> str:
    """Returns the hash of every file that a kernel may be compiled from."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
