"""The kernels against the definition, bit for bit, over specs that reach every branch, on every kind of processor."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ncagen import kernels, philox
from ncagen.deflate import lengths
from ncagen.sources.nca import cpu, definition, rules, simd, tokens
from ncagen.sources.nca import source as nca
from ncagen.sources.nca.rules import Rules
from ncagen.spec import Spec, from_settings

# name: (settings, candidates)
SPECS = {
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
    "as many as a register holds": ({"states": 32, "grid": 8}, 50),
    "one more than a register holds": ({"states": 33, "grid": 8, "patch": 1, "warmup": 1}, 20),
    "all states": ({"states": 256, "grid": 6, "patch": 1, "warmup": 1, "identity_bias": 0.1}, 4),
    "no warm-up": ({"warmup": 0}, 50),
    "stride": ({"stride": 3, "warmup": 2}, 50),
    "the smallest grid": ({"grid": 3, "patch": 1}, 50),
    "odd grid": ({"grid": 17, "patch": 1}, 20),
    "wide grid": ({"grid": 40, "patch": 2, "warmup": 1}, 6),
    "shared rules": ({"trajectories_per_rule": 7}, 100),
    "another seed": ({"seed": 2**32 - 1}, 50),
}


def spec_of(settings: dict) -> Spec:
    return from_settings({"tokens": "1M", "band": "0-2"} | settings)


def assert_identical(settings: dict, count: int, stream: int) -> None:
    spec = spec_of(settings)
    # Half of the candidates need the counter's high word.
    candidates = np.arange(count, dtype=np.uint64) + np.arange(count, dtype=np.uint64) % 2 * np.uint64(2**40)
    drawn, starts = cpu.sample(spec, stream, candidates)
    for name, ours, theirs in zip(Rules._fields, drawn, rules.sample_rules(spec, stream, candidates), strict=True):
        assert (ours == theirs).all(), name
    assert (starts.reshape(count, spec.grid, spec.grid) == rules.sample_starts(spec, stream, candidates)).all()
    frames = min(spec.frames, 12)
    wanted = definition.trajectories(spec, stream, candidates, frames)
    whole = cpu.rollout(spec, stream, candidates, drawn, starts, 0, frames)
    assert (whole.reshape(wanted.shape) == wanted).all()
    if frames > 1:
        begun = cpu.rollout(spec, stream, candidates, drawn, starts, 0, 1)
        rest = cpu.rollout(spec, stream, candidates, drawn, np.ascontiguousarray(begun[:, 0]), 1, frames - 1)
        assert (rest == whole[:, 1:]).all()
    assert (cpu.patch_tokens(spec, whole) == tokens.patch_tokens(spec, wanted)).all()


def test_enough_candidates():
    assert sum(count for _, count in SPECS.values()) >= 2000


@pytest.mark.parametrize("name", SPECS)
def test_kernels_equal_the_definition(name):
    assert_identical(*SPECS[name], stream=philox.STREAMS["train"])


def test_cached_kernels_are_stamped_with_all_their_sources():
    """Else an edit of another file, or an upgrade that keeps a file's time and size, would run yesterday's kernel."""
    for compiled in (cpu._rollout, cpu._sample_rules, lengths._score_tokens):
        assert kernels._sources() in compiled._cache._cache_file._source_stamp


def test_batch_size_changes_nothing():
    spec = spec_of({"temperature": 1e-2})
    candidates = np.arange(100, dtype=np.uint64)
    whole = nca.batch(spec, 0, candidates)
    one_by_one = [nca.batch(spec, 0, candidates[i : i + 1]) for i in range(100)]
    assert (np.concatenate([b.lengths for b in one_by_one]) == whole.lengths).all()
    chosen = np.array([3, 41, 99])
    each = np.concatenate([nca.rows(one_by_one[i], np.array([0])) for i in chosen])
    assert (nca.rows(whole, chosen) == each).all()


def test_rows_are_whole_trajectories():
    spec = spec_of({})
    candidates = np.arange(20, dtype=np.uint64)
    ids, _ = nca.rebuild(spec, 1, candidates)
    assert ids.dtype == np.uint16
    assert ids.shape == (20, 1026)
    assert (tokens.grids(spec, ids) == definition.trajectories(spec, 1, candidates, 27)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "processor", [{"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2"}, {"NUMBA_CPU_NAME": "generic"}]
)
def test_older_processors_compute_the_same(processor):
    """The same comparison, compiled without AVX-512 and without AVX2."""
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import test_identity as t\n"
        "print(sorted(t.simd.FEATURES))\n"
        "for name, (settings, count) in t.SPECS.items(): t.assert_identical(settings, min(count, 50), 0)\n"
        "print('identical')"
    )
    environment = os.environ | {"NUMBA_CPU_FEATURES": ""} | processor
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    features = "['avx2']" if "haswell" in processor.values() else "[]"
    if simd.FEATURES:
        assert done.stdout.splitlines() == [features, "identical"], done.stderr
    else:
        pytest.skip("this processor has no vector extension to leave out")
