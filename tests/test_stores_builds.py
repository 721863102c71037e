"""Builds into a bucket: what a build leaves there is what it leaves on a disk. The store is moto's, on this machine."""

import random
import subprocess
import threading
import time

import pytest
import s3
from conftest import FLAGS, NCAGEN, Run, contents, run
from s3 import parts, posix, upload

import ncagen
from ncagen.dataset.manifest import BUILDING, read_manifest

pytest_plugins = ["s3_fixtures"]

SHARD = "data/high/train-00001-of-00003.parquet"


class Watcher(threading.Thread):
    """Looks at every object below a place, again and again, and keeps each that it has not seen as it was."""

    def __init__(self, store, url: str):
        super().__init__(daemon=True)
        self.seen: set[tuple[str, bytes]] = set()
        self._store, self._url = store, url
        self._end = threading.Event()

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self.seen |= set(self._store.objects(*parts(self._url)).items())
            except self._store.client.exceptions.NoSuchKey:  # building.json, between the listing and the look
                continue


def test_a_build_is_what_it_is_on_a_disk(store, place, smoke):
    wanted = contents(smoke())
    environment, (bucket, prefix) = store.environment(), parts(place)
    with Watcher(store, place) as watcher:
        done = run("build", *FLAGS, "--out", place, env=environment)
    assert (done.status, done.err) == (0, "")
    assert store.objects(bucket, prefix) == wanted
    assert {(name, data) for name, data in watcher.seen if name != BUILDING} <= set(wanted.items())
    assert {name for name, _ in watcher.seen} <= {*wanted, BUILDING}
    requests = store.requests()
    assert not [request for request in requests if request.startswith("POST") or "partNumber" in request]
    puts = sorted(request for request in requests if request.startswith("PUT /") and not request.endswith("/ 200"))
    assert puts == sorted(f"PUT /{bucket}/{prefix}{name} 200" for name in [*wanted, BUILDING])
    sha256 = read_manifest(smoke()).dataset_sha256
    ok = f"ok: {place}: 8 files, 440 rows, sha256 {sha256}\n"
    assert run("verify", place, env=environment) == Run(0, ok, "")
    dataset, local = (ncagen.open(where, band="high") for where in (place, smoke()))
    assert len(dataset) == 200 and (dataset[150]["input_ids"] == local[150]["input_ids"]).all()
    again = run("build", *FLAGS, "--out", place, env=environment)
    assert again.out.startswith(f"nothing to do: {place} is complete\n") and store.objects(bucket, prefix) == wanted
    other = run("build", *FLAGS, "--seed", 1, "--out", place, env=environment)
    line = f"ncagen: {place} holds another dataset (seed: 0 -> 1): use another --out or the same spec\n"
    assert other == Run(2, "", line)


def test_what_is_damaged_is_found_and_made_again(store, place, smoke):
    wanted = contents(smoke())
    environment, (bucket, prefix) = store.environment(), parts(place)
    upload(store, place, smoke())
    other = SHARD.replace("00001", "00002")
    store.put(bucket, prefix + SHARD, wanted[SHARD][:-100])
    store.put(bucket, prefix + other, wanted[other][:5000] + b"x" + wanted[other][5001:])
    store.put(bucket, prefix + "notes.txt", b"mine")
    found = run("verify", place, env=environment)
    size = len(wanted[SHARD])
    assert found == Run(
        1,
        f"failed: {place}: 3 problems\n",
        f"{SHARD}: it has {size - 100} bytes, not {size}\n"
        f"{other}: its bytes do not match their hash\n"
        "notes.txt: does not belong to the dataset\n",
    )
    assert run("build", *FLAGS, "--out", place, "--quiet", env=environment) == Run(0, "", "")
    assert store.objects(bucket, prefix) == wanted | {"notes.txt": b"mine"}


@pytest.mark.slow
def test_what_the_other_commands_do_with_a_url(store, place, smoke, tmp_path):
    upload(store, place, smoke())
    environment = store.environment()
    for command in (["show"], ["view", "--save", tmp_path / "page.html"], ["receipt", "--out", tmp_path / "receipt"]):
        there, local = (run(*command, where, env=environment) for where in (place, smoke()))
        assert (there.status, there.err) == (0, "") and there.out == local.out.replace(str(smoke()), place)
    assert run("rebuild", tmp_path / "receipt", "--out", place + "-again", env=environment).status == 0
    bucket, prefix = parts(place + "-again")
    assert store.objects(bucket, prefix) == contents(smoke())
    line = f"ncagen: {place} is not on this machine: use --out with the name of a file\n"
    assert run("receipt", place, env=environment) == Run(2, "", line)


def test_foreign_objects_are_refused(store, place):
    bucket, prefix = parts(place)
    store.put(bucket, prefix + "notes.txt", b"mine")
    done = run("build", *FLAGS, "--out", place, env=store.environment())
    assert done == Run(2, "", f"ncagen: {place} holds unrelated files (notes.txt): use another --out\n")


@pytest.mark.slow
def test_a_bucket_that_may_not_be_listed(store, place, guarded, smoke):
    environment, (bucket, prefix) = store.environment(**guarded["lists not"]), parts(place)
    done = run("build", *FLAGS, "--out", place, "--quiet", env=environment)
    assert done == Run(0, "", "")
    sha256 = read_manifest(smoke()).dataset_sha256
    assert run("verify", place, env=environment) == Run(
        0,
        f"ok: {place}: 8 files, 440 rows, sha256 {sha256}\n",
        f"{place} may not be listed: whether there are other files in it is not known\n",
    )
    store.guard(False)
    assert store.objects(bucket, prefix) == contents(smoke())


@pytest.mark.slow
def test_a_build_through_fsspec(store, place, smoke):
    bucket, prefix = parts(place)
    url = place.replace("s3://", "s3a://")
    assert run("build", *FLAGS, "--out", url, "--quiet", env=store.environment()) == Run(0, "", "")
    assert store.objects(bucket, prefix) == contents(smoke())
    assert run("verify", url, "--quiet", env=store.environment()).status == 0


@posix
@pytest.mark.slow
def test_builds_that_are_killed_resume(store, place, smoke):
    wanted = contents(smoke())
    bucket, prefix = parts(place)
    moments = random.Random(0)
    with Watcher(store, place) as watcher:
        for _ in range(8):
            process = subprocess.Popen([*NCAGEN, "build", *FLAGS, "--out", place, "--quiet"], env=store.environment())
            time.sleep(moments.uniform(0.5, 4.0))
            process.kill()
            process.wait()
        assert run("build", *FLAGS, "--out", place, "--quiet", env=store.environment()) == Run(0, "", "")
    assert store.objects(bucket, prefix) == wanted
    assert {(name, data) for name, data in watcher.seen if name != BUILDING} <= set(wanted.items())


@pytest.mark.slow
def test_builds_over_a_line_that_breaks_resume(store, place, smoke):
    """What a build could not send the next one sends."""
    wanted, (bucket, prefix) = contents(smoke()), parts(place)
    with s3.Proxy(store.port) as proxy:
        environment = store.environment(proxy.endpoint)
        statuses = []
        for through in (300_000, 10**9):
            proxy.break_after(through)
            statuses.append(run("build", *FLAGS, "--out", place, "--quiet", env=environment).status)
            there = store.objects(bucket, prefix)
            assert {name: data for name, data in there.items() if name != BUILDING}.items() <= wanted.items()
    assert statuses == [2, 0] and store.objects(bucket, prefix) == wanted
