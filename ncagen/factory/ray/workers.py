"""Runs shard tasks on a Ray cluster: one Ray task for each, or a few actors that keep a GPU warm.

A Ray task has a process of its own, so a crash is its own. An actor runs as many shard tasks at a time as its node has
cores for it. When it crashes, each of several may be the cause: they are suspects, and every suspect runs alone until
it is done or crashes once more. What a failure means for the build is decided in `executor` and `scheduler`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ncagen.factory.executor import ShardTask

Node = dict[str, Any]
"""A node as `ray.nodes()` describes it."""


class Workers(Protocol):
    """Starts shard tasks on the nodes of a cluster."""

    def count(self, nodes: list[Node]) -> int:
        """Uses the nodes that are alive from now on; returns how many tasks they can run at the same time."""

    def begin(self, task: ShardTask) -> Any:
        """Starts a task and returns Ray's reference to its result; None where there is no room yet."""

    def crashed(self, task: ShardTask) -> None:
        """Records that the process which ran a task is gone. `ended` follows when it is known why."""

    def ended(self, task: ShardTask, crashed: bool) -> bool:
        """Forgets a task that has ended; returns whether it crashed and no other task can be the cause."""


class Tasks:
    """A Ray task of one core for each shard task; Ray chooses the node."""

    def __init__(self, make: Callable[[ShardTask], Any]):
        import ray

        self._task = ray.remote(num_cpus=1, max_retries=0)(make)

    def count(self, nodes: list[Node]) -> int:
        return sum(int(node["Resources"].get("CPU", 0)) for node in nodes)

    def begin(self, task: ShardTask) -> Any:
        return self._task.remote(task)

    def crashed(self, task: ShardTask) -> None:
        pass

    def ended(self, task: ShardTask, crashed: bool) -> bool:
        return crashed


class Actors:
    """On every node as many actors as its GPUs allow, which share its cores. gpus: of one actor, such as 0.5 or 2."""

    def __init__(self, make: Callable[[ShardTask], Any], gpus: float):
        self._make, self._gpus = make, gpus
        self._nodes: list[Node] = []
        self._actors: list[_Actor] = []
        self._suspects: set[ShardTask] = set()

    def count(self, nodes: list[Node]) -> int:
        self._nodes = nodes
        alive = {node["NodeID"] for node in nodes}
        self._actors = [actor for actor in self._actors if actor.tasks or (actor.node in alive and not actor.is_gone)]
        for node in nodes:
            number, cores = places(node, self._gpus)
            there = sum(actor.node == node["NodeID"] and not actor.is_gone for actor in self._actors)
            for _ in range(number - there):
                self._actors.append(_Actor(self._make, node["NodeID"], self._gpus, cores))
        return sum(actor.threads for actor in self._actors if not actor.is_gone and actor.node in alive)

    def begin(self, task: ShardTask) -> Any:
        room = [actor for actor in self._actors if actor.has_room(task, self._suspects)]
        return min(room, key=lambda actor: len(actor.tasks)).begin(task) if room else None

    def crashed(self, task: ShardTask) -> None:
        self._holder(task).is_gone = True

    def ended(self, task: ShardTask, crashed: bool) -> bool:
        actor = self._holder(task)
        actor.company = max(actor.company, len(actor.tasks))
        if crashed and actor.company > 1:
            self._suspects.add(task)
        elif not crashed:
            self._suspects.discard(task)
        actor.tasks.remove(task)
        if actor.is_gone:
            self.count(self._nodes)
        return crashed and actor.company == 1

    def _holder(self, task: ShardTask) -> "_Actor":
        return next(actor for actor in self._actors if task in actor.tasks)


def places(node: Node, gpus: float) -> tuple[int, float]:
    """How many actors of that many GPUs fit on a node, and the cores of each."""
    number = int(node["Resources"].get("GPU", 0) / gpus + 1e-6)  # 1 / 0.1 may be less than 10
    return number, node["Resources"].get("CPU", 0) / max(number, 1)


class _Actor:
    """One process with a GPU, or a part of one. company: tasks that it ran when it crashed, 0 before."""

    def __init__(self, make: Callable[[ShardTask], Any], node: str, gpus: float, cores: float):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.node, self.threads = node, max(1, int(cores))
        self.tasks: set[ShardTask] = set()
        self.is_gone, self.company = False, 0
        self.handle: Any = (
            ray.remote(_Maker)
            .options(
                num_gpus=gpus,
                num_cpus=min(cores, self.threads),
                max_concurrency=self.threads,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(make)
        )

    def has_room(self, task: ShardTask, suspects: set[ShardTask]) -> bool:
        if self.is_gone or not self.tasks:
            return not self.is_gone
        return task not in suspects and not self.tasks & suspects and len(self.tasks) < self.threads

    def begin(self, task: ShardTask) -> Any:
        self.tasks.add(task)
        return self.handle.make.remote(task)


class _Maker:
    """The class of the actors, as Ray creates it on a node."""

    def __init__(self, make: Callable[[ShardTask], Any]):
        self._make = make

    def make(self, task: ShardTask) -> Any:
        return self._make(task)
