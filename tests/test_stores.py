"""Datasets in object stores: what a build leaves there is what it leaves on a disk, and no object is ever partial.

The store is moto's server on this machine. What it cannot show: how AWS itself differs from it, and networks that
are slow rather than broken.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import fsspec
import pyarrow as pa
import pytest
from conftest import error_of
from s3 import MB, buffer, parts, posix

from ncagen.dataset import s3 as client
from ncagen.dataset import stores
from ncagen.dataset.atomic_write import temporary_name
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import BUILDING

pytest_plugins = ["s3_fixtures"]


@pytest.mark.parametrize("kind", ["s3", "s3a", "memory", "another", "file", "path"])
def test_files_in_any_place(kind, place, tmp_path, soon):
    """s3 through botocore, s3a through fsspec; `local` stands for what fsspec reaches and is no object store."""
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
    folder.write("data/b/a", buffer(2000))
    for start, size in ((0, 1), (700, 1300), (0, 2000), (1999, 1)):
        assert folder.read_range("data/b/a", start, size).equals(buffer(2000)[start : start + size])
    with pytest.raises(
        OSError, match=r"^\[Errno 5\] it ends early: 10 of 11 bytes requested are there: '.*/data/b/a'$"
    ):
        folder.read_range("data/b/a", 1990, 11)
    with pytest.raises(OSError, match=r"it ends before byte 2000|it ends early: 0 of 1|range is not satisfiable"):
        folder.read_range("data/b/a", 2000, 1)
    with pytest.raises(FileNotFoundError):
        folder.read_range("data/a", 0, 1)
    folder.write("data/b/a", buffer(0))
    with pytest.raises(OSError, match=r"^\[Errno 5\] it has 2000 bytes, the limit is 1999: '.*/c'$"):
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


class Constant(stores.ReadableStore):
    """One file, for reading alone."""

    def has(self, name: str) -> bool:
        return name == "a"

    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        return buffer(9)

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        return buffer(9)[start : start + size]

    def names(self) -> list[str]:
        return ["a"]


def test_a_store_that_can_only_be_read_is_not_written_to():
    folder = Folder(Constant("const://one"))
    assert (folder.names(), folder.read("a", 9), folder.title, folder.local) == (["a"], buffer(9), "one", None)
    line = "const://one can only be read: use a folder or a URL such as s3://bucket/name"
    for call in (
        lambda: folder.write("a", buffer(9)),
        lambda: folder.create("a", buffer(9)),
        lambda: folder.remove("a"),
        lambda: folder.remove_stale(),
    ):
        assert error_of(call) == line


def test_what_another_left_behind_is_swept_and_never_seen(tmp_path):
    folder = Folder(f"local://{tmp_path}")
    ours = temporary_name("a")
    others = ours.replace("~", "~elsewhere-", 1)
    for name in (ours, others, "a"):
        (tmp_path / name).write_bytes(b"half")
    assert folder.names() == ["a"]
    folder.remove_stale()
    assert {path.name for path in tmp_path.iterdir()} == {"a", others}


@pytest.mark.parametrize("size", [0, 1000, 25 * MB])
def test_the_requests_of_a_write(size, store, place):
    bucket, prefix = parts(place)
    folder = Folder(place)
    assert store.requests() == []  # an endpoint is all it needs to know
    folder.write("a", buffer(size))
    assert store.requests() == [f"PUT /{bucket}/{prefix}a 200"]
    assert store.get(bucket, f"{prefix}a") == buffer(size).to_pybytes()


def test_the_requests_of_a_read(store, place):
    bucket, prefix = parts(place)
    folder, url = Folder(place), f"/{bucket}/{prefix}a"
    folder.write("a", buffer(9))
    store.requests()
    assert folder.has("a") and folder.read("a", 9).size == 9
    assert store.requests() == [f"GET {url} 206", f"GET {url} 200"]
    assert not folder.has("b") and store.requests() == [f"GET /{bucket}/{prefix}b 404"]
    folder.write("empty", buffer(0))
    store.requests()
    assert folder.has("empty") and store.requests() == [f"GET /{bucket}/{prefix}empty 416"]


CLAIMER = """
import sys
import pyarrow as pa
from ncagen.dataset.folder import Folder
folder = Folder(sys.argv[1])
folder.has("a")
print("ready", flush=True)
sys.stdin.readline()
print(folder.create("claim", pa.py_buffer(sys.argv[2].encode() * 1000)), flush=True)
"""


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_of_two_that_claim_a_place_at_once_one_is_told(scheme, same, store, place):
    """The store decides, in one request each: nobody waits to see what the other did."""
    bucket, prefix = parts(place)
    url, data = place.replace("s3://", f"{scheme}://"), ["x" if same else str(number) for number in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, url, each], env=store.environment(), stdin=-1, stdout=-1, text=True
        )
        for each in data
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    store.requests()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0] == "True\n" for process in processes]
    assert told.count(True) == 1
    assert store.objects(bucket, prefix) == {"claim": (data[told.index(True)] * 1000).encode()}
    put = f"PUT /{bucket}/{prefix}claim"
    sent = [request for request in store.requests() if request.startswith(put)]
    assert sorted(sent) == [f"{put} 200"] + [f"{put} 412"] * 3


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("kind", ["s3", "local"])
def test_of_two_that_claim_a_place_without_conditions_one_is_told(kind, same, place, proxy, tmp_path, monkeypatch):
    """Where a store cannot write on a condition, each looks again after a while."""
    monkeypatch.setattr(stores, "CLAIM_SECONDS", 0.5)
    proxy.no_conditions = True
    url = place if kind == "s3" else f"local://{tmp_path}"
    told: dict[int, bool] = {}
    barrier = threading.Barrier(4)

    def claim(number: int) -> None:
        folder = Folder(url)
        folder.has(BUILDING)
        barrier.wait()
        told[number] = folder.create(BUILDING, buffer(1000, 0 if same else number))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = Folder(url).read(BUILDING, 1000)
    assert all(there.equals(buffer(1000, 0 if same else number)) for number, did in told.items() if did)
    assert sum(told.values()) == 1 or (same and sum(told.values()) > 1)


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
    """A client that sends what it has when it is closed would make an object of it then."""
    monkeypatch.setattr(client, "TRIES", 1)
    proxy.break_after(through, 1)
    with pytest.raises(ConnectionError):
        Folder(place).write("a", buffer(size))
    gc.collect()
    assert proxy.times == 0 and store.objects(*parts(place)) == {}


def test_an_answer_that_breaks_off_is_asked_for_again(store, place, proxy):
    folder = Folder(place)
    folder.write("a", buffer(5 * MB))
    proxy.break_answers_after(MB, 1)
    store.requests()
    assert folder.read("a", 5 * MB).equals(buffer(5 * MB))
    bucket, prefix = parts(place)
    assert store.requests() == [f"GET /{bucket}/{prefix}a 200"] * 2
    proxy.break_answers_after(MB)
    with pytest.raises(
        ConnectionError, match=r"^\[Errno 5\] 127\.0\.0\.1:\d+ cannot be reached \(the connection broke\): "
    ):
        folder.read("a", 5 * MB)


def test_a_store_that_says_nothing_is_given_up(place, proxy):
    proxy.stall = True
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=r"cannot be reached \(no answer in time\)"):
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
resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, hard))
try:
    folder.write("a", data)
    print("written")
except MemoryError:
    print("failed")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
def test_a_writer_without_memory_leaves_nothing(store, place):
    """An object of 35 MB needs no second copy of itself: 1 MB is enough, or nothing is there."""
    bucket, prefix = parts(place)
    environment = store.environment(ARROW_DEFAULT_MEMORY_POOL="system")
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, place], env=environment, capture_output=True, text=True, timeout=60
    )
    written = {"written\n": {"a": bytes(35 * MB)}, "failed\n": {}}
    assert store.objects(bucket, prefix) == {"b": b"b"} | written[done.stdout]


@posix
def test_a_folder_is_used_after_a_fork(store, place):
    """As torch's workers do, beside a parent that has open connections and goes on using them."""
    folder = Folder(place)
    folder.write("a", buffer(MB))
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            os._exit(0 if all(folder.read("a", MB).equals(buffer(MB)) for _ in range(5)) else 1)
        children.append(child)
    assert all(folder.read("a", MB).equals(buffer(MB)) for _ in range(5))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


def test_a_client_is_made_once(store, place):
    client._client.cache_clear()
    for _ in range(3):
        pickle.loads(pickle.dumps(Folder(place))).has("a")
    assert client._client.cache_info().misses == 1


def test_without_botocore_a_bucket_says_what_to_type():
    script = """
import sys
sys.modules["botocore"] = None
import ncagen
try:
    ncagen.open("s3://bucket/x")
except ncagen.NcagenError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("s3:// needs botocore: pip install -e '.[s3]' in the clone of ncagen\n", "")
