"""Runs kernels from a shared library that was compiled before, so that a first command waits for no compiler.

A library belongs to a level (`processor`): `library/LEVEL.so`, made by `python -m ncagen.native.compile` from the
kernels' own sources, with numba, when a wheel is built or by `make`. `library/LEVEL.json` beside it lists the kernels
and argument types that it has, its sha256, and the hash of the sources. It is used only if both hashes are right and
the processor has what the level requires. A kernel, or types, that it does not have are compiled by numba (`kernels`).

A call passes one block of 64-bit words: a word for each scalar, and for each array the address of its object. The
library's entry functions load the values, of an array its address, shape and strides, and pass them on as numba does.
ctypes releases the interpreter's lock during a call.

NCAGEN_KERNELS=compile turns libraries off; NCAGEN_KERNELS=avx2 or generic takes that of a lower level. Not covered:
what a kernel computes, and whether that is right on this processor, which each source checks before it makes a row
(`Source.check`).
"""

import ctypes
import hashlib
import json
import logging
import os
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ncagen import processor

LIBRARIES = Path(__file__).parent / "library"
_OVERRIDES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT")

# Where the C struct of a NumPy array has its fields, in bytes. NumPy's binary interface fixes them, behind the head of
# a Python object, which is longer in an interpreter without a global lock.
ARRAY_FIELDS = {"data": 16, "shape": 32, "strides": 40}
_OBJECT_HEAD = 16

_MASK = 2**64 - 1
_INTEGERS = {np.dtype(name).type: name for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
RESULTS = {
    "none": ctypes.c_void_p,
    "b1": ctypes.c_bool,
    "f8": ctypes.c_double,
    **{name: getattr(ctypes, f"c_{'u' * (name[0] == 'u')}int{8 * int(name[1])}") for name in _INTEGERS.values()},
}

_LOG = logging.getLogger(__name__)


class UnknownType(Exception):
    """An argument is of a type that no library has."""


class Library:
    """A loaded library. entries: (kernel's name, argument types) to the function and its result's type."""

    def __init__(self, path: Path, entries: dict[str, dict[str, list[str]]]) -> None:
        loaded = ctypes.CDLL(str(path))
        self._found: dict[str, dict[str, tuple[Any, Any]]] = {}
        for kernel, variants in entries.items():
            for types, (symbol, result) in variants.items():
                function = getattr(loaded, symbol)
                function.argtypes, function.restype = (ctypes.c_char_p, ctypes.c_void_p), ctypes.c_int32
                self._found.setdefault(kernel, {})[types] = function, RESULTS[result]

    def has(self, kernel: str) -> bool:
        """Whether the library has this kernel, by its full name, for any types."""
        return kernel in self._found

    def call(self, kernel: str, args: tuple, otherwise: Callable) -> Any:
        """Runs a kernel that the library has, or `otherwise` where it has not these types of arguments."""
        types: list[str] = []
        words: list[int] = []
        try:
            flatten(args, types, words)
        except UnknownType:
            return otherwise(*args)
        found = self._found[kernel].get(" ".join(types))
        if found is None:
            return otherwise(*args)
        function, result = found
        returned = result()
        if function(struct.pack(f"{len(words)}Q", *words), ctypes.addressof(returned)):
            raise RuntimeError(f"{kernel} failed in {LIBRARIES}")
        return returned.value


def flatten(args: tuple, types: list[str], words: list[int]) -> None:
    """Appends the types of arguments and their 64-bit words. Raises UnknownType.

    A type is a scalar's `i8`, `u4`, `f8`, `b1`; an array's dtype and number of axes, `<i2[3]`, with an `r` behind it
    where the array is read-only; the types of a tuple are between `(`, followed by
    the name of a named tuple's class, and `)`. As in numba, an int is an i8, or a u8
    where it does not fit. An array that is not C-contiguous and aligned has no type here.
    """
    for arg in args:
        kind = type(arg)
        if kind is np.ndarray:
            flags = arg.flags
            if flags.carray:
                types.append(_array_type(arg.dtype, arg.ndim))
            elif flags.c_contiguous and flags.aligned:
                types.append(_array_type(arg.dtype, arg.ndim) + "r")
            else:
                raise UnknownType
            words.append(id(arg))
        elif isinstance(arg, tuple):
            types.append("(" if kind is tuple else f"({kind.__module__}.{kind.__qualname__}")
            flatten(arg, types, words)
            types.append(")")
        elif kind is int:
            types.append("i8" if arg < 2**63 else "u8")
            words.append(arg & _MASK)
        elif kind in _INTEGERS:
            types.append(_INTEGERS[kind])
            words.append(int(arg) & _MASK)
        elif kind is bool or kind is np.bool_:
            types.append("b1")
            words.append(int(arg))
        elif kind is float or kind is np.float64:
            types.append("f8")
            words.append(struct.unpack("Q", struct.pack("d", arg))[0])
        else:
            raise UnknownType


@cache
def _array_type(dtype: np.dtype, axes: int) -> str:
    return f"{dtype.str}[{axes}]"


def load(stamp: str) -> Library | None:
    """Returns the library for this process, or None where there is none. stamp: the hash of the kernels' sources.

    A damaged one is reported in one line through `logging`, and not used.
    """
    if os.environ.get(processor.SWITCH) == "compile" or any(name in os.environ for name in _OVERRIDES):
        return None
    if sys.byteorder != "little" or object.__basicsize__ != _OBJECT_HEAD:
        return None
    level = processor.level()
    path = LIBRARIES / f"{level}.so"
    if not (path.exists() and processor.host_features().issuperset(processor.REQUIRED[level])):
        return None
    try:
        listed = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if listed["stamp"] != stamp or listed["platform"] != sys.platform:
            return None
        if hashlib.sha256(path.read_bytes()).hexdigest() != listed["sha256"]:
            raise ValueError("its sha256 is another")
        return Library(path, listed["entries"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("ncagen: %s is damaged (%s); kernels are compiled instead: install ncagen anew", path, error)
        return None
