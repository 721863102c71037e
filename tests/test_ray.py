"""Builds on Ray: what is refused before any work, and that a cluster's files are those of a build without one.

What happens when nodes, workers and heads die is in tests/faults.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import FLAGS, NCAGEN, ROOT, Run, contents, run, spec_of, without, without_waiting
from faults.processes import STOP_SECONDS, STOPPED, start
from ray_cluster import HIDING, ONE_AT_A_TIME, descendants, is_alive, wait_for

from ncagen.dataset.folder import Folder
from ncagen.errors import NcagenError
from ncagen.factory import scheduler
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.ray.connection import joined
from ncagen.hints import install

pytestmark = ONE_AT_A_TIME

# Shards of 20 ms, so that some end in the moment that a build is stopped.
MANY_FLAGS = ["--tokens=20M", "--validation=0", "--band=high", "--rows-per-shard=64"]


def refused(tmp_path: Path, *flags: object, **options) -> str:
    """What a build says that is refused: one line, and nothing is written."""
    before = contents(tmp_path)
    done = run("build", *FLAGS, "--out", tmp_path / "a", *flags, **options)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert contents(tmp_path) == before and not (tmp_path / "a").exists()
    return done.err


def unused_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


# --- refused without a cluster ---


def test_ray_is_missing(tmp_path):
    program = [sys.executable, "-c", without("ray") + "from ncagen.__main__ import main\nmain()"]
    said = refused(tmp_path, "--ray=local", program=program)
    assert said == f"ncagen: --ray needs ray: {install('ray')}\n"


def test_an_address_where_nothing_listens(tmp_path):
    port = unused_port()
    assert refused(tmp_path, f"--ray=127.0.0.1:{port}") == (
        f"ncagen: the Ray cluster at 127.0.0.1:{port} cannot be reached: check the address, or use --ray local\n"
    )


@pytest.mark.parametrize("where", ["here", "head:", ":6379", "head:port"])
def test_what_is_no_address(where):
    with pytest.raises(NcagenError) as caught, joined(where, None):
        pass
    assert str(caught.value) == f"--ray {where} is not known: use auto, local, or HOST:PORT of a cluster's head"


def test_the_address_of_ray_client(tmp_path):
    assert refused(tmp_path, "--ray=ray://head:10001") == (
        "ncagen: --ray ray://head:10001 is an address of Ray Client, which cannot run builds: use HOST:PORT of the head"
        " (its port is 6379 unless it was given another) on a node of the cluster, or submit the command with ray job"
        " submit\n"
    )


def test_flags_that_say_nothing_without_others(tmp_path):
    assert refused(tmp_path, "--gpus-per-worker=0.5") == (
        "ncagen: --gpus-per-worker is for GPU workers on a cluster: use it with --ray and --device cuda\n"
    )
    assert refused(tmp_path, "--ray=local", "--plan") == (
        "ncagen: --plan measures this machine's cores: leave --ray and --device out, and give --nodes\n"
    )


@pytest.mark.slow
def test_auto_without_a_cluster(tmp_path):
    alone = ("unshare", "--pid", "--fork", "--mount-proc")  # Ray looks for heads among all processes that it sees
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("unshare is not permitted")
    environment = {**os.environ, "RAY_ADDRESS": "", "RAY_TMPDIR": str(tmp_path)}
    assert refused(tmp_path, "--ray=auto", program=(*alone, *NCAGEN), env=environment) == (
        "ncagen: --ray auto finds no Ray cluster on this machine: use --ray local, or HOST:PORT of a head\n"
    )


@pytest.mark.slow
def test_auto_with_the_address_of_ray_client(tmp_path):
    environment = {**os.environ, "RAY_ADDRESS": "ray://head:10001"}
    assert refused(tmp_path, "--ray=auto", env=environment) == (
        "ncagen: RAY_ADDRESS is ray://head:10001: set it to HOST:PORT of the head, or use --ray HOST:PORT\n"
    )


@pytest.mark.slow
def test_what_listens_is_not_ray(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        begun = time.monotonic()
        assert refused(tmp_path, f"--ray={address}") == no_head(address)
        assert time.monotonic() - begun < 30


def no_head(address: str) -> str:
    return (
        f"ncagen: what listens at {address} is not the head of a Ray cluster: use the address that ray start --head"
        " printed (its port is 6379 unless it was given another)\n"
    )


# --- a local Ray ---


@pytest.mark.slow
def test_a_local_build_is_the_build_and_leaves_nothing(smoke, tmp_path):
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:  # of this build alone
        command, environment = ["build", "--ray=local", "--workers=2"], os.environ | {"RAY_TMPDIR": temporary}
        process = start(*command, *FLAGS, "--out", tmp_path / "a", env=environment)
        wait_for(lambda: list(Path(temporary).glob("ncagen-ray-*")) or process.poll() is not None)
        assert process.poll() is None
        err = process.communicate()[1]
        assert (process.returncode, err) == (0, "")
        assert contents(tmp_path / "a") == contents(smoke())
        again = run(*command, *FLAGS, "--out", tmp_path / "a", env=environment)
        assert again.out.startswith("nothing to do")
        assert not list(Path(temporary).iterdir())


@pytest.mark.slow
def test_a_local_ray_listens_to_nobody_else(tmp_path):
    script = """
import os, sys
from ncagen.factory.ray.connection import joined
with joined("local", 1):
    import ray
    from ray_cluster import descendants
    ray.get(ray.remote(lambda: None).remote())
    print(*descendants(os.getpid()), os.getpid())
    sys.stdout.flush()
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    processes = {int(number) for number in process.stdout.readline().split()}
    assert len(processes) > 5
    sockets = {name for number in processes for name in open_sockets(number)}
    listening = {address for inode, address in listeners() if inode in sockets}
    process.communicate("")
    assert listening == {"127.0.0.1"}
    assert process.returncode == 0


def open_sockets(process: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            continue
    return found


def listeners() -> list[tuple[str, str]]:
    """Inode and address of every TCP socket of this machine that listens."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A":
                last = bytes.fromhex(columns[1].partition(":")[0][-8:])[::-1]
                found.append((columns[9], ".".join(map(str, last))))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_local_ray(number, tmp_path):
    folder = tmp_path / "a"
    process = start("build", *MANY_FLAGS, "--out", folder, "--ray=local", "--workers=2")
    wait_for(lambda: len(list(folder.glob("data/*/*"))) >= 3 or process.poll() is not None)
    started = descendants(process.pid)
    process.send_signal(number)
    begun = time.monotonic()
    err = process.communicate()[1]
    assert time.monotonic() - begun < STOP_SECONDS
    assert (process.returncode, without_waiting(err)) == (130, STOPPED)
    wait_for(lambda: not any(is_alive(number) for number in started), STOP_SECONDS)
    assert (folder / "building.json").is_file()


# --- a cluster ---


@pytest.fixture
def node(head):
    """A node of two cores, for one test."""
    node = head.add(cpus=2)
    yield node
    head.remove(node)


@pytest.mark.slow
def test_a_cluster_build_is_the_build(head, node, smoke, tmp_path):
    done = run("build", *FLAGS, "--out", "a", f"--ray={head.address}", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert contents(tmp_path / "a") == contents(smoke())
    done = run("build", *FLAGS, "--out", tmp_path / "b", "--ray=auto", env={**os.environ, "RAY_ADDRESS": head.address})
    assert (done.status, done.err) == (0, "")
    assert contents(tmp_path) == {f"{n}/{name}": data for n in "ab" for name, data in contents(smoke()).items()}


@pytest.mark.slow
def test_a_cluster_without_cores(head, tmp_path):
    assert refused(tmp_path, f"--ray={head.address}") == (
        f"ncagen: the Ray cluster at {head.address} has no CPU for tasks: start a node with --num-cpus 1 or more\n"
    )


@pytest.mark.slow
def test_a_cluster_without_gpus(head, tmp_path):
    assert refused(tmp_path, f"--ray={head.address}", "--device=cuda") == (
        f"ncagen: the Ray cluster at {head.address} has no GPU: use --device cpu\n"
    )


@pytest.mark.slow
def test_a_port_of_ray_that_is_not_the_heads(head, tmp_path):
    port = next(port for port in map(str, ports(head.head.raylet)) if port != head.address.rpartition(":")[2])
    address = f"{head.address.rpartition(':')[0]}:{port}"
    assert refused(tmp_path, f"--ray={address}") == no_head(address)


def ports(process: int) -> list[int]:
    sockets = open_sockets(process)
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                found.append(int(columns[1].rpartition(":")[2], 16))
    return found


@pytest.mark.slow
def test_a_cluster_of_another_python(head, tmp_path):
    import ray

    here = ".".join(map(str, sys.version_info[:3]))
    head.pretend("3.9.1")
    try:
        assert refused(tmp_path, f"--ray={head.address}") == (
            f"ncagen: the Ray cluster at {head.address} runs Ray {ray.__version__} on Python 3.9.1, and this process"
            f" Ray {ray.__version__} on Python {here}: use the same versions\n"
        )
    finally:
        head.pretend(None)


@pytest.fixture
def altered(tmp_path_factory):
    """A folder with a copy of the package, to be altered."""
    folder = tmp_path_factory.mktemp("altered")
    shutil.copytree(ROOT / "ncagen", folder / "ncagen", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "version.py",
            'VERSION = "9.9"\n',
            "has ncagen 9.9, and this build {}: install the same version on every node",
        ),
        (
            "errors.py",
            "raise ModuleNotFoundError(\"No module named 'x'\")\n",
            "cannot import ncagen (ModuleNotFoundError: No module named 'x'): install ncagen[ray] on every node",
        ),
    ],
)
def test_a_node_with_another_ncagen_or_none(file, text, said, head, node, altered, tmp_path):
    from ncagen.version import VERSION

    (altered / "ncagen" / file).write_text(text)
    other = head.add(environment={"PYTHONPATH": str(altered)})
    try:
        name = f"node {head.address.rpartition(':')[0]} ({socket.gethostname()})"
        assert refused(tmp_path, f"--ray={head.address}", cwd=tmp_path) == (  # Ray adds it to every process's sys.path
            f"ncagen: {name} of the Ray cluster at {head.address} {said.format(VERSION)}\n"
        )
    finally:
        head.remove(other)


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_share(head, node, tmp_path):
    if subprocess.run([*HIDING[:-1], 'mount -t tmpfs tmpfs "$0"', str(tmp_path)], capture_output=True).returncode:
        pytest.skip("unshare and mount are not permitted")
    other = head.add(prefix=(*HIDING, str(tmp_path)))
    try:
        name = f"node {head.address.rpartition(':')[0]} ({socket.gethostname()})"
        assert refused(tmp_path, f"--ray={head.address}") == (
            f"ncagen: {name} of the Ray cluster at {head.address} does not see {tmp_path}: use a folder that all nodes"
            " share, or a URL such as s3://bucket/name\n"
        )
    finally:
        head.remove(other)


# --- the executor, in this process ---


@pytest.fixture(scope="module")
def gpu_node(head):
    """A node of four cores that says to have two GPUs."""
    node = head.add(cpus=4, gpus=2)
    yield node
    head.remove(node)


def on_cluster(tmp_path: Path, address: str, device: str, gpus: float) -> Run:
    """A build through the executor, in a process of its own, which prints what the object store holds at its end."""
    script = f"""
import sys, threading
sys.path.insert(0, {str(ROOT / "tests")!r})
from conftest import spec_of
from ncagen.dataset.folder import Folder
from ncagen.factory import scheduler
from ncagen.factory.events import RowsFound, RowsMade
from ncagen.factory.ray.executor import connect
from ncagen.factory.make_shard import BuildJob

counted = [0, 0]
def count(event):
    if isinstance(event, RowsFound | RowsMade):
        counted[0] += event.rows
    if isinstance(event, RowsMade):
        counted[1] += event.candidates

order = BuildJob(spec_of(rows_per_shard=8), "parquet", Folder({str(tmp_path / "a")!r}))
with connect({address!r}, None, order, {device!r}, {gpus!r}) as executor:
    import ray
    print(executor.slots, executor.nodes)
    manifest = scheduler.build(order, executor, count)
    kinds = ray.cluster_resources(), ray.available_resources()
    print(kinds[0]["object_store_memory"] - kinds[1]["object_store_memory"])
    print(*counted, sum(record.tried for record in manifest.records if record.band == "high"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The small dataset in shards of eight rows, built without a cluster."""
    folder = tmp_path_factory.mktemp("many") / "a"
    order = BuildJob(spec_of(rows_per_shard=8), "parquet", Folder(folder))
    scheduler.build(order, scheduler.threads(order, 2))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "gpus"), [("cpu", 1.0), ("host", 0.5), pytest.param("host", 1.0, marks=pytest.mark.nightly)]
)
def test_every_crew_makes_the_same_files_and_leaves_the_object_store_empty(
    device, gpus, head, gpu_node, many, tmp_path
):
    done = on_cluster(tmp_path, head.address, device, gpus)
    assert (done.status, done.err) == (0, "")
    slots, stored, counted = done.out.splitlines()
    assert slots == "4 1" and float(stored) == 0  # the head makes nothing
    rows, candidates, _ = map(int, counted.split())
    assert rows == 440 < candidates
    assert contents(tmp_path / "a") == contents(many)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (1.5, "--gpus-per-worker 1.5 is not possible: use a part of one GPU, or a whole number"),
        (8.0, "no node of the Ray cluster at {} has 8 GPUs: use fewer --gpus-per-worker"),
    ],
)
def test_gpus_that_no_node_can_give(gpus, said, head, gpu_node, tmp_path):
    expected = "ncagen: " + said.format(head.address) + "\n"
    assert refused(tmp_path, f"--ray={head.address}", "--device=cuda", f"--gpus-per-worker={gpus}") == expected
