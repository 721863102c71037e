"""Runs the PTX of the CUDA kernels without a GPU, and asserts what ptxas makes of it for three architectures.

`ptx` executes what NVRTC compiles, and reports races, uninitialised reads and addresses that are not allowed.
"""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from ptx import Block, Fault, Memory
from test_identity import TRAIN

from ncagen.cuda import nvrtc
from ncagen.cuda.program import KERNELS, WORK, Program
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, definition, rules
from ncagen.sources.nca.gpu import constants, program_of
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.rules import later_candidates
from ncagen.sources.nca.settings import Settings

pytest.importorskip("cuda.bindings")
ARCHITECTURES = 80, 90, 100  # A100, H100 and H200, B200
MOST_REGISTERS = {"rollout": 168, "score": 40, "rows": 168}

# name: (options, row length). Each with whatever no other has.
CASES = {
    "default": ({}, 1024),
    "noise decides": ({"temperature": 1.0, "grid": 6, "warmup": 1}, 120),
    "bias, no wrap, uniform": (
        {"identity_bias": 0.3, "channel_wrap": False, "start": "uniform", "temperature": 0.0, "grid": 8, "warmup": 1},
        300,
    ),
    "all states": ({"states": 256, "patch": 1, "grid": "3x5", "warmup": 1, "stride": 2, "temperature": 0.01}, 150),
    "four-byte tokens": ({"states": 5, "patch": 3, "grid": "6x12", "warmup": 0}, 100),
    "another rule": ({"control": "new-rule", "change_at": 11, "grid": "4x6", "warmup": 1}, 120),
}


def replaced(program: Program, source: str) -> Program:
    """A program with another source."""
    found = replace(program)
    vars(found)["source"] = source  # where cached_property looks
    return found


class Launch:
    """A candidate's kernels on the emulator, and what they wrote."""

    def __init__(self, chosen: Settings, candidate: int, capability: int = 90, source: str | None = None):
        self.program, memory = program_of(chosen), Memory()
        program = self.program
        if source is not None:
            program = replaced(self.program, source)
        self.text = nvrtc.compile_program(program, capability, ptx=True).code.decode().rstrip("\0")
        weights = np.stack([rules.weight_table(scale) for scale in rules.SCALES])
        tables = tuple(memory.add(table.copy()) for table in (weights, rules.start_table(), rules.gumbel_table()))
        work, candidates = constants(chosen, tables).copy(), np.array([candidate], np.uint64)
        rule_key, numbers = rules.rule_address(chosen, TRAIN, candidates)
        later = rules.rule_address(chosen, TRAIN, later_candidates(chosen, candidates))[1]
        work["key"], work["rule_key"] = TRAIN, rule_key
        for name, array in (("candidates", candidates), ("rules", numbers), ("later_rules", later)):
            work[name] = memory.add(array.copy())
        self.patches = np.zeros((1, chosen.scored_frames, chosen.patches), chosen.token_dtype)
        self.last, self.scores = np.zeros((1, chosen.cells), np.uint8), np.full(1, -7, np.int32)
        self.rows, numbers = np.zeros((1, chosen.row_tokens), chosen.token_dtype), np.zeros(1, np.uint32)
        for name, array in (("patches", self.patches), ("last", self.last), ("scores", self.scores)):
            work[name] = memory.add(array)
        work["rows"], work["chosen"] = memory.add(self.rows), memory.add(numbers)
        self._memory, self._work = memory, memory.add(work.reshape(1))

    def run(self, kernel: str, shared_bytes: int | None = None) -> Block:
        size = self.program.shared_bytes(kernel) if shared_bytes is None else shared_bytes
        block = Block(self.text, kernel, self.program.lanes, size, self._memory)
        block.run(0, [self._work])
        return block


def assert_identical(launch: Launch, chosen: Settings, candidate: int) -> None:
    candidates = np.array([candidate], np.uint64)
    wanted = grid_tokens.patch_tokens(chosen, definition.trajectories(chosen, TRAIN, candidates, chosen.frames))
    assert np.array_equal(launch.patches, wanted[:, : chosen.scored_frames])
    assert np.array_equal(launch.rows, grid_tokens.rows(chosen, wanted))
    assert launch.scores.tolist() == batch.run(chosen, TRAIN, candidates).score.tolist()


@pytest.mark.parametrize("name", CASES)
def test_ptx_equals_the_definition(name):
    options, seq_len = CASES[name]
    control = {key: options[key] for key in ("control", "change_at") if key in options}
    chosen = settings_of({key: value for key, value in options.items() if key not in control} | control, seq_len)
    launch = Launch(chosen, 7)
    for kernel in KERNELS:
        launch.run(kernel)
    assert_identical(launch, chosen, 7)


@pytest.mark.slow
@pytest.mark.parametrize("capability", ARCHITECTURES)
@pytest.mark.parametrize("candidate", [4, 2**40 + 3])
def test_ptx_of_each_architecture_equals_the_definition(capability, candidate):
    launch = Launch(Settings(), candidate, capability)
    for kernel in KERNELS:
        launch.run(kernel)
    assert_identical(launch, Settings(), candidate)


@pytest.mark.parametrize("capability", ARCHITECTURES)
@pytest.mark.parametrize(
    "options", [{}, {"states": 256, "patch": 1, "height": 8, "width": 8, "temperature": 1.0, "identity_bias": 1.0}]
)
def test_registers_and_spills(capability, options):
    """168 registers leave room for twelve warps on a multiprocessor, 40 for as many as shared memory holds."""
    found = nvrtc.resources(nvrtc.compile_program(program_of(Settings(**options)), capability).log)
    assert set(found) == set(KERNELS)
    few = 8 if options else 0
    for name, resources in found.items():
        assert resources.registers <= MOST_REGISTERS[name], (name, resources)
        assert resources.spills <= few, (name, resources)
        assert resources.stack <= (64 if name == "score" else few)  # for codes of over 15 bits, which are rare


def test_shared_memory():
    """Blocks that a multiprocessor with 227 KiB holds, each with 1 KiB of its own: enough for all warps."""
    program = program_of(Settings())
    sizes = {kernel: program.shared_bytes(kernel) for kernel in KERNELS}
    assert sizes == {"rollout": 2256, "score": 13168, "rows": 2208}
    largest = program_of(Settings(states=256, height=128, width=128, patch=1, seq_len=2**17))
    nvrtc.refuse_large(largest, 0, 163 * 1024)  # an A100
    with pytest.raises(nvrtc.NcagenError) as error:
        nvrtc.refuse_large(largest, 0, 99 * 1024)  # an RTX card
    assert str(error.value) == (
        "--device cuda:0 has 101376 bytes of shared memory for a block, and these settings take 101648:"
        " use --device cpu"
    )


def test_a_program_that_does_not_compile_is_an_error():
    program = replaced(program_of(Settings()), "int main( {")
    with pytest.raises(nvrtc.NcagenError, match=r"^NVRTC does not compile the kernels for capability 9\.0: kern"):
        nvrtc.compile_program(program, 90)


def test_an_empty_log_leaves_the_interpreter_s_bytes_alone():
    assert nvrtc.compile_program(program_of(Settings()), 90, ptx=True).log == ""
    assert b" "[0] == 32 and b"a b".split(b" ") == [b"a", b"b"]


def test_a_newer_card_gets_ptx():
    assert nvrtc.compile_program(program_of(Settings()), 999).is_ptx
    assert not nvrtc.compile_program(program_of(Settings()), 90).is_ptx


# --- what the emulator sees

SMALL = Settings(height=4, width=4, seq_len=30, warmup=1)


def changed(old: str, new: str) -> str:
    source = program_of(SMALL).source
    assert source.count(old) == 1
    return source.replace(old, new)


def test_a_missing_barrier_is_a_race():
    ends = "    best_states(rule, noise, grids);\n"
    settled = "    if (HAS_NOISE) settle("
    source = changed(f"{ends}{settled}", f"{ends}    if (0) settle(").replace(
        "                if (HAS_NOISE && (u32)best[i]", "                if (0 && (u32)best[i]"
    )
    at = source.index("FUNCTION void best_states")
    end = source.index("    SYNC();\n}", at)
    with pytest.raises(Fault, match="a race at shared byte"):
        Launch(SMALL, 1, source=source[:end] + source[end + len("    SYNC();\n") :]).run("rollout")


def test_a_lost_update_is_a_race():
    source = changed("{ atomicMax(at, number); }", "{ if (*at < number) *at = number; }")
    launch = Launch(SMALL, 1, source=source)
    launch.run("rollout")
    with pytest.raises(Fault, match=r"race at shared byte|threads write the same"):
        launch.run("score")


def test_too_little_shared_memory_is_seen():
    launch = Launch(SMALL, 1)
    with pytest.raises(Fault, match="outside the 100 bytes of shared memory"):
        launch.run("rollout", 100)


def test_a_read_of_what_nothing_wrote_is_seen():
    source = changed("        if (lane == 0) *row.specials = *row.is_general", "        if (lane == 0) *row.specials")
    launch = Launch(SMALL, 1, source=source)
    launch.run("rollout")
    with pytest.raises(Fault, match="is read and was not written"):
        launch.run("score")


def test_an_address_beyond_an_array_is_seen():
    source = changed("work.last[(u64)block * CELLS + cell] = ", "work.last[cell + 1] = ")
    with pytest.raises(Fault, match="is in no array"):
        Launch(SMALL, 1, source=source).run("rollout")


def test_work_has_the_layout_of_the_source():
    assert WORK.itemsize == 160


# --- the calls of the driver

# Not a driver: it takes the calls of one, and prints what arrived.
DRIVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = 13000; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuLibraryLoadData(void** library, const char* code, void* a, void* b, unsigned options, void* c, void* d,
                      unsigned more) {
    printf("load %.3s, %u and %u options\n", code + 1, options, more);
    *library = (void*)0x10;
    return 0;
}
int cuLibraryGetKernel(void** kernel, void* library, const char* name) {
    printf("kernel %s of %p\n", name, library);
    *kernel = (void*)(0x100 + strlen(name));
    return 0;
}
int cuKernelSetAttribute(int attribute, int value, void* kernel, int device) {
    printf("attribute %d of %p on device %d: %d\n", attribute, kernel, device, value);
    return 0;
}
int cuLaunchKernel(void* kernel, unsigned x, unsigned y, unsigned z, unsigned a, unsigned b, unsigned c,
                   unsigned shared, void* stream, void** arguments, void** extra) {
    if (x == 0) return 1;
    printf("launch %p, grid %u %u %u, block %u %u %u, %u bytes, stream %p, argument %p\n", kernel, x, y, z, a, b, c,
           shared, stream, *(void**)arguments[0]);
    return 0;
}
int cuGetProcAddress_v2(const char* name, void** found, int version, unsigned long flags, int* status) {
    *found = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
    if (status) *status = !*found;
    return 0;
}
int cuGetProcAddress(const char* name, void** found, int version, unsigned long flags) {
    return cuGetProcAddress_v2(name, found, version, flags, 0);
}
"""

CALLS = """
import ctypes, sys
from ncagen.cuda import nvrtc
from ncagen.errors import NcagenError
from ncagen.sources.nca.gpu import program_of
from ncagen.sources.nca.settings import Settings
program = program_of(Settings())
compiled = nvrtc.compile_program(program, 90)
ctypes.CDLL(sys.argv[1])  # only now: NVRTC would use it
kernels = nvrtc.Kernels(program, compiled, 1)
kernels.launch("rows", 77, 0x123456789A, 0x55)
sys.stdout.flush()
try:
    kernels.launch("score", 0, 0, 0)
except NcagenError as error:
    print(error)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_the_driver_gets_the_calls(tmp_path):
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "libcuda.so.1"
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", tmp_path / "driver.c", "-o", library, "-ldl"]
    subprocess.run(command, check=True)
    done = subprocess.run([sys.executable, "-c", CALLS, library], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "load ELF, 0 and 0 options",
        "kernel rollout of 0x10",
        "attribute 8 of 0x107 on device 1: 2256",
        "kernel score of 0x10",
        "attribute 8 of 0x105 on device 1: 13168",
        "kernel rows of 0x10",
        "attribute 8 of 0x104 on device 1: 2208",
        "launch 0x104, grid 77 1 1, block 32 1 1, 2208 bytes, stream 0x55, argument 0x123456789a",
        "cuLaunchKernel failed: CUDA_ERROR_INVALID_VALUE",
    ]
