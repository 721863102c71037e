"""The index of a large dataset: the same rows and hashes as without one, read in part, and never a wrong row."""

import json
import pickle
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make, run_here, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st
from index_oracle import identity, indexed
from made_up_manifests import described, made_up, many, refusal, write
from s3 import upload
from test_ranges import asked

import ncagen
from ncagen.dataset import manifest as manifests
from ncagen.dataset.folder import Folder
from ncagen.dataset.index import INDEX, Leaves, part, shard_count, shard_keys
from ncagen.dataset.local import LocalStore
from ncagen.dataset.manifest import MANIFEST, Manifest, read_manifest
from ncagen.dataset.shard import File, Record, relative_path
from ncagen.errors import NcagenError

pytest_plugins = ["index_fixtures", "s3_fixtures"]

LEAF_BYTES = 512 * (56 + 80)


class Counting(LocalStore):
    """A folder here that counts the bytes that are read of its files."""

    def __init__(self, root: Path):
        super().__init__(root, str(root))
        self.read_bytes: dict[str, int] = {}

    def read(self, name, max_bytes, checked=False):
        data = super().read(name, max_bytes, checked)
        self.read_bytes[name] = self.read_bytes.get(name, 0) + data.size
        return data

    def read_range(self, name, start, size):
        self.read_bytes[name] = self.read_bytes.get(name, 0) + size
        return LocalStore(self.root, self.name).read_range(name, start, size)


# --- the hash and the file ---


@pytest.mark.parametrize("shards", [1, 511, 512, 513, 1300])
def test_hash_and_index_are_those_of_the_documentation(shards, always):
    manifest = made_up(many(shards))
    value = manifest.to_dict()
    assert value["dataset_sha256"] == identity(value["dataset"])
    documents, (wanted, index) = manifest.documents(), indexed(value)
    assert list(documents) == [INDEX, MANIFEST]
    assert documents[INDEX] == index
    assert json.loads(documents[MANIFEST]) == wanted


def test_the_hash_is_the_same_with_and_without_an_index(smoke, folder):
    listed, found = read_manifest(smoke()), read_manifest(folder)
    assert listed.index is None and found.index == described((folder / INDEX).read_bytes())
    assert found.dataset_sha256 == listed.dataset_sha256 == identity(listed.dataset)
    assert found == listed and listed == found and found.dataset == listed.dataset
    assert found.files == listed.files and found.records == listed.records
    assert found != replace(listed, records=listed.records[::-1]) and found.records != "x"


def test_an_index_is_written_above_a_number_of_files():
    few, more = made_up(many(374)), made_up(many(376))
    assert (len(few.files), len(more.files)) == (996, 1002)
    assert list(few.documents()) == [MANIFEST] and list(more.documents()) == [INDEX, MANIFEST]


def test_the_most_files_can_be_read(always):
    """Of as many bands as may be, the last leaf of each part with one shard in it."""
    sizes = [{name: len(data) for name, data in made_up(many(n)).documents().items()} for n in (512, 5 * 512)]
    leaf = (sizes[1][MANIFEST] - sizes[0][MANIFEST]) / (2 * 4 + 2 * 3)  # of records and of files
    assert (manifests.MOST_FILES / 512 + 2 * manifests.MOST_BANDS) * leaf < manifests.MOST_BYTES / 10
    assert manifests.MOST_FILES * (56 + 80) + 48 < manifests.MOST_BYTES


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_every_shard_is_read_from_the_index(file_format, tmp_path):
    wanted = made_up(many(), file_format)
    write(tmp_path, wanted)
    found = read_manifest(tmp_path)
    assert list(found.records) == wanted.records and dict(found.files) == wanted.files
    assert [found.path(record) for record in found.records] == list(wanted.files) == list(found.files)
    assert (found.rows, found.splits) == (sum(r.rows for r in wanted.records), ["train", "validation"])
    for split, band in (("train", "medium"), ("validation", "high"), ("test", "high"), ("train", "low")):
        there = [record for record in wanted.records if (record.split, record.band) == (split, band)]
        assert list(found.part(split, band)) == there == list(wanted.part(split, band))
    assert list(found.part("train", "medium")[-3:]) == wanted.records[2597:2600]
    assert found.part("train", "medium")[-1] == wanted.records[2599]
    with pytest.raises(IndexError):
        found.part("train", "medium")[1300]
    # Other paths than the spec's are no files of it.
    for path in ("", "x", "data/high/train-00001-of-01301.parquet", "data/low/train-00001-of-01300.parquet"):
        assert path not in found.files
    for path in ("data/high/train-000001-of-01300.parquet", "data/high/test-00001-of-01300.parquet"):
        assert path not in found.files and path.replace("00001", "01300") not in found.files


@given(shards=st.integers(1, 1200), validation=st.integers(0, 700), bands=st.sampled_from([["high"], ["low", "high"]]))
@settings(deadline=None, database=None, max_examples=25)
def test_shards_have_numbers(shards, validation, bands):
    spec = spec_of(tokens=shards * 1024, validation=validation * 1024, bands=bands, rows_per_shard=1)
    keys = shard_keys(spec)
    leaves = Leaves(Folder("."), spec, "parquet", [], [])
    assert shard_count(spec) == len(keys)
    for number in {0, len(keys) - 1, shards - 1, len(keys) // 2}:
        assert leaves.key(number) == keys[number]
        assert leaves.number(relative_path(spec, "parquet", *keys[number])) == number
    parts = [part(spec, split, band) for split in ("train", "validation") for band in bands]
    assert [number for numbers in parts for number in numbers] == list(range(len(keys)))


# --- reading in part ---


def test_a_reader_reads_the_leaf_of_its_shards_and_no_other(tmp_path):
    write(tmp_path, made_up(many(20_000)))
    store = Counting(tmp_path)
    dataset = ncagen.open(Folder(store), band="medium")
    assert len(dataset) == 20_000 and dataset.manifest.rows == 2 * 26_666
    assert repr(dataset) and dataset.manifest.dataset_sha256
    assert store.read_bytes == {MANIFEST: (tmp_path / MANIFEST).stat().st_size}
    assert store.read_bytes[MANIFEST] < 20_000
    with pytest.raises(NcagenError, match=r"/data/medium/train-00700-of-20000\.parquet: No such file"):
        dataset[700]
    assert store.read_bytes[INDEX] == LEAF_BYTES
    with pytest.raises(NcagenError, match=r"train-00600-of-20000\.parquet"):
        dataset.rows([600, 710, 1023])
    assert store.read_bytes[INDEX] == LEAF_BYTES  # the same leaf
    assert (tmp_path / INDEX).stat().st_size > 50 * LEAF_BYTES


def test_rows_are_those_without_an_index(smoke, folder):
    for band, split in (("high", "train"), ("medium", "validation")):
        found, wanted = ncagen.open(folder, split, band), ncagen.open(smoke(), split, band)
        rows, others = (rows.rows(np.arange(len(rows))[::-1]) for rows in (found, wanted))
        assert all(np.array_equal(rows[name], others[name]) for name in others)
        assert [list(rows.records) for rows in (found, wanted)] == [list(wanted.records)] * 2
    batches = (list(ncagen.Stream(ncagen.open(place, band="high"), 7, seed=3)) for place in (folder, smoke()))
    assert all(np.array_equal(a["candidate"], b["candidate"]) for a, b in zip(*batches, strict=True))


def test_a_pickle_has_no_leaf_in_it(tmp_path):
    write(tmp_path, made_up(many(20_000)))
    dataset = ncagen.open(tmp_path, band="high")
    wanted = list(dataset.manifest.records[:600])
    data = pickle.dumps(dataset)
    assert len(data) < 40_000
    assert list(pickle.loads(data).manifest.records[:600]) == wanted


def test_threads_read_a_leaf_once(tmp_path):
    write(tmp_path, made_up(many(2000)))
    store, barrier = Counting(tmp_path), threading.Barrier(8)
    records = read_manifest(Folder(store)).records

    def read(number: int) -> list[Record]:
        barrier.wait()
        return [records[number], records[number + 512]]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(8)))
    assert [record.shard for some in found for record in some] == [n + m for n in range(8) for m in (0, 512)]
    assert store.read_bytes[INDEX] == 2 * LEAF_BYTES


def test_a_first_batch_from_a_bucket_takes_four_requests(store, place, folder):
    upload(store, place, folder)
    store.requests()
    dataset = ncagen.open(place, band="high")
    batch = next(iter(ncagen.Stream(dataset, 8, seed=1)))
    requests = asked(store)
    assert (requests.pop(f"{MANIFEST} 200"), requests.pop(f"{INDEX} 206")) == (1, 1)
    assert list(requests.values()) == [2] and batch["input_ids"].shape[0] == 8


def test_a_server_without_ranges_sends_the_whole_index_once(store, place, proxy, always, tmp_path):
    proxy.no_ranges = True
    write(tmp_path / "big", made_up(many(1030)))
    upload(store, place, tmp_path / "big")
    store.requests()
    found, wanted = read_manifest(place), read_manifest(tmp_path / "big")
    assert list(found.records) == list(wanted.records)
    # Those of the first leaf ask for a range.
    assert asked(store) == {f"{MANIFEST} 200": 1, f"{INDEX} 200": 2}


# --- damage ---


def broken(folder: Path) -> str:
    """The one line that reading any row ends with, the same from all readers."""
    lines = {
        refusal(lambda: ncagen.open(folder, band="high")[0]),
        refusal(lambda: next(iter(ncagen.Stream(ncagen.open(folder, band="high"), 4)))),
        refusal(lambda: list(read_manifest(folder).records)),
    }
    (line,) = lines
    assert "\n" not in line and line.startswith(f"{folder / INDEX} ")
    return line.removeprefix(f"{folder / INDEX} ")


def test_a_missing_index_is_one_line(folder):
    (folder / INDEX).unlink()
    line = (
        "is missing, without which manifest.json cannot be read: get it from where the dataset is from, or run the"
        " same build again"
    )
    assert broken(folder) == line
    assert run_here("verify", folder) == (2, "", f"ncagen: {folder / INDEX} {line}\n")


def test_an_error_of_the_index_is_the_read_s_that_needs_it(store, place, folder):
    (folder / INDEX).unlink()
    upload(store, place, folder)
    dataset = ncagen.open(place, band="high")
    dataset.prefetch(0, 0, 1)
    line = refusal(lambda: dataset[0])
    assert line.startswith(f"{place}/{INDEX} is missing, without which manifest.json cannot be read: ")


def test_a_cut_index_is_one_line(folder):
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(data[:100])
    assert broken(folder) == "cannot be read: it ends early: 52 of 408 bytes requested are there"


def test_no_flipped_bit_of_an_index_gives_another_record(folder):
    data, chance = (folder / INDEX).read_bytes(), random.Random(0)
    right = read_manifest(folder)
    records, files = list(right.records), dict(right.files)
    for _ in range(100):
        at = chance.randrange(48, len(data))
        changed = bytearray(data)
        changed[at] ^= 1 << chance.randrange(8)
        (folder / INDEX).write_bytes(changed)
        line = refusal(lambda: list(read_manifest(folder).records))
        assert line.startswith(f"{folder / INDEX} is damaged, or another dataset's: ")
        assert line.endswith(" do not match their hash") and "\n" not in line
    (folder / INDEX).write_bytes(data)
    assert (list(right.records), dict(right.files)) == (records, files)


def test_the_index_of_another_dataset_is_refused(folder, tmp_path, always):
    make(tmp_path / "other", spec_of(seed=1))
    shutil.copy(tmp_path / "other" / INDEX, folder)
    assert broken(folder) == ("is damaged, or another dataset's: high train shards 0 to 2 do not match their hash")


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (folder / INDEX).rename(tmp_path / "elsewhere")
    (folder / INDEX).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NcagenError, match="is a link out of the folder"):
        ncagen.open(folder, band="high")[0]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda v: v["dataset"]["shards"].pop(), "its hashes are not those of the leaves"),
        (
            lambda v: v["storage"]["files"].append("0" * 64),
            "its hashes are not those of the leaves",
        ),
        (lambda v: v["dataset"].update(shards={}), "its hashes are not those of the leaves"),
        (
            lambda v: v["storage"]["files"].__setitem__(0, 5),
            "its hashes are not those of the leaves",
        ),
        (lambda v: v["storage"]["index"].update(bytes=7), "its index.bin has not the size and hash of its spec's"),
        (lambda v: v["storage"]["index"].update(sha256=7), "its index.bin has not the size and hash of its spec's"),
        (lambda v: v["storage"].update(index=None), "ncagen.dataset.shard.File() argument after ** must be a mapping"),
        (lambda v: v["storage"]["index"].update(x=7), "File.__init__() got an unexpected keyword argument 'x'"),
        (lambda v: v["storage"].pop("index"), "ncagen.dataset.shard.Record() argument after ** must be a mapping"),
        (lambda v: v["dataset"]["shards"].reverse(), "its hash does not match what it says"),
        (lambda v: v["dataset"]["spec"].update(tokens=10**15, rows_per_shard=1000), "its hashes are not those of the"),
    ],
)
def test_a_root_that_makes_no_sense_is_refused(change, line, folder):
    value = json.loads((folder / MANIFEST).read_text())
    change(value)
    (folder / MANIFEST).write_text(json.dumps(value))
    found = refusal(lambda: ncagen.open(folder, band="high"))
    assert found.startswith(f"{folder / MANIFEST} is damaged: {line}") and "\n" not in found


def test_what_an_author_may_put_into_an_index_is_refused(folder):
    """Hashes fit, so only the values can be refused."""
    good, spec = read_manifest(folder), read_manifest(folder).spec
    records, files = list(good.records), dict(good.files)
    wrong = [replace(records[0], tried=2**32 + 1), *records[1:]]
    rewrite(folder, replace(good, records=wrong, files=files))
    line = refusal(lambda: ncagen.open(folder, band="high")[0])
    tried = (2**32 + 1, records[0].below, records[0].above)
    assert line == f"{folder / INDEX} is damaged: {tried} are not counts of candidates"
    path = good.path(records[0])
    for size in (0, files[path].bytes + 1):
        forged = File(files[path].bytes, files[path].sha256, size, "1" * 64)
        rewrite(folder, replace(good, records=records, files=files | {path: forged}))
        line = refusal(lambda: ncagen.open(folder, band="high")[0])
        assert line == f"{folder / INDEX} is damaged: {path} has a footer of {size} bytes"
    assert spec == read_manifest(folder).spec


def rewrite(folder: Path, manifest: Manifest) -> None:
    before = manifests.LISTED_FILES
    manifests.LISTED_FILES = 0
    try:
        write(folder, manifest)
    finally:
        manifests.LISTED_FILES = before
