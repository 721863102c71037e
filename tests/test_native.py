"""Kernels of a shipped library against the same ones compiled by numba, bit for bit; libraries that do not fit."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from conftest import NCAGEN, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen import kernels, native, processor
from ncagen.compile_notice import COMPILING
from ncagen.deflate import lengths
from ncagen.native.compile import listed
from ncagen.sources.nca import cpu_kernels

ARM = "neon" in processor.host_features()
LEVELS = [
    level
    for level, required in processor.REQUIRED.items()
    if processor.host_features().issuperset(required) and (level == "neon") == ARM
]
ORDER = ["build", "--tokens", "20K", "--validation", "0", "--band", "high"]


class Pair(NamedTuple):
    left: int
    right: np.ndarray


def library() -> native.Library:
    """That of this machine, which `make` puts in place."""
    found = native.load(kernels._sources())
    if found is None:
        pytest.skip("there is no library of these kernels: run python -m ncagen.native.compile")
    return found


def flattened(*args) -> tuple[list[str], list[int]]:
    types: list[str] = []
    words: list[int] = []
    native.flatten(args, types, words)
    return types, words


def test_types_and_words_of_scalars():
    assert flattened(-1, 2**63, True, np.uint8(200), np.int32(-2), np.bool_(False), 0.5) == (
        ["i8", "u8", "b1", "u1", "i4", "b1", "f8"],
        [2**64 - 1, 2**63, 1, 200, 2**64 - 2, 0, 0x3FE0000000000000],
    )


def test_types_and_words_of_arrays_and_tuples():
    array = np.zeros((3, 4), np.int16)
    frozen = np.frombuffer(b"abc", np.uint8)
    assert flattened((1, Pair(2, array)), frozen) == (
        ["(", "i8", f"({__name__}.Pair", "i8", "<i2[2]", ")", ")", "|u1[1]r"],
        [1, 2, id(array), id(frozen)],
    )


@pytest.mark.parametrize("value", [np.zeros((4, 4))[:, ::2], np.zeros((2, 3)).T, "text", None, np.float32(1), 1j])
def test_other_values_have_no_type(value):
    with pytest.raises(native.UnknownType):
        flattened(value)


def test_the_fields_of_an_array_are_where_a_library_reads_them():
    array = np.zeros((3, 4, 5), np.int16)
    at = {name: id(array) + offset for name, offset in native.ARRAY_FIELDS.items()}
    data, shape, strides = (ctypes.c_uint64.from_address(at[name]).value for name in ("data", "shape", "strides"))
    assert data == array.ctypes.data
    assert tuple((ctypes.c_int64 * 3).from_address(shape)) == array.shape
    assert tuple((ctypes.c_int64 * 3).from_address(strides)) == array.strides


@given(st.lists(st.binary(min_size=40, max_size=40), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_the_library_s_score_is_the_compiled_one(rows):
    data = np.stack([np.frombuffer(row, np.uint8) for row in rows]).copy()
    found = []
    for run in (
        lengths._score_bytes.compiled,
        lambda *args: library().call("deflate.lengths._score_bytes", args, fail),
    ):
        out = np.empty(len(data), np.int32)
        run(data, out, *lengths.lz77.short_scratch(), lengths.huffman.tree_scratch())
        found.append(out.tolist())
    assert found[0] == found[1]


def fail(*args):
    raise AssertionError("the library has not these types")


def test_types_that_a_library_has_not_are_compiled():
    calls = []
    assert library().call(cpu_kernels.patch_tokens.name, (1, 2), lambda *args: calls.append(args)) is None
    assert calls == [(1, 2)]
    assert not library().has("sources.nca.cpu_kernels.unknown")


def build(out, level: str, cache) -> tuple[str, str]:
    """Runs a small build with the kernels of a level or `compile`. Returns its sha256 and standard error."""
    env = os.environ | {"NCAGEN_KERNELS": level, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [*NCAGEN, *ORDER, "--out", str(out), "--json"], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["dataset_sha256"], done.stderr


@pytest.mark.slow
def test_the_first_build_compiles_nothing_and_makes_what_compiled_kernels_make(tmp_path):
    library()
    cache = tmp_path / "cache"
    assert build(tmp_path / "shipped", processor.level(), cache) == build(tmp_path / "old", "compile", "")
    assert not cache.exists()


@pytest.mark.nightly
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_of_this_machine_makes_the_same(tmp_path, level):
    command = [sys.executable, "-m", "ncagen.native.compile", "all"]
    if not (native.LIBRARIES / f"{level}.so").exists():
        subprocess.run(command, cwd=ROOT, check=True)
    assert build(tmp_path / "a", level, tmp_path / "cache")[0] == build(tmp_path / "b", "compile", "")[0]
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of this machine's library, in the place of it."""
    library()
    shutil.copytree(native.LIBRARIES, tmp_path / "library")
    monkeypatch.setattr(native, "LIBRARIES", tmp_path / "library")
    return tmp_path / "library" / f"{processor.level()}.so"


def test_a_library_of_other_sources_is_not_used(copied, caplog):
    assert native.load(kernels._sources()) is not None
    assert native.load("0" * 64) is None
    assert caplog.messages == []


def test_a_missing_library_says_nothing(copied, caplog):
    copied.unlink()
    assert native.load(kernels._sources()) is None
    assert caplog.messages == []


@pytest.mark.parametrize("part", [".so", ".json"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_library_is_one_line_and_not_used(copied, caplog, part, damage):
    path = copied.with_suffix(part)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif part == ".so":
        data[len(data) // 2] ^= 1
    else:
        data = bytearray(data.replace(b'"entries"', b'"emtries"'))
    path.write_bytes(data)
    assert native.load(kernels._sources()) is None
    (line,) = caplog.messages
    assert line.startswith(f"ncagen: {copied} is damaged (")
    assert line.endswith("); kernels are compiled instead: install ncagen anew")


def test_a_processor_without_what_a_level_requires_has_no_library(copied, monkeypatch):
    monkeypatch.setitem(processor.REQUIRED, processor.level(), ("a-feature-of-tomorrow",))
    assert native.load(kernels._sources()) is None


@pytest.mark.parametrize("name, value", [("NUMBA_CPU_NAME", "generic"), ("NCAGEN_KERNELS", "compile")])
def test_who_chooses_a_processor_or_the_compiler_gets_no_library(copied, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert native.load(kernels._sources()) is None


def test_every_listed_kernel_exists_and_is_in_the_library():
    found = library()
    for name, _ in listed():
        assert found.has(name)


@pytest.mark.slow
def test_damaged_kernels_of_a_build_are_one_line_on_the_terminal(tmp_path):
    library()
    shutil.copytree(ROOT / "ncagen", tmp_path / "ncagen", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "ncagen" / "native" / "library" / f"{processor.level()}.so"
    path.write_bytes(path.read_bytes()[:-1])
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    program = "from ncagen.deflate.lengths import gzip_length; print(gzip_length(bytes(40)))"
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "24\n"
    assert done.stderr.splitlines() == [
        f"ncagen: {path} is damaged (its sha256 is another); kernels are compiled instead: install ncagen anew",
        COMPILING,
    ]
