"""How this package compiles its kernels: without the interpreter's lock, and kept on disk between runs.

`kernel` is for functions that Python calls or that allocate; `inner` for those that only kernels call with arrays
made outside. Numba counts references to an array at every call that takes it, atomically; in a function called for
every cell or byte this costs more than the work, so `inner` turns the counting off (`_nrt`, an option without a
public name: dropping it changes no result, only the time).

Numba refuses to compile at all where it finds no folder for its cache (a read-only image without a home); there the
kernels are compiled anew in each process instead.
"""

import numba

_OPTIONS = {"nogil": True, "error_model": "numpy"}


def kernel(function):
    """A function compiled by numba on first use. Indices are not checked; callers pass arrays of the right shape."""
    return _compiled(function, _OPTIONS)


def inner(function):
    """The same for a function that allocates nothing and is called by kernels only."""
    return _compiled(function, _OPTIONS | {"_nrt": False})


def _compiled(function, options):
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
