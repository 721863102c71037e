"""Remote datasets are read by range: each row group once, in few requests, and never a wrong row."""

import hashlib
import itertools
import json
import multiprocessing
import pickle
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import error_of
from s3 import parts, posix, upload
from test_reader import SMALL, fabricate

from ncagen.dataset import manifest as manifests
from ncagen.dataset import s3 as client
from ncagen.dataset.manifest import File, ManifestError, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import GROUPS_KEY, DamagedShard
from ncagen.dataset.shard_file import ShardFile

pytest_plugins = ["s3_fixtures"]

ROWS = 800
GROUPS = 5


@pytest.fixture(params=["parquet", "arrow"])
def local(request, tmp_path):
    """A dataset here: train shards of 300, 300 and 200 rows, each of two row groups but the last."""
    fabricate(tmp_path / "local", request.param, **SMALL)
    return Dataset(tmp_path / "local", band="high")


@pytest.fixture
def url(local, place, store):
    """The same in a bucket."""
    upload(store, place, local.folder.local)
    store.requests()
    return place


def remote(url: str, **options) -> Dataset:
    return Dataset(url, band="high", **options)


def same(found: dict, local: Dataset, numbers) -> bool:
    """Whether these are the dataset's rows of these numbers."""
    return all(np.array_equal(column, found[name]) for name, column in local.rows(numbers).items())


def asked(store) -> Counter:
    """How often each file was requested since the last call, by its name and the answer's status."""
    return Counter(re.sub(r".*/(\S+) (\d+)", r"\1 \2", line) for line in store.requests())


# --- Files ---


def from_footer(footer: bytes | pa.Buffer, data: pa.Buffer, dataset: Dataset, number: int) -> ShardFile:
    """A shard opened from a footer; its row groups are those bytes of `data`, not compared."""

    def fetch(numbers):
        return [data[file.spans[n].start :][: file.spans[n].size] for n in numbers]

    manifest, record = dataset.manifest, dataset.records[number]
    file = ShardFile(pa.py_buffer(footer), manifest.file_format, manifest.row_format, record, fetch=fetch)
    return file


def test_a_footer_has_the_place_and_hash_of_every_row_group(local):
    for number, record in enumerate(local.records):
        file = local.manifest.files[local.manifest.path(record)]
        data = local.folder.read(local.manifest.path(record), file.bytes)
        assert file == File.of(data, local.manifest.file_format)
        spans = from_footer(data[data.size - file.footer_bytes :], data, local, number).spans
        assert len(spans) == -(-record.rows // 256)
        assert [hashlib.sha256(data[span.start :][: span.size]).hexdigest() for span in spans] == [
            span.sha256 for span in spans
        ]
        assert all(a.start + a.size == b.start for a, b in itertools.pairwise(spans))
        assert spans[-1].start + spans[-1].size <= file.bytes - file.footer_bytes


@pytest.mark.parametrize("local", ["arrow"], indirect=True)  # whose metadata is easier to change
@pytest.mark.parametrize(
    ("hashes", "line"),
    [
        (None, "its footer has no hashes of its row groups, which the manifest promises"),
        ([[9, "0" * 64]], "its footer has not one size and hash for each row group"),
        ([[9, "0" * 64], [9, "../../../../etc/passwd"]], "its footer has not one size and hash for each row group"),
        ([[9, "0" * 64], [-9, "0" * 64]], "its footer has not one size and hash for each row group"),
        ([[9, "0" * 64], [True, "0" * 64]], "its footer has not one size and hash for each row group"),
        ("0" * 64, "its footer has not one size and hash for each row group"),
        ([[9, "0" * 64], [10**9, "0" * 64]], "a row group is larger than its rows can be"),
        ([[9, "0" * 64], [9, "0" * 64]], "its footer names other record batches"),
    ],
)
def test_a_footer_without_proper_hashes_is_refused(hashes, line, local):
    """Its author may have any intention: a hash is the name of a file in the cache."""
    path = local.folder.local / local.manifest.path(local.records[0])
    with pa.ipc.open_file(path) as file:
        table = file.read_all()
    metadata = {name: value for name, value in table.schema.metadata.items() if name != GROUPS_KEY}
    metadata |= {} if hashes is None else {GROUPS_KEY: json.dumps(hashes)}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata), max_chunksize=256)
    data = sink.getvalue()
    with pytest.raises(DamagedShard, match=f"^{re.escape(line)}$"):
        from_footer(data[data.size - File.of(data, "arrow").footer_bytes :], data, local, 0)


def test_a_damaged_footer_with_a_valid_hash_gives_no_other_row(local):
    """Of an author who hashes the damage: refused, or what is read is right. Row groups are not compared here."""
    record, manifest, chance = local.records[0], local.manifest, random.Random(0)
    described = manifest.files[manifest.path(record)]
    data = local.folder.read(manifest.path(record), described.bytes)
    right = bytearray(data[data.size - described.footer_bytes :].to_pybytes())
    refused = 0
    for _ in range(400):
        footer = right.copy()
        footer[chance.randrange(len(footer))] ^= 1 << chance.randrange(8)
        try:
            rows = from_footer(bytes(footer), data, local, 0).rows()
        except DamagedShard:
            refused += 1
            continue
        assert same(rows.columns, local, range(300))
    assert refused > 100


@pytest.mark.parametrize(
    "change", [{"footer_bytes": 0}, {"footer_bytes": 10**9}, {"footer_bytes": True}, {"footer_sha256": "x"}]
)
def test_a_manifest_whose_footers_cannot_be_is_refused(change, local):
    path = local.folder.local / manifests.MANIFEST
    value = json.loads(path.read_text())
    name = next(iter(value["storage"]["files"]))
    value["storage"]["files"][name] |= change
    path.write_text(json.dumps(value))
    with pytest.raises(ManifestError, match=f"^{path} is damaged: {name} has no size and hash$"):
        read_manifest(local.folder)


def test_files_without_a_footer_in_the_manifest_are_fetched_whole(local, url, store):
    bucket, prefix = parts(url)
    value = json.loads((local.folder.local / manifests.MANIFEST).read_text())
    for file in value["storage"]["files"].values():
        del file["footer_bytes"], file["footer_sha256"]
    store.put(bucket, prefix + manifests.MANIFEST, json.dumps(value).encode())
    assert read_manifest(url).to_dict() == value
    store.requests()
    dataset = remote(url)
    dataset.prefetch(0, 0, 2)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))
    assert [key.rpartition(" ")[2] for key in asked(store).elements()] == ["200"] * 4


# --- Requests ---


def test_the_first_row_takes_three_requests(local, url, store):
    assert np.array_equal(remote(url)[0]["input_ids"], local[0]["input_ids"])
    name = Path(local.manifest.path(local.records[0])).name
    assert asked(store) == {"manifest.json 200": 1, f"{name} 206": 2}


def test_an_epoch_in_any_order_fetches_each_row_group_once(local, url, proxy):
    """In bytes: the heads of answers are among them."""
    numbers = np.random.default_rng(0).permutation(ROWS)
    dataset = remote(url)
    read_before = proxy.answered
    for some in np.split(numbers, 16):
        assert same(dataset.rows(some), local, some)
    size = sum(local.manifest.files[local.manifest.path(record)].bytes for record in local.records)
    assert 0.95 * size < proxy.answered - read_before < 1.05 * size


def test_neighbours_are_one_request(local, url, store):
    dataset = remote(url)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))
    assert asked(store).total() == 1 + 3 + 3
    assert np.array_equal(dataset.shard(1).input_ids, local.shard(1).input_ids)
    assert asked(store).total() == 1


def test_a_selection_reads_each_shard_once(local, url, store):
    where = "gzip_bytes < 900"
    dataset = remote(url, where=where)
    assert asked(store).total() == 1 + 3 + 3
    selected = Dataset(local.folder, band="high", where=where)
    assert same(dataset.rows(range(len(selected))), selected, range(len(selected)))


def test_many_threads_fetch_each_row_group_once(local, url, store):
    dataset = remote(url)
    dataset.hold(GROUPS)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: dataset.rows(range(ROWS)), range(8)))
    assert all(same(rows, local, range(ROWS)) for rows in found)
    assert asked(store).total() <= 1 + 3 + GROUPS


@pytest.mark.parametrize("scheme", ["s3a://", "memory://"])
def test_stores_of_fsspec_are_read_by_range(scheme, local, url, store):
    """s3a through s3fs, whose ranges are requests of their own; memory has files that are opened and sought in."""
    if scheme == "memory://":
        import fsspec

        fsspec.filesystem("memory").put(str(local.folder.local), "/ranges", recursive=True)
        url = "memory://ranges"
    dataset = remote(url.replace("s3://", scheme))
    store.requests()
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))
    if scheme == "s3a://":
        assert [line.rpartition(" ")[2] for line in store.requests()].count("206") == 3 + 3


# --- In the background ---


def test_what_was_prefetched_is_not_requested_again(local, url, store):
    dataset = remote(url)
    dataset.prefetch(0, 0, 2)
    dataset.prefetch(1, 0, 1)
    dataset.prefetch(0, 0, 2)
    rows = dataset.rows(range(556))
    assert same(rows, local, range(556))
    assert asked(store).total() == 1 + 2 + 2
    dataset.prefetch(0, 0, 2)
    assert dataset._remote._parts == {} and asked(store).total() == 0  # they are held


def test_an_error_in_the_background_is_the_read_s_that_needs_it(local, url, store):
    bucket, prefix = parts(url)
    path = local.manifest.path(local.records[1])
    right = store.get(bucket, prefix + path)
    dataset = remote(url)
    store.client.delete_object(Bucket=bucket, Key=prefix + path)
    for _ in range(2):
        dataset.prefetch(1, 0, 2)
        assert same(dataset.rows(range(300)), local, range(300))
        assert error_of(lambda: dataset[300]) == f"{url}/{path}: No such file or directory"
    store.put(bucket, prefix + path, right)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))


def _read_in_child(dataset: Dataset, queue) -> None:
    queue.put(hashlib.sha256(dataset.rows(range(ROWS))["input_ids"].tobytes()).hexdigest())


@posix
def test_a_forked_process_fetches_for_itself(local, url, proxy):
    """It inherits promises of threads that are not in it."""
    dataset = remote(url)
    dataset[0]
    proxy.stall = True
    for shard in range(3):
        dataset.prefetch(shard, 0, 2)
    proxy.stall = False
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    children = [fork.Process(target=_read_in_child, args=(dataset, queue)) for _ in range(2)]
    for child in children:
        child.start()
    expected = hashlib.sha256(local.rows(range(ROWS))["input_ids"].tobytes()).hexdigest()
    assert [queue.get(timeout=60) for _ in children] == [expected] * 2
    for child in children:
        child.join()
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))


def test_a_pickled_dataset_keeps_its_cache_and_what_it_holds(url, tmp_path):
    dataset = remote(url, cache_dir=tmp_path / "cache", cache_limit="2GB")
    dataset.hold(100)
    copy = pickle.loads(pickle.dumps(dataset))
    assert (copy.cache_dir, copy.cache_limit, copy._held) == (tmp_path / "cache", 2 * 10**9, 100)
    assert np.array_equal(copy[0]["input_ids"], dataset[0]["input_ids"])


def test_a_process_ends_while_something_is_fetched(url, proxy):
    """It would wait for a store that is silent until that is given up, after about a minute."""
    script = f"""
import ncagen
dataset = ncagen.open({url!r}, band="high")
print("opened", flush=True)
input()
for shard in range(3):
    dataset.prefetch(shard, 0, 2)
print("ended")
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "opened\n"
        proxy.stall = True
        assert child.communicate("\n", timeout=25)[0] == "ended\n"
    assert child.returncode == 0


# --- Stores that fail ---


def test_a_shard_that_changed_on_the_server_gives_no_rows(local, url, store):
    """All of it, some of its rows, and its end."""
    bucket, prefix = parts(url)
    path = local.manifest.path(local.records[0])
    right = bytearray(store.get(bucket, prefix + path))
    opened = remote(url)
    opened[299]
    flipped = right.copy()
    flipped[5000] ^= 1
    store.put(bucket, prefix + path, bytes(flipped))
    line = f"{url}/{path}: a row group does not match its hash"
    assert error_of(lambda: opened[0]) == error_of(lambda: remote(url)[0]) == line
    assert same(remote(url).rows([299, 300]), local, [299, 300])  # of other row groups
    store.put(bucket, prefix + path, bytes(right[::-1]))
    assert error_of(lambda: remote(url)[0]) == f"{url}/{path}: its footer does not match its hash"
    footer = local.manifest.files[path].footer_bytes
    store.put(bucket, prefix + path, bytes(right[:-3]))
    line = f"{url}/{path}: it ends early: {footer - 3} of {footer} bytes requested are there"
    assert error_of(lambda: remote(url)[0]) == line
    store.put(bucket, prefix + path, b"x")
    assert error_of(lambda: remote(url)[0]) == f"{url}/{path}: it ends before byte {len(right) - footer}"


def test_a_server_without_ranges_sends_whole_files(local, url, store, proxy):
    proxy.no_ranges = True
    dataset = remote(url)
    dataset.prefetch(0, 0, 2)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))
    assert set(asked(store)) == {"manifest.json 200"} | {
        f"{Path(local.manifest.path(record)).name} 200" for record in local.records
    }


def test_a_store_that_stalls_is_waited_for(local, url, proxy, monkeypatch):
    """Longer than one request is: it is sent again."""
    monkeypatch.setattr(client, "TRIES", 20)
    dataset = remote(url)
    proxy.stall = True
    threading.Timer(1.3, lambda: setattr(proxy, "stall", False)).start()
    dataset.prefetch(0, 0, 2)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))


def test_a_store_that_stays_away_is_one_line(local, url, proxy):
    dataset = remote(url)
    proxy.stall = True
    line = error_of(lambda: dataset[0])
    host = proxy.endpoint.removeprefix("http://")
    path = local.manifest.path(local.records[0])
    assert line == f"{url}/{path}: {host} cannot be reached (no answer in time)"
    proxy.stall = False
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))


def test_an_answer_that_breaks_off_is_requested_again(local, url, proxy):
    dataset = remote(url)
    dataset[0]
    proxy.break_answers_after(30_000, times=1)
    assert same(dataset.rows(range(ROWS)), local, range(ROWS))
