"""What automaton version 1 is, pinned: rules, starts, trajectories, tokens, lengths, and the receipt of a dataset."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ncagen import philox
from ncagen.dataset.folder import Folder
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.scheduler import build, threads
from ncagen.sources.nca import cpu
from ncagen.sources.nca import source as nca
from ncagen.spec import from_settings, read_order

ROOT = Path(__file__).parent.parent
source = importlib.util.spec_from_file_location("golden_make", ROOT / "tests" / "golden" / "make.py")
make = importlib.util.module_from_spec(source)
source.loader.exec_module(make)


@pytest.mark.parametrize("name", make.SPECS)
def test_the_definition_has_not_moved(name):
    pinned = np.load(make.path())
    for key, value in make.golden(name).items():
        assert value.dtype == pinned[key].dtype, key
        assert np.array_equal(value, pinned[key]), key


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("name", make.SPECS)
def test_the_kernels_give_the_pinned_rows(name, split):
    pinned = np.load(make.path())
    spec, stream = make.spec_of(name), philox.STREAMS[split]
    drawn, starts = cpu.sample(spec, stream, make.CANDIDATES)
    assert np.array_equal(drawn.perception, pinned[f"{name} {split} perception"])
    assert np.array_equal(starts, pinned[f"{name} {split} starts"].reshape(starts.shape))
    scored = nca.batch(spec, stream, make.CANDIDATES)
    assert np.array_equal(scored.patches, pinned[f"{name} {split} patches"])
    assert np.array_equal(scored.lengths, pinned[f"{name} {split} lengths"])


@pytest.mark.parametrize("storage", ["parquet", "arrow"])
def test_the_smoke_order_gives_its_receipt(tmp_path, storage):
    spec = from_settings(read_order(ROOT / "manifests" / "smoke.toml"))
    order = BuildJob(spec, storage, Folder(tmp_path / "smoke"))
    manifest = build(order, threads(order, 2, lambda rows, candidates: None))
    receipt = json.loads((ROOT / "manifests" / "smoke.json").read_text())
    assert manifest.dataset == receipt["dataset"]
    assert manifest.dataset_sha256 == receipt["dataset_sha256"]
    if storage == receipt["storage"]["format"] and manifest.toolchain == receipt["storage"]["toolchain"]:
        files = json.loads((tmp_path / "smoke" / "manifest.json").read_text())["storage"]["files"]
        assert files == receipt["storage"]["files"]


def test_every_order_is_one_that_can_be_built():
    orders = {path.stem: from_settings(read_order(path)) for path in (ROOT / "manifests").glob("*.toml")}
    assert set(orders) == {"paper-high-164M", "paper-code-164M", "smoke"}
    assert orders["paper-high-164M"].rows("train") == 160_000
    assert [(b.low, b.high) for b in orders["paper-code-164M"].bands] == [(0.3, 0.4)]
