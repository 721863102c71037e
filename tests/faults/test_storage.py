"""Builds into a bucket whose store, line, workers or neighbours fail. The oracle is the build on a disk.

What one file's way into a bucket can meet is in tests/test_stores.py. The store is moto's, on this machine.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import s3
from conftest import FLAGS, Run, contents, make, run, spec_of
from ray_cluster import ONE_AT_A_TIME, descendants, wait_for

from faults.processes import start
from ncagen.dataset.manifest import BUILDING

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with s3.Store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def place(store) -> str:
    """The URL of a folder that there is not yet, in a new bucket."""
    return f"s3://{store.bucket()}/some/folder"


@pytest.fixture
def proxy(store):
    """A breakable way to the store."""
    with s3.Proxy(store.port) as proxy:
        yield proxy


def objects(store, place: str) -> dict[str, bytes]:
    return store.objects(urlsplit(place).netloc, "some/folder/")


def until_a_shard_is_there(store, place: str, process) -> None:
    wait_for(lambda: any("-of-" in name for name in objects(store, place)) or process.poll() is not None)


def stall(proxy) -> None:
    """Keeps what comes, and gives a build the time to come to its next request."""
    proxy.stall = True
    time.sleep(2)


@contextmanager
def watched(store, place: str, *wanted: dict[str, bytes]) -> Iterator[None]:
    """Looks at every object again and again, and asserts that each was whole, and one of those that are wanted."""
    seen, end = set(), threading.Event()

    def look() -> None:
        while not end.is_set():
            try:
                seen.update(objects(store, place).items())
            except (
                store.client.exceptions.NoSuchKey,
                store.client.exceptions.NoSuchBucket,
            ):  # gone since it was listed
                continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    may = {pair for contents in wanted for pair in contents.items()}
    assert {(name, data) for name, data in seen if name != BUILDING} <= may


@ONE_AT_A_TIME
def test_workers_that_are_killed_while_they_send_are_replaced(store, place, proxy, smoke):
    wanted, environment = contents(smoke()), store.environment(proxy.endpoint)
    with watched(store, place, wanted):
        process = start("build", *FLAGS, "--ray=local", "--workers=2", "--quiet", "--out", place, env=environment)
        until_a_shard_is_there(store, place, process)
        stall(proxy)
        workers = [number for number, command in descendants(process.pid).items() if command.startswith("ray::make")]
        for number in workers:
            os.kill(number, signal.SIGKILL)
        proxy.stall = False
        out, err = process.communicate(timeout=120)
        assert workers and Run(process.returncode, out, err) == Run(0, "", "")
    assert objects(store, place) == wanted


def test_a_store_that_says_nothing_for_a_while_is_waited_for(store, place, proxy, smoke):
    wanted, environment = contents(smoke()), store.environment(proxy.endpoint)
    with watched(store, place, wanted):
        process = start("build", *FLAGS, "--quiet", "--out", place, env=environment)
        until_a_shard_is_there(store, place, process)
        stall(proxy)
        threading.Timer(12, setattr, (proxy, "stall", False)).start()
        out, err = process.communicate(timeout=120)
        assert Run(process.returncode, out, err) == Run(0, "", "")
    assert objects(store, place) == wanted


def test_of_two_specs_that_begin_at_once_one_wins(store, place, smoke, tmp_path):
    make(tmp_path / "other", spec_of(seed=1))
    wanted = [contents(smoke()), contents(tmp_path / "other")]
    with watched(store, place, *wanted):
        processes = [
            start("build", *FLAGS, f"--seed={seed}", "--quiet", "--out", place, env=store.environment())
            for seed in (0, 1)
        ]
        said = [process.communicate(timeout=120)[1] for process in processes]
    statuses = [process.returncode for process in processes]
    assert sorted(statuses) == [0, 2]
    winner = statuses.index(0)
    line = (
        f"ncagen: {place} holds another dataset (seed: {winner} -> {1 - winner}): use another --out or the same spec\n"
    )
    assert said[winner] == "" and said[1 - winner] == line
    assert objects(store, place) == wanted[winner]


def test_a_bucket_that_vanishes_is_one_line_and_the_build_goes_on_in_a_new_one(store, place, proxy, smoke):
    wanted, environment = contents(smoke()), store.environment(proxy.endpoint)
    bucket = urlsplit(place).netloc
    with watched(store, place, wanted):
        process = start("build", *FLAGS, "--quiet", "--out", place, env=environment)
        until_a_shard_is_there(store, place, process)
        stall(proxy)
        for name in objects(store, place):
            store.client.delete_object(Bucket=bucket, Key=f"some/folder/{name}")
        store.client.delete_bucket(Bucket=bucket)
        proxy.stall = False
        out, err = process.communicate(timeout=120)
        line = f"ncagen: {place} cannot be used: there is no bucket {bucket}: make it first or use another\n"
        assert Run(process.returncode, out, err) == Run(2, "", line)
        store.client.create_bucket(Bucket=bucket)
        assert run("build", *FLAGS, "--quiet", "--out", place, env=environment) == Run(0, "", "")
    assert objects(store, place) == wanted
