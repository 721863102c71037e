"""How this package compiles its kernels: without the interpreter's lock, and kept on disk between runs.

Numba refuses to compile at all where it finds no folder for its cache (a read-only image without a home); there the
kernels are compiled anew in each process instead.
"""

import numba


def kernel(function):
    """A function compiled by numba on first use. Indices are not checked; callers pass arrays of the right shape."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
