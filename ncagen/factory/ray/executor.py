"""The executor of many machines: a Ray task for every shard task, which writes its shards itself.

What comes back is a record of some hundred bytes, so nothing is put into Ray's object store. Ray retries nothing by
itself: this module says whose failure it was (`NodeLost`, or the task's own error), and `scheduler` what follows. CUDA
devices are used by actors, because what they compile and warm up is too much work for one task.
"""

import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from ncagen.dataset.folder import Folder
from ncagen.errors import NcagenError
from ncagen.factory.claim import check
from ncagen.factory.events import NodesChanged, Progress, RowsFound, RowsMade, ShardResult, ShardTask
from ncagen.factory.executor import Crashed, NodeLost, TaskEnded
from ncagen.factory.make_shard import BuildJob, make
from ncagen.factory.ray.connection import joined, reachable
from ncagen.factory.ray.node_monitor import NodeMonitor
from ncagen.factory.ray.preflight import can_work, check_nodes, check_versions, versions
from ncagen.factory.ray.workers import Actors, Node, Tasks, Workers, places
from ncagen.sources import source_of
from ncagen.sources.token_source import TokenSource

# How long a head may be silent before a build ends; Ray itself waits 60 seconds and then aborts the process.
HEAD_SECONDS = 20.0
# How long after a process ended the loss of its node may be noticed.
SETTLE_SECONDS = 4.0


class Done(NamedTuple):
    """What a node sends back: a task's result, the rows it found, those it made, and the candidates tried for them."""

    result: ShardResult
    found_rows: int
    made_rows: int
    candidates: int

    def progress(self) -> list[Progress]:
        """The same as events."""
        found = [RowsFound(self.found_rows)] if self.found_rows else []
        return [*found, RowsMade(self.made_rows, self.candidates)] if self.candidates else [*found]


@contextmanager
def connect(
    where: str, workers: int | None, job: BuildJob, device: str = "cpu", gpus_per_worker: float = 1.0
) -> Iterator["Cluster"]:
    """An executor on the cluster at `where` ("auto", "local" or HOST:PORT), for as long as the context lasts.

    workers: tasks at a time; as many as there are cores where it is None. Raises NcagenError for a cluster that
    cannot do the job, before anything of it is written.
    """
    with joined(where, workers) as address:
        yield cluster_for(job, address, workers, device, gpus_per_worker)


def cluster_for(
    job: BuildJob, address: str, workers: int | None, device: str = "cpu", gpus_per_worker: float = 1.0
) -> "Cluster":
    """The executor of a job on the cluster that `ray` is connected to; of several jobs one after another.

    address: how the cluster is named in a message. The others, and what it raises: those of `connect`.
    """
    import ray

    if job.folder.local is not None:  # the working directory of a node is another
        job = replace(job, folder=Folder(job.folder.local.absolute()))
    check_nodes(address, job.folder)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if device == "auto":
        on_gpus = not isinstance(source_of(job.spec), TokenSource)
        device = "cuda" if on_gpus and any(node["Resources"].get("GPU") for node in nodes) else "cpu"
    on_devices = device != "cpu"
    if on_devices:
        _check_devices(address, nodes, gpus_per_worker)
    elif not any(node["Resources"].get("CPU", 0) >= 1 for node in nodes):
        raise NcagenError(f"the Ray cluster at {address} has no CPU for tasks: start a node with --num-cpus 1 or more")
    return Cluster(maker(job, device), address, workers, gpus_per_worker if on_devices else None)


class Cluster:
    """The executor of the cluster that `ray` is connected to.

    workers: tasks at a time; as many as the cluster can run if None. gpus: of each worker; None for tasks on CPUs.
    """

    def __init__(self, make: Callable[[ShardTask], Done], address: str, workers: int | None, gpus: float | None):
        self._address, self._workers = address, workers
        self._pool: Workers = Tasks(make) if gpus is None else Actors(make, gpus)
        self._queue: deque[ShardTask] = deque()
        self._pending: dict[Any, ShardTask] = {}
        self._crashes: deque[tuple[float, ShardTask, Crashed]] = deque()
        self._monitor = NodeMonitor()
        self._news = self._count()

    def __enter__(self) -> "Cluster":
        self._monitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Tasks that are not finished end with the connection."""
        self._monitor.stop()

    def start(self, task: ShardTask) -> None:
        self._queue.append(task)
        self._hand_out()

    def poll(self, seconds: float) -> list[Progress | TaskEnded]:
        events: list[Progress | TaskEnded] = [*self._news, *self._count()]
        self._news = []
        self._hand_out()
        events += self._settled()
        for reference in self._ready(seconds):
            events += self._ended(reference)
        self._hand_out()
        return events

    def _count(self) -> list[NodesChanged]:
        """Sets `slots` and `nodes`, 0 while the cluster waits for a node, and returns the change if there is one.

        A node that has nothing to work with, as a head may, does not count. Raises NcagenError when the head is gone.
        """
        if self._monitor.silence > HEAD_SECONDS and not reachable(self._monitor.head):
            raise NcagenError(
                f"the head of the Ray cluster at {self._address} is gone: start it and run the same command to resume"
            )
        news = self._monitor.news()
        if news is None:
            return []
        self.nodes = sum(map(can_work, news.alive))
        self.slots = min(self._pool.count(news.alive), self._workers or sys.maxsize)
        return [NodesChanged(self.nodes)]

    def _hand_out(self) -> None:
        """Starts as many of the queued tasks as the workers have room for."""
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

    def _ended(self, reference: Any) -> list[Progress | TaskEnded]:
        """The progress and the end of a task; nothing where only `_settled` can tell how it ended."""
        import ray
        from ray import exceptions

        task = self._pending.pop(reference)
        gone = (
            *(exceptions.WorkerCrashedError, exceptions.OutOfMemoryError),
            *(exceptions.ActorDiedError, exceptions.ActorUnschedulableError),
        )
        try:
            done = ray.get(reference)
        except gone as error:
            self._pool.crashed(task)
            crash = Crashed(isinstance(error, exceptions.OutOfMemoryError))
            self._crashes.append((time.monotonic(), task, crash))
            return []
        except exceptions.RayError as error:
            self._pool.ended(task, crashed=False)
            return [TaskEnded(task, _cause(error))]
        self._pool.ended(task, crashed=False)
        return [*done.progress(), TaskEnded(task, done.result)]

    def _settled(self) -> Iterator[TaskEnded]:
        """Tasks whose process crashed so long ago that it is known whether its node was lost."""
        while self._crashes and time.monotonic() - self._crashes[0][0] > SETTLE_SECONDS:
            when, task, error = self._crashes.popleft()
            with_node = abs(self._monitor.loss - when) < 2 * SETTLE_SECONDS
            own = self._pool.ended(task, crashed=not with_node)
            yield TaskEnded(task, error if own else NodeLost(str(error)))


def maker(job: BuildJob, device: str) -> Callable[[ShardTask], Done]:
    """The function that a node runs for a task. A process unpickles it once, and checks once that it may work."""
    wanted, checked = versions(), False

    def make_task(task: ShardTask) -> Done:
        nonlocal checked
        if not checked:
            _check_here(job, device, wanted)
            checked = True
        return _make(job, device, task)

    return make_task


def _make(job: BuildJob, device: str, task: ShardTask) -> Done:
    rows = {"found": 0, "made": 0}
    tried = 0

    def report(count: int, candidates: int) -> None:
        nonlocal tried
        rows["made" if candidates else "found"] += count
        tried += candidates

    result = make(job, *task, report, device)
    return Done(result, rows["found"], rows["made"], tried)


def _cause(error: Exception) -> Exception:
    """A task's own error where Ray wraps one; every other error of Ray's is the loss of a node."""
    from ray.exceptions import RayTaskError

    if not isinstance(error, RayTaskError):
        return NodeLost(str(error))
    return error.cause if isinstance(error.cause, Exception) else error


def _check_here(job: BuildJob, device: str, wanted: dict[str, str]) -> None:
    """Checks of this process what `check_nodes` checked of the nodes that were there when the build began."""
    node = f"node {socket.gethostname()} of the Ray cluster"
    check_versions(node, versions(), wanted)
    try:
        source_of(job.spec).check(device)
        begun = check(job)
    except NcagenError as error:
        raise NcagenError(f"{node}: {error}") from None
    if not begun:
        raise NcagenError(
            f"{node} does not see what the build has begun in {job.folder}: use a folder that all nodes share,"
            " or a URL such as s3://bucket/name"
        )


def _check_devices(address: str, nodes: list[Node], gpus: float) -> None:
    if not any(node["Resources"].get("GPU") for node in nodes):
        raise NcagenError(f"the Ray cluster at {address} has no GPU: use --device cpu")
    if gpus > 1 and gpus != int(gpus):
        raise NcagenError(f"--gpus-per-worker {gpus:g} is not possible: use a part of one GPU, or a whole number")
    if not any(places(node, gpus)[0] for node in nodes):
        raise NcagenError(f"no node of the Ray cluster at {address} has {gpus:g} GPUs: use fewer --gpus-per-worker")
