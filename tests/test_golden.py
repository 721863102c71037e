"""Pins automaton version 1: rules, starts, trajectories, tokens, lengths, and the manifest of a dataset."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ncagen.dataset.folder import Folder
from ncagen.factory.experiment import experiment_from_settings, is_experiment
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.scheduler import build, threads
from ncagen.factory.settings import from_settings, read_spec_file
from ncagen.sources.nca import batch, cpu

ROOT = Path(__file__).parent.parent
source = importlib.util.spec_from_file_location("golden_make", ROOT / "tests" / "golden" / "make.py")
make = importlib.util.module_from_spec(source)
source.loader.exec_module(make)


@pytest.mark.parametrize("name", make.SETTINGS)
def test_the_definition_gives_the_pinned_values(name):
    pinned = np.load(make.path())
    for key, value in make.golden(name).items():
        assert value.dtype == pinned[key].dtype, key
        assert np.array_equal(value, pinned[key]), key


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("name", make.SETTINGS)
def test_the_kernels_give_the_pinned_rows(name, split):
    pinned = np.load(make.path())
    settings, key = make.settings_named(name), make.key_of(name, split)
    drawn, starts = cpu.sample(settings, key, make.CANDIDATES)
    assert np.array_equal(drawn.perception, pinned[f"{name} {split} perception"])
    assert np.array_equal(starts, pinned[f"{name} {split} starts"].reshape(starts.shape))
    scored = batch.run(settings, key, make.CANDIDATES)
    assert np.array_equal(scored.patches, pinned[f"{name} {split} patches"])
    assert np.array_equal(scored.score, pinned[f"{name} {split} lengths"])


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_the_smoke_spec_gives_its_manifest(tmp_path, file_format):
    spec = from_settings(read_spec_file(ROOT / "manifests" / "smoke.toml"))
    job = BuildJob(spec, file_format, Folder(tmp_path / "smoke"))
    manifest = build(job, threads(job, 2))
    pinned = json.loads((ROOT / "manifests" / "smoke.json").read_text())
    assert manifest.dataset == pinned["dataset"]
    assert manifest.dataset_sha256 == pinned["dataset_sha256"]
    if file_format == pinned["storage"]["format"] and manifest.toolchain == pinned["storage"]["toolchain"]:
        files = json.loads((tmp_path / "smoke" / "manifest.json").read_text())["storage"]["files"]
        assert files == pinned["storage"]["files"]


def test_every_spec_file_can_be_built():
    settings = {path.stem: read_spec_file(path) for path in (ROOT / "manifests").glob("*.toml")}
    experiments = {name: experiment_from_settings(of) for name, of in settings.items() if is_experiment(of)}
    specs = {name: from_settings(of) for name, of in settings.items() if name not in experiments}
    assert set(specs) == {"paper-high-164M", "paper-code-164M", "smoke"}
    assert set(experiments) == {"arms-164M", "arms-smoke"}
    assert {arm.spec.rows("train") for arm in experiments["arms-164M"].arms} == {160_000}
    assert specs["paper-high-164M"].rows("train") == 160_000
    assert [(b.low, b.high) for b in specs["paper-code-164M"].bands] == [(0.3, 0.4)]
