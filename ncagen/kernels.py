"""How this package compiles its kernels: without the interpreter's lock, and kept on disk between runs.

A kernel allocates nothing; its arrays are made outside. Numba counts references to an array at every call that takes
it, atomically; in a function called for every cell or byte this costs more than the work, so the counting is turned
off (`_nrt`, an option without a public name: dropping it changes no result, only the time).

Numba's cache on disk notices a change of the file that a kernel stands in, not of the files it calls. A stale kernel
would make other rows, so the hash of all kernel sources is made part of the cache's stamp.
"""

import hashlib
from functools import cache
from pathlib import Path

import numba
from llvmlite import ir
from numba.extending import intrinsic

_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
_SOURCES = ("kernels.py", "philox.py", "spec.py", "sources/nca/*.py", "deflate/*.py")


def kernel(function):
    """A function compiled by numba on first use. Indices are not checked; callers pass arrays of the right shape."""
    return _compiled(function, _OPTIONS)


def inlined(function):
    """The same for a small function in a hot loop, inlined wherever it is called."""
    return _compiled(function, _OPTIONS | {"forceinline": True})


@intrinsic
def trailing_zeros(typing, number):
    """Trailing zero bits of a uint64, 64 for 0: one instruction, which neither Python nor NumPy offers."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return numba.int64(numba.uint64), generate


def _compiled(function, options):
    """Compiled, with a cache where numba finds a folder for one and lets its stamp be set, else without."""
    try:
        compiled = numba.njit(cache=True, **options)(function)
        index = compiled._cache._cache_file
        index._source_stamp = index._source_stamp, _sources()
    except (RuntimeError, AttributeError):
        return numba.njit(**options)(function)
    return compiled


@cache
def _sources() -> str:
    """The hash of every file that a kernel may be compiled from."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
