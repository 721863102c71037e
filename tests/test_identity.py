"""Compares the kernels with the definition, bit for bit: settings for every branch, every kind of processor."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ncagen import kernels, philox
from ncagen.deflate import lengths
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, cpu, cpu_kernels, definition, rules, sample_kernels, vectors
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import STARTS, Settings

# name: (options, candidates)
CASES = {
    "released": ({}, 600),
    "paper": ({"preset": "paper"}, 300),
    "noise decides": ({"temperature": 1.0}, 100),
    "no noise": ({"temperature": 0.0}, 200),
    "little noise": ({"temperature": 1e-7}, 100),
    "much bias": ({"identity_bias": 0.3}, 200),
    "bias at its limit": ({"identity_bias": -10.0, "temperature": 1.0}, 50),
    "no wrap": ({"channel_wrap": False}, 200),
    "two states": ({"states": 2, "patch": 3}, 200),
    "five states": ({"states": 5}, 200),
    "as many states as fit a register": ({"states": 32, "grid": 8}, 50),
    "one state more than fits a register": ({"states": 33, "grid": 8, "patch": 1, "warmup": 1}, 20),
    "all states": ({"states": 256, "grid": 6, "patch": 1, "warmup": 1, "identity_bias": 0.1}, 4),
    "no warm-up": ({"warmup": 0}, 50),
    "stride": ({"stride": 3, "warmup": 2}, 50),
    "the smallest grid": ({"grid": 3, "patch": 1}, 50),
    "odd grid": ({"grid": 17, "patch": 1}, 20),
    "wide grid": ({"grid": 40, "patch": 2, "warmup": 1}, 6),
    "two patches of three": ({"states": 4, "grid": "6x3", "patch": 3}, 50),
    "wider than high": ({"grid": "4x38"}, 30),
    "higher than wide": ({"grid": "38x4", "identity_bias": 0.1}, 30),
    "narrow": ({"grid": "16x3", "patch": 1}, 30),
    "wide, beyond registers": ({"states": 40, "grid": "3x21", "patch": 1, "temperature": 0.01}, 20),
    "high, all states": ({"states": 256, "grid": "7x5", "patch": 1, "warmup": 1}, 4),
    "shared rules": ({"trajectories_per_rule": 7}, 100),
}


# The keys of a seed's splits.
TRAIN, VALIDATION = ((0, philox.STREAMS[split]) for split in ("train", "validation"))
LAST_SEED = 2**32 - 1, philox.STREAMS["train"]


def case(name: str) -> tuple[Settings, int]:
    """Settings, and how many of their candidates are compared."""
    options, count = CASES[name]
    return settings_of(options, seq_len=1024), count


def assert_identical(settings: Settings, count: int, key: tuple[int, int]) -> None:
    """Compares rules, starts, grids and tokens of the kernels with those of the definition."""
    # Half of the candidates need the counter's high word.
    candidates = np.arange(count, dtype=np.uint64) + np.arange(count, dtype=np.uint64) % 2 * np.uint64(2**40)
    drawn, starts = cpu.sample(settings, key, candidates)
    for name, ours, theirs in zip(Rules._fields, drawn, rules.sample_rules(settings, key, candidates), strict=True):
        assert (ours == theirs).all(), name
    wanted = rules.sample_starts(settings, key, candidates)
    assert (starts.reshape(wanted.shape) == wanted).all()
    frames = min(settings.frames, 12)
    wanted = definition.trajectories(settings, key, candidates, frames)
    whole = cpu.rollout(settings, key, candidates, drawn, starts, 0, frames)
    assert (whole.reshape(wanted.shape) == wanted).all()
    if frames > 1:
        begun = cpu.rollout(settings, key, candidates, drawn, starts, 0, 1)
        rest = cpu.rollout(settings, key, candidates, drawn, np.ascontiguousarray(begun[:, 0]), 1, frames - 1)
        assert (rest == whole[:, 1:]).all()
    assert (cpu.patch_tokens(settings, whole) == grid_tokens.patch_tokens(settings, wanted)).all()


def test_enough_candidates():
    assert sum(count for _, count in CASES.values()) >= 2000


@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_the_definition(name):
    assert_identical(*case(name), TRAIN)


def test_logits_that_differ_by_more_than_32_bits():
    """Rules at the limits of their weights, whose logits cannot be computed relative to those of state 0."""
    settings, candidates = Settings(states=3, patch=1, channel_wrap=False), np.arange(2, dtype=np.uint64)
    drawn, starts = cpu.sample(settings, TRAIN, candidates)
    drawn.perception[:, :, :, :2] = 1819
    drawn.perception[:, :, :, 2] = -1819
    drawn.hidden[:] = 16371
    drawn.output[:] = np.array([-2328, 2328, 2000])[:, None]
    drawn.output[1] = np.array([2328, -2328, 1])[:, None]
    grids = starts.reshape(-1, settings.height, settings.width)
    grids[:, :6] = 0
    wanted = definition.next_grids(settings, TRAIN, candidates, drawn, grids, 1)
    one = replace(settings, warmup=1)
    assert (cpu.rollout(one, TRAIN, candidates, drawn, starts, 0, 1)[:, 0].reshape(wanted.shape) == wanted).all()
    assert len(np.unique(wanted)) > 1


def test_seeds_and_streams_are_part_of_the_key():
    for key in (VALIDATION, LAST_SEED):
        assert_identical(Settings(), 50, key)


@given(
    states=st.integers(2, 256),
    patch=st.sampled_from([1, 1, 2, 3]),
    high=st.integers(1, 8),
    wide=st.integers(1, 8),
    warmup=st.integers(0, 2),
    stride=st.integers(1, 2),
    temperature=st.sampled_from([0.0, 1e-4, 0.01, 1.0]),
    identity_bias=st.sampled_from([0.0, -0.2, 10.0]),
    start=st.sampled_from(STARTS),
    channel_wrap=st.booleans(),
    trajectories_per_rule=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_kernels_equal_the_definition_for_any_settings(patch, high, wide, seed, **values):
    height, width = (max(3 + -3 % patch, patch * side) for side in (high, wide))
    assume(values["states"] ** patch**2 <= 2**32 - 2)
    found = Settings(height=height, width=width, patch=patch, seq_len=min(1024, 4 * (high * wide + 2)), **values)
    assert_identical(found, 3, (seed, 1))


def test_cached_kernels_are_stamped_with_all_their_sources():
    """Otherwise an edit of another file, or an upgrade that preserves time and size, would run an outdated kernel."""
    for compiled in (cpu_kernels.rollout, sample_kernels.sample_rules, lengths._score_tokens):
        assert kernels._sources() in compiled.compiled._cache._cache_file._source_stamp


def test_the_sources_of_kernels_are_all_listed():
    """Every file with a kernel, and every file whose constants such a file imports."""
    root = ROOT / "ncagen"
    listed = {path for pattern in kernels._SOURCES for path in root.glob(pattern) if path.name != "__init__.py"}
    texts = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    compiled = {path for path, text in texts.items() if re.search(r"^@(kernel|inlined|intrinsic)\b", text, re.M)}
    names = {
        name
        for path in compiled
        for node in ast.walk(ast.parse(texts[path]))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("ncagen")
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    imported = {root.parent / (name.replace(".", "/") + ".py") for name in names} & set(texts)
    # The first two only print; the third generates code around kernels.
    printing, emitted = {root / "compile_notice.py", root / "hints.py"}, root / "native" / "emit.py"
    assert compiled | imported - printing | {emitted} == listed


def test_batch_size_changes_nothing():
    noisy, candidates = Settings(temperature=1e-2), np.arange(100, dtype=np.uint64)
    whole = batch.run(noisy, TRAIN, candidates)
    one_by_one = [batch.run(noisy, TRAIN, candidates[i : i + 1]) for i in range(100)]
    assert (np.concatenate([b.score for b in one_by_one]) == whole.score).all()
    chosen = np.array([3, 41, 99])
    each = np.concatenate([one_by_one[i].token_rows(np.array([0])) for i in chosen])
    assert (whole.token_rows(chosen) == each).all()


def test_rows_are_whole_trajectories():
    candidates = np.arange(20, dtype=np.uint64)
    ids = batch.run(Settings(), VALIDATION, candidates).token_rows(np.arange(20))
    assert ids.dtype == np.uint16
    assert ids.shape == (20, 1026)
    assert (grid_tokens.grids(Settings(), ids) == definition.trajectories(Settings(), VALIDATION, candidates, 27)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "processor", [{"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2"}, {"NUMBA_CPU_NAME": "generic"}]
)
def test_older_processors_compute_the_same(processor):
    """The same comparison, compiled without AVX-512 and without AVX2."""
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import test_identity as t\n"
        "print(sorted(t.vectors.FEATURES))\n"
        "for settings, count in map(t.case, t.CASES): t.assert_identical(settings, min(count, 50), t.TRAIN)\n"
        "print('identical')"
    )
    environment = os.environ | {"NUMBA_CPU_FEATURES": ""} | processor
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    features = "['avx2']" if "haswell" in processor.values() else "[]"
    if vectors.FEATURES:
        assert done.stdout.splitlines() == [features, "identical"], done.stderr
    else:
        pytest.skip("this processor has no vector extension to leave out")
