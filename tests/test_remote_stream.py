"""Shuffled epochs of a dataset in a bucket, with requests and bytes counted, so that neither can grow unnoticed."""

import numpy as np
import pytest
from s3 import upload
from test_reader import SMALL, fabricate

import ncagen
from ncagen.adapters.torch import Loader
from ncagen.dataset.reader import Dataset
from ncagen.dataset.stream import Stream

pytest_plugins = ["s3_fixtures"]

# 33 shards of four row groups: the first is shared, and the other 32 divide evenly among eight ranks.
LARGE = {"tokens": 33 * 1024 * 1024, "validation": 0, "bands": ["high"], "rows_per_shard": 1024}
ROWS = 33 * 1024


def uploaded(store, place: str, folder) -> int:
    """Puts a dataset into a bucket. Returns the bytes of its files."""
    upload(store, place, folder)
    store.requests()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "a"
    fabricate(folder, "parquet", **LARGE)
    return folder


@pytest.fixture
def counted(large, store, place, proxy):
    """The large dataset in a bucket: a function that runs a reader and returns what it gave, and bytes by its bytes."""
    size = uploaded(store, place, large)

    def run(read) -> tuple[object, float]:
        before = proxy.answered
        return read(place), (proxy.answered - before) / size

    return run


def candidates(batches) -> list[int]:
    return [int(candidate) for batch in batches for candidate in batch["candidate"]]


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
@pytest.mark.parametrize("world", [1, 2])
def test_the_first_batch_takes_three_requests(file_format, world, store, place, tmp_path):
    fabricate(tmp_path / "a", file_format, **SMALL | {"tokens": 8000 * 1024})
    uploaded(store, place, tmp_path / "a")
    batch = next(iter(Stream(ncagen.open(place), 32, seed=4, world=world)))
    requests = store.requests()
    stored = Stream(ncagen.open(tmp_path / "a"), 32, seed=4, world=world)
    assert np.array_equal(batch["input_ids"], next(iter(stored))["input_ids"])
    assert len(requests) <= 4 if world > 1 else len(requests) == 3, requests


def test_row_groups_are_fetched_before_they_are_needed(large, store, place):
    """Those of most lanes: a lane has parts of three or four row groups."""
    uploaded(store, place, large)
    dataset = ncagen.open(place)
    fetched = [len(dataset._remote._parts) for _ in Stream(dataset, 32, seed=4)]
    assert max(fetched) >= 48


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 8])
def test_ranks_together_fetch_the_dataset_once(world, large, counted):
    def read(place: str) -> list[list[int]]:
        return [candidates(Stream(ncagen.open(place), 32, seed=1, rank=r, world=world)) for r in range(world)]

    found, factor = counted(read)
    local = ncagen.open(large)
    assert found == [candidates(Stream(local, 32, seed=1, rank=r, world=world)) for r in range(world)]
    assert sum(map(len, found)) == ROWS and factor <= 1.05


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_of_a_node_fetch_the_dataset_once(large, counted, tmp_path):
    def read(place: str) -> list:
        loader = Loader(ncagen.open(place, cache_dir=tmp_path / "cache"), 32, seed=1, num_workers=4)
        return [batch["input_ids"][:, 0].tolist() for batch in loader]

    found, factor = counted(read)
    stream = Stream(Dataset(large), 32, seed=1)
    assert found == [batch["input_ids"][:, 0].astype(int).tolist() for batch in stream]
    assert factor <= 1.05
