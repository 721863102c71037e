"""An executor of many machines: Ray starts a task for every unit, and a task writes its shards itself.

What comes back is a record of some hundred bytes, so nothing is put into Ray's object store. Ray repeats nothing on
its own: this module says which failure counts against a task (`NodeLost`, or the error), `scheduler` what follows.
CUDA devices are used by actors, because what they warm up is too much for one unit.
"""

import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from ncagen.dataset.folder import Folder
from ncagen.errors import NcagenError
from ncagen.factory.claim import check
from ncagen.factory.executor import NodeLost, Report, ShardResult, ShardTask
from ncagen.factory.make_shard import BuildJob, make
from ncagen.factory.ray.connection import joined, reachable
from ncagen.factory.ray.node_monitor import NodeMonitor
from ncagen.factory.ray.preflight import can_work, check_nodes, check_versions, versions
from ncagen.factory.ray.workers import Actors, Node, Tasks, Workers, places
from ncagen.sources.nca import selfcheck
from ncagen.sources.nca.devices import backend

# How long a head may be silent before a build ends, where Ray itself waits 60 seconds and then aborts the process;
# and how long after a process's end its node's may be heard of.
HEAD_SECONDS = 20.0
SETTLE_SECONDS = 4.0


class Crashed(Exception):
    """The process that made a unit is gone, and its machine is not."""

    def __init__(self, out_of_memory: bool):
        why = "its node's memory ran out" if out_of_memory else "it was killed, or its code crashed"
        super().__init__(f"the process that made it is gone: {why}")


class Done(NamedTuple):
    """What a node sends back of a unit: the rows it found there, those it made, and the candidates tried for them."""

    made: ShardResult
    found_rows: int
    made_rows: int
    candidates: int


@contextmanager
def connect(
    where: str, workers: int | None, order: BuildJob, device: str = "cpu", gpus_per_worker: float = 1.0
) -> Iterator[Callable[[Report], "Cluster"]]:
    """What makes an executor of a report, on the cluster at `where` ("auto", "local" or HOST:PORT).

    workers: units at a time; as many as there are cores where it is None. Raises NcagenError for a cluster that
    cannot make the order, before anything of it is written.
    """
    with joined(where, workers) as address:
        import ray

        if order.folder.local is not None:  # a node works in another folder of its own
            order = replace(order, folder=Folder(order.folder.local.absolute()))
        check_nodes(address, order.folder)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if device == "auto":
            device = "cuda" if any(node["Resources"].get("GPU") for node in nodes) else "cpu"
        on_devices = device != "cpu"
        if on_devices:
            _check_devices(address, nodes, gpus_per_worker)
        elif not any(node["Resources"].get("CPU", 0) >= 1 for node in nodes):
            raise NcagenError(
                f"the Ray cluster at {address} has no CPU for tasks: start a node with --num-cpus 1 or more"
            )
        yield partial(Cluster, maker(order, device), address, workers, gpus_per_worker if on_devices else None)


class Cluster:
    """An executor of the cluster that `ray` is connected to. workers: units at a time, as many as it can if None."""

    def __init__(
        self, make: Callable[[ShardTask], Done], address: str, workers: int | None, gpus: float | None, report: Report
    ):
        self._address, self._workers, self._report = address, workers, report
        self._pool: Workers = Tasks(make) if gpus is None else Actors(make, gpus)
        self._queue: deque[ShardTask] = deque()
        self._pending: dict[Any, ShardTask] = {}
        self._crashes: deque[tuple[float, ShardTask, Crashed]] = deque()
        self._monitor = NodeMonitor()
        self._count()

    def __enter__(self) -> "Cluster":
        self._monitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Units that are not finished end with the connection."""
        self._monitor.stop()

    def start(self, unit: ShardTask) -> None:
        self._queue.append(unit)
        self._hand_out()

    def finished(self, seconds: float) -> list[tuple[ShardTask, ShardResult | Exception]]:
        if self._count():
            self._report(0, 0)
        self._hand_out()
        ended = [*self._settled(), *map(self._outcome, self._ready(seconds))]
        self._hand_out()
        return [pair for pair in ended if pair is not None]

    def _count(self) -> bool:
        """Sets `slots` and `nodes`, 0 while the cluster waits for a node; returns whether they changed.

        A node that has nothing to work with, as a head may, does not count. Raises NcagenError when the head is gone.
        """
        if self._monitor.silence > HEAD_SECONDS and not reachable(self._monitor.head):
            raise NcagenError(
                f"the head of the Ray cluster at {self._address} is gone: start it and run the same command to go on"
            )
        news = self._monitor.news()
        if news is None:
            return False
        self.nodes = sum(map(can_work, news.alive))
        self.slots = min(self._pool.count(news.alive), self._workers or sys.maxsize)
        return True

    def _hand_out(self) -> None:
        """Has the crew begin what it has room for."""
        while self._queue and len(self._pending) < (self._workers or sys.maxsize):
            reference = self._pool.begin(self._queue[0])
            if reference is None:
                return
            self._pending[reference] = self._queue.popleft()

    def _ready(self, seconds: float) -> list[Any]:
        import ray

        if not self._pending:
            time.sleep(seconds)
            return []
        waiting = list(self._pending)
        if not ray.wait(waiting, timeout=seconds)[0]:
            return []
        return ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]

    def _outcome(self, reference: Any) -> tuple[ShardTask, ShardResult | Exception] | None:
        """What a unit came to; None where that is seen later."""
        import ray
        from ray import exceptions

        unit = self._pending.pop(reference)
        gone = (
            *(exceptions.WorkerCrashedError, exceptions.OutOfMemoryError),
            *(exceptions.ActorDiedError, exceptions.ActorUnschedulableError),
        )
        try:
            done = ray.get(reference)
        except exceptions.RayTaskError as error:
            self._pool.ended(unit, crashed=False)
            return unit, error.cause if isinstance(error.cause, Exception) else error
        except gone as error:
            self._pool.crashed(unit)
            crash = Crashed(isinstance(error, exceptions.OutOfMemoryError))
            self._crashes.append((time.monotonic(), unit, crash))
            return None
        except exceptions.RayError as error:
            self._pool.ended(unit, crashed=False)
            return unit, NodeLost(str(error))
        self._pool.ended(unit, crashed=False)
        self._tell(done)
        return unit, done.made

    def _settled(self) -> Iterator[tuple[ShardTask, Exception]]:
        """Units whose process crashed so long ago that the end of its node, if that was why, is known."""
        while self._crashes and time.monotonic() - self._crashes[0][0] > SETTLE_SECONDS:
            when, unit, error = self._crashes.popleft()
            with_node = abs(self._monitor.loss - when) < 2 * SETTLE_SECONDS
            own = self._pool.ended(unit, crashed=not with_node)
            yield unit, error if own else NodeLost(str(error))

    def _tell(self, done: Done) -> None:
        if done.found_rows:
            self._report(done.found_rows, 0)
        if done.candidates:
            self._report(done.made_rows, done.candidates)


def maker(order: BuildJob, device: str) -> Callable[[ShardTask], Done]:
    """What a node does for a unit. A process unpickles it once, and looks once whether it may."""
    wanted, fit = versions(), False

    def make_unit(unit: ShardTask) -> Done:
        nonlocal fit
        if not fit:
            _check_here(order, device, wanted)
            fit = True
        return _make(order, device, unit)

    return make_unit


def _make(order: BuildJob, device: str, unit: ShardTask) -> Done:
    counts = {True: 0, False: 0}
    tried = 0

    def report(rows: int, candidates: int) -> None:
        nonlocal tried
        counts[candidates > 0] += rows
        tried += candidates

    made = make(order, *unit, report, device)
    return Done(made, counts[False], counts[True], tried)


def _check_here(order: BuildJob, device: str, wanted: dict[str, str]) -> None:
    """Whether this process can work for a build, as `check_nodes` asked of the nodes that were there at its begin."""
    node = f"node {socket.gethostname()} of the Ray cluster"
    check_versions(node, versions(), wanted)
    try:
        selfcheck.check(order.spec, backend(device))
        begun = check(order)
    except NcagenError as error:
        raise NcagenError(f"{node}: {error}") from None
    if not begun:
        raise NcagenError(
            f"{node} does not see what the build has begun in {order.folder}: use a folder that all nodes share,"
            " or a URL such as s3://bucket/name"
        )


def _check_devices(address: str, nodes: list[Node], gpus: float) -> None:
    if not any(node["Resources"].get("GPU") for node in nodes):
        raise NcagenError(f"the Ray cluster at {address} has no GPU: use --device cpu")
    if gpus > 1 and gpus != int(gpus):
        raise NcagenError(f"--gpus-per-worker {gpus:g} is not possible: use a part of one GPU, or a whole number")
    if not any(places(node, gpus)[0] for node in nodes):
        raise NcagenError(f"no node of the Ray cluster at {address} has {gpus:g} GPUs: use fewer --gpus-per-worker")
