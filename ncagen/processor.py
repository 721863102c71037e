"""The vector extensions of this machine's processor that kernels are written for, and the level that they make.

    level     features        processors
    generic   none            every x86-64
    avx2      avx2            x86-64-v3: Haswell, Zen and later
    avx512    avx2, avx512bw  x86-64-v4: Skylake-X, Zen 4 and later
    neon      neon            every AArch64

A level is what a shipped library of kernels is compiled for (`native`); `REQUIRED` lists what its code may use. numba's
NUMBA_CPU_NAME and NUMBA_CPU_FEATURES decide where they are set, then NCAGEN_KERNELS if it is a level; the tests set
them to run every variant. Otherwise Linux says what the processor has, and elsewhere LLVM.
"""

import os
import platform
from functools import cache
from pathlib import Path

USED = frozenset({"avx2", "avx512bw", "neon"})
SWITCH = "NCAGEN_KERNELS"
# The features that libraries of a level are compiled with, by LLVM's names.
_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.1", "sse4.2", "ssse3")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
REQUIRED: dict[str, tuple[str, ...]] = {"generic": (), "avx2": _V3, "avx512": _V4, "neon": ("neon",)}
# LLVM's names of what Linux calls otherwise.
_LINUX_NAMES = {"abm": "lzcnt", "bmi1": "bmi", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "asimd": "neon"}


@cache
def features() -> frozenset[str]:
    """Returns those of `USED` that kernels are compiled for in this process."""
    if listed := os.environ.get("NUMBA_CPU_FEATURES"):  # first: a library of the level neon has both names
        return USED.intersection(name[1:] for name in listed.split(",") if name[:1] == "+")
    if os.environ.get("NUMBA_CPU_NAME") == "generic":
        return frozenset()
    return USED & host_features() & frozenset(REQUIRED.get(os.environ.get(SWITCH, ""), USED))


def level() -> str:
    """Returns the level of these features."""
    found = features()
    if "neon" in found:
        return "neon"
    return "avx512" if "avx512bw" in found else "avx2" if "avx2" in found else "generic"


@cache
def host_features() -> frozenset[str]:
    """Returns all features of this machine's processor, by LLVM's names."""
    if platform.machine() in ("aarch64", "arm64"):
        return frozenset({"neon"})
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("flags"):
            return frozenset(_LINUX_NAMES.get(name, name) for name in line.partition(":")[2].split())
    return _by_llvm()


def _by_llvm() -> frozenset[str]:
    import llvmlite.binding as llvm

    return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)
