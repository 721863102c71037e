"""Datasets in object stores: what a build leaves there is what it leaves on a disk, and no object is ever partial.

The store is moto's server on this machine. What it cannot show: how AWS itself differs from it, and networks that
are slow rather than broken.
"""

import gc
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pytest
import s3
from conftest import FLAGS, NCAGEN, Run, contents, run

import ncagen
from ncagen.dataset import folder as folders
from ncagen.dataset import s3 as client
from ncagen.dataset.atomic_write import temporary_name
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import BUILDING, read_manifest
from ncagen.errors import NcagenError

SHARD = "data/high/train-00001-of-00003.parquet"
MB = 2**20

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and limits as POSIX has them")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with s3.Store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def place(store, monkeypatch):
    """The URL of a folder that there is not yet, in a new bucket that this process can use too."""
    use(store.environment(), monkeypatch)
    bucket = store.bucket()
    store.requests()
    return f"s3://{bucket}/some/folder"


@pytest.fixture
def guarded(store):
    """The store asks for keys, and looks at what they may do."""
    users = {
        "reads": store.user(["s3:GetObject", "s3:ListBucket"]),
        "lists not": store.user(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]),
        "nothing": store.user(["ec2:*"]),
    }
    store.guard(True)
    yield users
    store.guard(False)


@pytest.fixture
def proxy(store, monkeypatch):
    """A breakable way to the store for this process, which gives up soon."""
    with s3.Proxy(store.port) as proxy:
        use(store.environment(proxy.endpoint), monkeypatch)
        monkeypatch.setattr(client, "TRIES", 2)
        monkeypatch.setattr(client, "SILENT_SECONDS", 1.0)
        yield proxy


@pytest.fixture
def soon(monkeypatch):
    """Claims are settled at once."""
    monkeypatch.setattr(folders, "CLAIM_SECONDS", 0.0)


def use(environment: dict[str, str], monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def parts(url: str) -> tuple[str, str]:
    """Bucket and prefix."""
    return urlsplit(url).netloc, urlsplit(url).path.strip("/") + "/"


def buffer(size: int, seed: int = 0) -> pa.Buffer:
    return pa.py_buffer(random.Random(seed).randbytes(size))


def error(call) -> str:
    with pytest.raises(NcagenError) as raised:
        call()
    return str(raised.value)


def upload(store, url: str, folder: Path) -> None:
    bucket, prefix = parts(url)
    for name, data in contents(folder).items():
        store.put(bucket, prefix + name, data)


# Files


@pytest.mark.parametrize("kind", ["s3", "s3a", "memory", "another", "file", "path"])
def test_files_in_any_place(kind, place, tmp_path, soon):
    """s3 through pyarrow, s3a through fsspec; `local` stands for what fsspec reaches and is no object store."""
    fsspec.filesystem("memory").store.clear()
    url = {
        "s3": place,
        "s3a": place.replace("s3://", "s3a://"),
        "memory": "memory://some/folder",
        "another": f"local://{tmp_path}/some folder",
        "file": f"file://{tmp_path}/folder",
        "path": str(tmp_path / "some" / "folder"),
    }[kind]
    folder = pickle.loads(pickle.dumps(Folder(url)))
    assert (str(folder), folder.names(), folder.has("a")) == (url, [], False)
    assert folder.path("data/a") == (str(tmp_path / "folder" / "data" / "a") if kind == "file" else f"{url}/data/a")
    with pytest.raises(FileNotFoundError):
        folder.read("data/a", 9)
    for data in (buffer(1000), buffer(2000), buffer(0)):
        folder.write("data/b/a", data)
        assert folder.read("data/b/a", 2000).equals(data)
    with pytest.raises(OSError, match=r"^\[Errno 5\] it has 2000 bytes, and may have 1999: '.*/c'$"):
        folder.write("c", buffer(2000))
        folder.read("c", 1999)
    assert folder.create("data/b", buffer(9)) if kind in ("s3", "s3a") else folder.create("b", buffer(9))
    folder.remove("data/b" if kind in ("s3", "s3a") else "b")
    assert folder.create(BUILDING, buffer(9)) and not folder.create(BUILDING, buffer(9))
    assert folder.names() == [BUILDING, "c", "data/b/a"] and folder.has("c") and not folder.has("data")
    for _ in range(2):
        folder.remove("c")
    folder.remove_stale()
    assert Folder(url).names() == [BUILDING, "data/b/a"] and folder.listable


def test_what_another_left_behind_is_swept_and_never_seen(tmp_path):
    folder = Folder(f"local://{tmp_path}")
    ours = temporary_name("a")
    others = ours.replace("~", "~elsewhere-", 1)
    for name in (ours, others, "a"):
        (tmp_path / name).write_bytes(b"half")
    assert folder.names() == ["a"]
    folder.remove_stale()
    assert {path.name for path in tmp_path.iterdir()} == {"a", others}


@pytest.mark.parametrize("size", [0, 1000, 7 * MB, 10 * MB - 1, 10 * MB, 25 * MB])
def test_the_requests_of_a_write(size, store, place):
    bucket, prefix = parts(place)
    folder = Folder(place)
    assert store.requests() == []  # an endpoint is all it needs to know
    folder.write("a", buffer(size))
    asked, url = sorted(store.requests()), f"/{bucket}/{prefix}a"
    sent = [f"PUT {url}?partNumber={part} 200" for part in range(1, -(-size // (10 * MB)) + 1)]
    assert asked == ([f"PUT {url} 200"] if size < 10 * MB else [f"POST {url}? 200", f"POST {url}?uploads 200", *sent])
    assert store.get(bucket, f"{prefix}a") == buffer(size).to_pybytes()


def test_the_requests_of_a_read(store, place):
    bucket, prefix = parts(place)
    folder, url = Folder(place), f"/{bucket}/{prefix}a"
    folder.write("a", buffer(9))
    store.requests()
    assert folder.has("a") and folder.read("a", 9).size == 9
    assert store.requests() == [f"HEAD {url} 200"] * 2 + [f"GET {url} 206"]
    assert not folder.has("b")  # one listing, to see if there is such a bucket
    assert store.requests() == [
        f"HEAD /{bucket}/{prefix}b 404",
        f"GET /{bucket}?delimiter=/&list-type=2&max-keys=1000&prefix={prefix} 200",
    ]
    assert not folder.has("c") and store.requests() == [f"HEAD /{bucket}/{prefix}c 404"]


@pytest.mark.parametrize("same", [False, True])
def test_of_two_that_claim_a_place_at_once_one_is_told(same, place, monkeypatch):
    monkeypatch.setattr(folders, "CLAIM_SECONDS", 0.5)
    told: dict[int, bool] = {}
    barrier = threading.Barrier(4)

    def claim(number: int) -> None:
        folder = Folder(place)
        barrier.wait()
        told[number] = folder.create(BUILDING, buffer(1000, 0 if same else number))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = Folder(place).read(BUILDING, 1000)
    assert told == {number: same or there.equals(buffer(1000, number)) for number in range(4)}
    assert same or sum(told.values()) == 1


# Breaks


@pytest.mark.parametrize(
    ("size", "through"),
    [
        (MB, 300_000),
        (25 * MB, 12 * MB),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(MB, 0), (25 * MB, 0), (25 * MB, 24 * MB)]),
    ],
)
def test_a_connection_that_breaks_leaves_what_was_there(size, through, store, place, proxy):
    bucket, prefix = parts(place)
    folder = Folder(place)
    folder.write("a", buffer(1000))
    for name in ("a", "b"):
        proxy.break_after(through)
        with pytest.raises(ConnectionError, match=r"^\[Errno 5\] 127\.0\.0\.1:\d+ cannot be reached \("):
            folder.write(name, buffer(size, 1))
    time.sleep(0.2)
    assert store.objects(bucket, prefix) == {"a": buffer(1000).to_pybytes()}
    proxy.break_after(0, 0)
    folder.write("b", buffer(size, 1))
    assert store.objects(bucket, prefix) == {"a": buffer(1000).to_pybytes(), "b": buffer(size, 1).to_pybytes()}


def test_a_connection_that_breaks_once_is_made_good(store, place, proxy):
    bucket, prefix = parts(place)
    proxy.break_after(300_000, 1)
    Folder(place).write("a", buffer(MB))
    assert proxy.times == 0 and store.objects(bucket, prefix) == {"a": buffer(MB).to_pybytes()}


@pytest.mark.parametrize(("size", "through"), [(MB, 0), (12 * MB, 0), (25 * MB, 0), (25 * MB, 12 * MB)])
def test_a_break_that_is_over_at_once_leaves_nothing_either(size, through, store, place, proxy, monkeypatch):
    """What pyarrow's stream does when it goes away would get through then: it sends what it has as the object."""
    monkeypatch.setattr(client, "TRIES", 1)
    proxy.break_after(through, 1)
    with pytest.raises(ConnectionError):
        Folder(place).write("a", buffer(size))
    gc.collect()  # the stream, if it is to go away
    assert proxy.times == 0 and store.objects(*parts(place)) == {}


def test_a_store_that_says_nothing_is_given_up(place, proxy):
    proxy.stall = True
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=r"cannot be reached \(Operation too slow\."):
        Folder(place).has("a")
    assert time.monotonic() - begun < 20
    proxy.stall = False


WRITER = """
import sys
import pyarrow as pa
from ncagen.dataset.folder import Folder
folder = Folder(sys.argv[1])
print("writing", flush=True)
folder.write("a", pa.py_buffer(bytes(int(sys.argv[2]))))
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("size", [5 * MB, pytest.param(25 * MB, marks=pytest.mark.slow)])
def test_a_writer_that_is_stopped_leaves_nothing(number, size, store, place, proxy):
    bucket, prefix = parts(place)
    proxy.stall = True
    command = [sys.executable, "-c", WRITER, place, str(size)]
    with subprocess.Popen(command, env=store.environment(proxy.endpoint), stdout=-1, stderr=-1) as process:
        process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(number)
        time.sleep(0.3)
        process.kill()
    proxy.stall = False
    time.sleep(0.5)
    assert store.objects(bucket, prefix) == {}


SHORT_OF_MEMORY = """
import re, resource, sys
import pyarrow as pa
from ncagen.dataset.folder import Folder
folder = Folder(sys.argv[1])
data = pa.py_buffer(bytes(35 * 2**20))
folder.write("b", pa.py_buffer(b"b"))
used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 15 * 2**20, hard))
try:
    folder.write("a", data)
except Exception as error:
    print("failed")
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
def test_a_writer_without_memory_leaves_nothing(store, place):
    """Some parts are sent when the next one finds no memory; pyarrow's stream would make an object of them."""
    bucket, prefix = parts(place)
    environment = store.environment(ARROW_DEFAULT_MEMORY_POOL="system")
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, place], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "failed\n", done.stderr
    assert store.objects(bucket, prefix) == {"b": b"b"}
    assert any("partNumber=1" in request for request in store.requests())


# Errors


def test_a_bucket_that_there_is_not(store, place):
    line = "s3://nowhere/x cannot be used: there is no bucket nowhere: make it first or use another"
    folder = Folder("s3://nowhere/x")
    for call in (
        lambda: folder.has("a"),
        lambda: folder.read("a", 9),
        lambda: folder.write("a", buffer(9)),
        lambda: folder.write("a", buffer(12 * MB)),
        lambda: folder.create("a", buffer(9)),
        lambda: folder.remove("a"),
        lambda: folder.names(),
        lambda: ncagen.open("s3://nowhere/x"),
    ):
        assert error(call) == line
    for command in (["build", *FLAGS, "--out"], ["verify"]):
        assert run(*command, "s3://nowhere/x", env=store.environment()) == Run(2, "", f"ncagen: {line}\n")


INSTEAD = "put the key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead of the URL"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://AKIAME:hush/hush@bucket/x", f"the s3:// URL holds a secret: {INSTEAD}"),
        ("s3a://bucket/x?aws_secret_access_key=hush", f"the s3a:// URL holds a secret: {INSTEAD}"),
        ("sftp://me:hush@host/x", "the sftp:// URL holds a secret: leave it out, and let the environment hold it"),
        (
            "s3://bucket/x?a=1",
            "s3://bucket/x?a=1 has an option a, which is not known: use endpoint_override, region, scheme",
        ),
        ("s3:///x", "s3:///x names no bucket: use s3://bucket/folder"),
    ],
)
def test_urls_that_are_refused(url, line):
    assert error(lambda: Folder(url)) == line


def test_a_secret_in_a_url_is_not_printed(store):
    done = run("build", *FLAGS, "--out", "s3://AKIAME:hush/hush@bucket/x", env=store.environment())
    assert done.status == 2 and "hush" not in done.err + done.out and "AKIAME" not in done.err + done.out


def test_options_in_a_url_come_before_the_environment(store, place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    folder = Folder(f"{place}?endpoint_override=127.0.0.1:{store.port}&scheme=http&region=eu-north-1")
    folder.write("a", buffer(9))
    assert folder.names() == ["a"] and folder.path("a") == f"{place}/a"


def test_wrong_keys(store, place, guarded, monkeypatch):
    known = guarded["reads"]
    for keys, why in (
        (s3.KEYS, "the access key is not known there: look at AWS_ACCESS_KEY_ID or AWS_PROFILE"),
        (
            known | {"AWS_SECRET_ACCESS_KEY": "hush"},
            "the secret key is not the access key's: look at AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
        ),
    ):
        use(store.environment(**keys), monkeypatch)
        for call in (
            lambda: Folder(place).has("a"),
            lambda: Folder(place).read("a", 9),
            lambda: Folder(place).write("a", buffer(9)),
            lambda: Folder(place).names(),
            lambda: ncagen.open(place),
        ):
            assert error(call) == f"{place} cannot be used: {why}"


def test_what_is_not_allowed(store, place, guarded, monkeypatch):
    denied = "access denied: use credentials that may, or another place"
    use(store.environment(**guarded["reads"]), monkeypatch)
    folder = Folder(place)
    assert not folder.has("a") and folder.names() == []
    assert error(lambda: folder.write("a", buffer(9))) == f"{place}/a cannot be written: {denied}"
    assert error(lambda: folder.write("a", buffer(12 * MB))) == f"{place}/a cannot be written: {denied}"
    done = run("build", *FLAGS, "--out", place, env=store.environment(**guarded["reads"]))
    assert done == Run(2, "", f"ncagen: {place}/building.json cannot be written: {denied}\n")
    use(store.environment(**guarded["nothing"]), monkeypatch)
    line = f"{place} holds no dataset: there is no manifest.json in it, or none that these credentials may read"
    assert error(lambda: ncagen.open(place)) == line


def test_a_store_that_is_not_there(store, place, monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    why = "127.0.0.1:1 cannot be reached (Failed to connect to 127.0.0.1"
    assert error(lambda: ncagen.open(place)).startswith(f"{place}/manifest.json cannot be read: {why}")


@pytest.mark.slow
def test_every_command_says_that_the_store_is_not_there(store, place, tmp_path):
    environment = store.environment("http://127.0.0.1:1")
    why = "127.0.0.1:1 cannot be reached (Failed to connect to 127.0.0.1"
    for command in (
        ["show"],
        ["verify"],
        ["view"],
        ["audit"],
        ["receipt", "--out", tmp_path / "receipt"],
        ["export", "--to", "nanogpt", "--out", tmp_path / "out"],
    ):
        done = run(*command, place, env=environment)
        assert (done.status, done.out) == (2, "") and done.err.count("\n") == 1
        assert done.err.startswith(f"ncagen: {place}/manifest.json cannot be read: {why}"), done
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_store_that_goes_away_meanwhile_is_one_line(store, place, smoke, tmp_path):
    """Whatever was read before: the manifest alone, or some shards, or all but the list of what else is there."""
    upload(store, place, smoke())
    for through in (0, 30_000, 200_000, 760_000):
        with s3.Proxy(store.port) as proxy:
            environment = store.environment(proxy.endpoint)
            proxy.break_after(through)
            for command in (["show"], ["verify"], ["view", "--save", tmp_path / "page.html"]):
                done = run(*command, place, env=environment)
                assert done.status in (0, 2) and "cannot print" not in done.err
                assert done.status == 0 or re.fullmatch(rf"ncagen: {place}\S*:? .*cannot be reached.*\n", done.err), (
                    done
                )


@pytest.mark.slow
def test_a_build_to_a_store_that_is_not_there(store, place):
    why = "127.0.0.1:1 cannot be reached (Failed to connect to 127.0.0.1"
    done = run("build", *FLAGS, "--out", place, env=store.environment("http://127.0.0.1:1"))
    assert (done.status, done.out) == (2, "") and done.err.startswith(f"ncagen: {place}: {why}")
    assert done.err.count("\n") == 1


# Builds


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
    line = f"ncagen: {place} holds another dataset (seed: 0 -> 1): use another --out or the same order\n"
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
    assert done == Run(2, "", f"ncagen: {place} holds files that are not ours (notes.txt): use another --out\n")


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
def test_builds_that_are_killed_go_on(store, place, smoke):
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
def test_builds_over_a_line_that_breaks_go_on(store, place, smoke):
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
