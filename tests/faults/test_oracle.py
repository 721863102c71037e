"""The reader that runs along with every experiment sees what it is there to see."""

import time

import pyarrow as pa
import pytest

from faults.oracle import watched
from ncagen.dataset.atomic_write import write

SHARD = "data/high/train-00001-of-00003.parquet"
SECONDS = 0.2  # many looks


def test_a_partial_file_is_seen(copied, smoke):
    folder = copied()
    data = (folder / SHARD).read_bytes()
    with pytest.raises(AssertionError, match=f"{SHARD} has 100 bytes that are not its own"), watched(folder, smoke()):
        (folder / SHARD).write_bytes(data[:100])
        time.sleep(SECONDS)
        (folder / SHARD).write_bytes(data)


def test_a_file_that_is_gone_is_seen(copied, smoke):
    folder = copied()
    data = (folder / SHARD).read_bytes()
    with pytest.raises(AssertionError, match=f"{SHARD} is gone"), watched(folder, smoke()):
        (folder / SHARD).unlink()
        time.sleep(SECONDS)
        (folder / SHARD).write_bytes(data)


def test_a_manifest_that_comes_too_early_is_seen(copied, smoke):
    folder = copied()
    data, manifest = (folder / SHARD).read_bytes(), (folder / "manifest.json").read_bytes()
    for name in (SHARD, "manifest.json"):
        (folder / name).unlink()
    early = pytest.raises(AssertionError, match=f"{SHARD} is missing beside manifest.json")
    with early, watched(folder, smoke()):
        (folder / "manifest.json").write_bytes(manifest)
        time.sleep(SECONDS)
        (folder / SHARD).write_bytes(data)


def test_a_file_that_was_damaged_before_may_stay_until_it_is_replaced(copied, smoke):
    folder = copied()
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(b"damaged")
    with watched(folder, smoke()):
        time.sleep(SECONDS)
        write(folder / SHARD, pa.py_buffer(data))
