"""Ray clusters for tests: a head and nodes as processes of this machine, which can be killed one by one."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

START_SECONDS = 60
STARTED = "Ray runtime started"

# Tests that start Ray or look for it: one process of pytest's runs them all.
ONE_AT_A_TIME = pytest.mark.xdist_group("ray")

# A head that misses a node after two seconds, where it takes fifteen by itself.
QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "4",
}

# Workers that do not yield to everything else: other tests may run beside them.
BUSY = {"RAY_worker_niceness": "0"}

# ray.init() leaves a token in the home folder, and a head that finds one there asks for it and has none itself.
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}

# Hides a folder from a node, and from nothing else: its own mounts, with an empty disk over the folder.
HIDING = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"')


def children(process: int) -> dict[int, str]:
    """The living processes that a process started, and their command lines."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if int(parent) == process and state != "Z":
            found[int(path.name)] = command
    return found


def descendants(process: int) -> dict[int, str]:
    """The living processes below a process, and their command lines."""
    found = children(process)
    for child in list(found):
        found |= descendants(child)
    return found


def is_alive(process: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


class Node:
    """`ray start --block`: one node. Its raylet and workers end with this process."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: dict[str, str], prefix: Sequence[str]):
        self._log = Path(tempfile.mkstemp(dir=folder, suffix=".log")[1])
        command = [*prefix, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--object-store-memory=80000000", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **BUSY, "RAY_USAGE_STATS_ENABLED": "0", **NO_TOKEN, **environment},
            )
        try:
            wait_for(lambda: STARTED in self.said or self.process.poll() is not None, START_SECONDS)
        except AssertionError:
            self.kill()
        if STARTED not in self.said:
            pytest.fail(f"Ray did not start: {self.said[-2000:]}")

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def raylet(self) -> int:
        """The process that is the node in Ray's eyes."""
        return next(number for number, command in children(self.process.pid).items() if "/raylet/raylet " in command)

    @property
    def id(self) -> str:
        """Ray's name for the node."""
        return re.search(r"--node_id=(\w+)", children(self.process.pid)[self.raylet])[1]

    @property
    def gcs(self) -> int:
        """The head's process that knows the cluster."""
        return next(number for number, command in children(self.process.pid).items() if "/gcs/gcs_server " in command)

    def workers(self, busy: bool = False) -> list[int]:
        """The raylet's workers, all of them or those that make a unit."""
        names = {number: command for number, command in children(self.raylet).items() if command.startswith("ray::")}
        names = {number: command for number, command in names.items() if "Agent" not in command}
        return [number for number, command in names.items() if not busy or not command.startswith("ray::IDLE")]

    def kill(self) -> None:
        """Takes the machine away without a word: SIGKILL to the node and, by the kernel, to what it started."""
        below = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for number in below:
            _signal(number, signal.SIGKILL)

    def kill_raylet(self) -> None:
        """SIGKILL to the raylet alone; its workers live on for a moment."""
        os.kill(self.raylet, signal.SIGKILL)


class RayCluster:
    """A head, which makes nothing unless it is given cores, and nodes to add and to take away."""

    def __init__(self, cpus: int = 0, gpus: int = 0, port: int = 0, environment: dict[str, str] | None = None):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of sockets must be short
        self.nodes: list[Node] = []
        flags = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self.head = Node([*flags, *_resources(cpus, gpus)], self.folder, QUICK | (environment or {}), ())
        self.address = re.search(r"--gcs-address=(\S+)", children(self.head.process.pid)[self.head.raylet])[1]

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(self, *_: object) -> None:
        for node in (*self.nodes, self.head):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(
        self, cpus: int = 1, gpus: int = 0, environment: dict[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Node:
        """A new node. environment: its processes' variables; prefix: what its command is started with."""
        node = Node([f"--address={self.address}", *_resources(cpus, gpus)], self.folder, environment or {}, prefix)
        self.nodes.append(node)
        return node

    def remove(self, node: Node) -> None:
        """Kills a node and waits until the cluster has noticed."""
        before = self.alive()
        self.nodes.remove(node)
        node.kill()
        wait_for(lambda: self.alive() < before)

    def drain(self, node: Node, seconds: int) -> None:
        """Says that a node will be taken away in so many seconds, as a cloud does of a spot machine."""
        _ask(self.address, _DRAIN.format(node=node.id, seconds=seconds))

    def alive(self) -> int:
        """Nodes that the head thinks are alive, itself among them."""
        return sum(node["state"] == "ALIVE" for node in json.loads(_ask(self.address, _NODES)))

    def pretend(self, python: str | None) -> None:
        """Has the head say that it was started by another Python; by its own if None."""
        _ask(self.address, _PRETEND.format(python=python))


_NODES = """
import json
from ray.core.generated.gcs_pb2 import GcsNodeInfo
print(json.dumps([{"state": GcsNodeInfo.GcsNodeState.Name(n.state)} for n in client.get_all_node_info().values()]))
"""

_DRAIN = """
import time
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
deadline = int(1000 * (time.time() + {seconds}))
assert client.drain_node({node!r}, DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, "taken away", deadline)[0]
"""

_PRETEND = """
from ray._common.usage import usage_lib
from ray._private import utils
python = {python!r}
if python is not None:
    own = utils.compute_version_info()[0]
    utils.compute_version_info = lambda: (own, python)
usage_lib.put_cluster_metadata(client, ray_init_cluster=False)
"""


def _ask(address: str, script: str) -> str:
    """What a program with a `client` of the head prints; in another process, since Ray knows one cluster a process."""
    program = f"from ray._raylet import GcsClient\nclient = GcsClient(address={address!r})\n{script}"
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def _resources(cpus: int, gpus: int) -> list[str]:
    return [f"--num-cpus={cpus}", f"--num-gpus={gpus}"]


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
