"""The cache of remote row groups: shared, bounded, healed, and never in the way of a row."""

import hashlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3 import parts, posix
from test_ranges import GROUPS, ROWS, asked, local, remote, same, url

from ncagen.dataset import cache as module
from ncagen.dataset.cache import DiskCache
from ncagen.dataset.shard_file import Span
from ncagen.errors import NcagenError

__all__ = ["local", "url"]  # fixtures

pytest_plugins = ["s3_fixtures"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No folder was warned of yet."""
    monkeypatch.setattr(module, "_warned", set())


def entries(folder: Path) -> dict[str, Path]:
    """The files of a cache that hold bytes, by their hash."""
    return {path.name: path for path in folder.glob("??/*")}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in entries(folder).values())


def all_rows(url: str, local, folder: Path, **options) -> bool:
    """Whether every row comes out right."""
    return same(remote(url, cache_dir=folder, **options).rows(range(ROWS)), local, range(ROWS))


def test_what_was_fetched_is_not_fetched_again(local, url, store, tmp_path):
    folder = tmp_path / "new" / "cache"
    assert all_rows(url, local, folder)
    assert asked(store).total() == 1 + 3 + 3
    assert all_rows(url, local, folder)
    assert asked(store) == {"manifest.json 200": 1}
    found = entries(folder)
    assert len(found) == 3 + GROUPS
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in found.items())
    # What other threads are writing when all files are looked at is counted once more.
    assert size_of(folder) <= int((folder / "size").read_text()) <= 2 * size_of(folder)


def test_damaged_entries_are_fetched_again_and_replaced(local, url, store, tmp_path):
    """A truncated one, one with another bit, an empty one, a longer one, a missing one."""
    folder = tmp_path / "cache"
    assert all_rows(url, local, folder)
    right = {name: path.read_bytes() for name, path in entries(folder).items()}
    first, second, third, fourth, fifth, *_ = entries(folder).values()
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(bytes([second.read_bytes()[0] ^ 1]) + second.read_bytes()[1:])
    third.write_bytes(b"")
    fourth.write_bytes(fourth.read_bytes() + b"x")
    fifth.unlink()
    assert all_rows(url, local, folder)
    assert {name: path.read_bytes() for name, path in entries(folder).items()} == right
    store.requests()
    assert all_rows(url, local, folder) and asked(store).total() == 1


def test_a_folder_in_an_entrys_place_costs_requests_alone(local, url, store, tmp_path, caplog):
    folder = tmp_path / "cache"
    assert all_rows(url, local, folder)
    path = next(iter(entries(folder).values()))
    path.unlink()
    path.mkdir()
    assert all_rows(url, local, folder)


def _read(url: str, folder: Path, barrier, queue) -> None:
    barrier.wait()
    rows = remote(url, cache_dir=folder).rows(range(ROWS))
    queue.put(hashlib.sha256(rows["input_ids"].tobytes()).hexdigest())


@posix
def test_four_processes_fetch_each_row_group_once(local, url, store, tmp_path):
    """As the workers of a DataLoader do."""
    fork = multiprocessing.get_context("fork")
    queue, barrier = fork.Queue(), fork.Barrier(4)
    children = [fork.Process(target=_read, args=(url, tmp_path / "cache", barrier, queue)) for _ in range(4)]
    for child in children:
        child.start()
    expected = hashlib.sha256(local.rows(range(ROWS))["input_ids"].tobytes()).hexdigest()
    assert [queue.get(timeout=60) for _ in children] == [expected] * 4
    for child in children:
        child.join()
    found = asked(store)
    assert found.pop("manifest.json 200") == 4
    assert found.total() == 3 + 3


# --- Its size ---


def span_of(data: bytes) -> Span:
    return Span(0, len(data), hashlib.sha256(data).hexdigest())


def put(cache: DiskCache, data: bytes) -> bool:
    """Asks for some bytes; whether they had to be fetched."""
    fetched = []
    found = cache.get([span_of(data)], lambda spans: fetched.extend(spans) or [pa.py_buffer(data)])
    assert found[0].to_pybytes() == data
    return bool(fetched)


def test_the_entries_used_last_stay(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    texts = [bytes([number]) * 1000 for number in range(12)]
    for number, text in enumerate(texts[:10]):
        assert put(cache, text)
        os.utime(cache._path(span_of(text)), (number, number))
    assert not put(cache, texts[0])  # now it is the last one used
    assert put(cache, texts[10])
    there = {path.read_bytes()[0] for path in entries(tmp_path).values()}
    assert there == {0, 3, 4, 5, 6, 7, 8, 9, 10}  # 9,000 bytes: nine tenths of the limit
    assert int((tmp_path / "size").read_text()) == 9000
    assert put(cache, texts[11]) and len(entries(tmp_path)) == 10
    assert put(cache, b"x" * 10_001) and len(entries(tmp_path)) == 10  # larger than the cache may be


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 400)), max_size=60))
@settings(deadline=None, max_examples=30)
def test_it_never_grows_beyond_its_limit(tmp_path_factory, wanted):
    cache = DiskCache(tmp_path_factory.mktemp("cache"), 1000)
    for number, size in wanted:
        put(cache, bytes([number]) * size)
        assert size_of(cache.folder) <= 1000


def test_threads_together_do_not_exceed_the_limit(tmp_path):
    cache = DiskCache(tmp_path, 5000)
    texts = [bytes([number]) * (500 + number) for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: put(cache, text), texts))
    assert 0 < size_of(tmp_path) <= 5000
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_small_cache_of_a_dataset(local, url, tmp_path):
    limit = 700_000
    for _ in range(2):
        assert all_rows(url, local, tmp_path / "cache", cache_limit=limit)
        assert 0 < size_of(tmp_path / "cache") <= limit


@pytest.mark.parametrize("text", [b"", b"x" * 20, b"1" * 19, b"1" * 21])
def test_a_damaged_count_is_counted_again(text, tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    put(cache, b"a" * 1000)
    (tmp_path / "size").write_bytes(text)
    put(cache, b"b" * 1000)
    assert int((tmp_path / "size").read_text()) == 2000 and len(entries(tmp_path)) == 2


def test_files_of_ended_processes_are_removed_with_the_oldest(tmp_path):
    cache = DiskCache(tmp_path, 2000)
    put(cache, b"a" * 1000)
    old, new = (cache._path(span_of(b"a" * 1000)).with_name(name) for name in ("1-a.tmp", "1-b.tmp"))
    for path in (old, new):
        path.write_bytes(b"x" * 100)
    os.utime(old, (0, 0))
    put(cache, b"b" * 1001)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    ("limit", "shown"),
    [("10", "'10'"), ("ten GB", "'ten GB'"), ("0GB", "'0GB'"), ("-1GB", "'-1GB'"), ("1e9B", "'1e9B'")],
)
def test_a_limit_that_is_no_size_is_refused(limit, shown, local):
    with pytest.raises(NcagenError) as caught:
        remote(str(local.folder), cache_limit=limit)
    line = f"cache_limit {shown} is not a size: use bytes, or a number with a unit, as in 10GB"
    assert str(caught.value) == line


@pytest.mark.parametrize(("limit", "size"), [("10GB", 10**10), ("1.5 tb", 15 * 10**11), ("7B", 7), (9, 9)])
def test_a_limit_is_bytes_or_has_a_unit(limit, size, local):
    assert remote(str(local.folder), cache_limit=limit).cache_limit == size


# --- Faults ---


def warned(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_full_disk_is_one_warning(local, url, tiny_disk, caplog):
    """400 KB, and the dataset takes more."""
    folder = tiny_disk / "cache"
    assert all_rows(url, local, folder) and all_rows(url, local, folder)
    line = f"the cache {folder} cannot be written (No space left on device): reading continues without it"
    assert warned(caplog) == [line]
    assert not list(folder.rglob("*.tmp"))


def test_a_read_only_cache_is_read_and_one_warning(local, url, store, tiny_disk, caplog):
    subprocess.run(["mount", "-o", "remount,size=8m", tiny_disk], check=True)
    folder = tiny_disk / "cache"
    assert all_rows(url, local, folder) and not warned(caplog)
    missing, damaged, *_ = entries(folder).values()
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    store.requests()
    assert all_rows(url, local, folder) and all_rows(url, local, folder)
    assert 2 + 2 <= asked(store).total() <= 2 + 2 * 2
    line = f"the cache {folder} cannot be written (Read-only file system): reading continues without it"
    assert warned(caplog) == [line]


def test_a_file_where_the_cache_should_be_is_one_warning(local, url, tmp_path, caplog):
    folder = tmp_path / "file"
    folder.write_bytes(b"x")
    assert all_rows(url, local, folder)
    assert warned(caplog) == [f"the cache {folder} cannot be written (Not a directory): reading continues without it"]


FETCH = """
import sys, time
from pathlib import Path
from ncagen.dataset.cache import DiskCache
from ncagen.dataset.shard_file import Span

def fetch(spans):
    print("fetching", flush=True)
    time.sleep(600)

DiskCache(Path(sys.argv[1]), 10**6).get([Span(0, 4, sys.argv[2])], fetch)
"""


@pytest.fixture
def fetching(tmp_path):
    """A process that has a lock, and fetches for ever."""
    command = [sys.executable, "-c", FETCH, tmp_path, span_of(b"data").sha256]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "fetching\n"
        yield child
        child.kill()


@posix
def test_a_process_that_is_killed_while_it_fetches_is_not_waited_for(fetching, tmp_path):
    fetching.send_signal(signal.SIGKILL)
    fetching.wait()
    before = time.monotonic()
    assert put(DiskCache(tmp_path, 10**6), b"data")
    assert time.monotonic() - before < module.LOCK_SECONDS


@posix
def test_a_process_that_is_stopped_while_it_fetches_is_waited_for_a_while(fetching, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.2)
    assert put(DiskCache(tmp_path, 10**6), b"data")
    assert not put(DiskCache(tmp_path, 10**6), b"data")


def test_a_shard_that_changed_on_the_server_is_not_kept(local, url, store, tmp_path):
    bucket, prefix = parts(url)
    path = local.manifest.path(local.records[0])
    right = store.get(bucket, prefix + path)
    store.put(bucket, prefix + path, right[:5000] + bytes([right[5000] ^ 1]) + right[5001:])
    with pytest.raises(NcagenError, match=r"a row group does not match its hash$"):
        all_rows(url, local, tmp_path / "cache")
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == name for name, path in entries(tmp_path).items())
    store.put(bucket, prefix + path, right)
    assert all_rows(url, local, tmp_path / "cache")


def test_without_locks_it_works_alone(local, url, tmp_path, monkeypatch):
    """As on Windows, which has no flock."""
    monkeypatch.setattr(module, "fcntl", None)
    assert all_rows(url, local, tmp_path / "cache") and len(entries(tmp_path / "cache")) == 3 + GROUPS
