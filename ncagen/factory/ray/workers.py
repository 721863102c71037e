"""Who makes units on a Ray cluster: a task for each, or a few actors that keep a GPU warm. Decides nothing.

A task is a process's only unit, so a crash is its own. An actor makes as many at a time as its node has cores for it:
those that crashed in company are suspects, and each is made alone until it is done or its fault.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ncagen.factory.executor import ShardTask

Node = dict[str, Any]
"""A node as `ray.nodes()` describes it."""


class Workers(Protocol):
    """What starts units."""

    def count(self, nodes: list[Node]) -> int:
        """Takes note of the nodes that are alive; returns how many units can be made at the same time."""

    def begin(self, unit: ShardTask) -> Any:
        """Has a unit made and returns Ray's reference to what it will come to; None where there is no room yet."""

    def crashed(self, unit: ShardTask) -> None:
        """Takes note that the process which made a unit is gone."""

    def ended(self, unit: ShardTask, crashed: bool) -> bool:
        """Takes note of a unit's end; returns whether a crash is its own, and not perhaps that of another."""


class Tasks:
    """A task of one core for each unit; where it runs is Ray's business."""

    def __init__(self, make: Callable[[ShardTask], Any]):
        import ray

        self._task = ray.remote(num_cpus=1, max_retries=0)(make)

    def count(self, nodes: list[Node]) -> int:
        return sum(int(node["Resources"].get("CPU", 0)) for node in nodes)

    def begin(self, unit: ShardTask) -> Any:
        return self._task.remote(unit)

    def crashed(self, unit: ShardTask) -> None:
        pass

    def ended(self, unit: ShardTask, crashed: bool) -> bool:
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
        self._actors = [actor for actor in self._actors if actor.units or (actor.node in alive and not actor.is_gone)]
        for node in nodes:
            number, cores = places(node, self._gpus)
            there = sum(actor.node == node["NodeID"] and not actor.is_gone for actor in self._actors)
            for _ in range(number - there):
                self._actors.append(_Actor(self._make, node["NodeID"], self._gpus, cores))
        return sum(actor.threads for actor in self._actors if not actor.is_gone and actor.node in alive)

    def begin(self, unit: ShardTask) -> Any:
        room = [actor for actor in self._actors if actor.has_room(unit, self._suspects)]
        return min(room, key=lambda actor: len(actor.units)).begin(unit) if room else None

    def crashed(self, unit: ShardTask) -> None:
        self._holder(unit).is_gone = True

    def ended(self, unit: ShardTask, crashed: bool) -> bool:
        actor = self._holder(unit)
        actor.company = max(actor.company, len(actor.units))
        if crashed and actor.company > 1:
            self._suspects.add(unit)
        elif not crashed:
            self._suspects.discard(unit)
        actor.units.remove(unit)
        if actor.is_gone:
            self.count(self._nodes)
        return crashed and actor.company == 1

    def _holder(self, unit: ShardTask) -> "_Actor":
        return next(actor for actor in self._actors if unit in actor.units)


def places(node: Node, gpus: float) -> tuple[int, float]:
    """How many actors of that many GPUs a node has place for, and the cores of each."""
    number = int(node["Resources"].get("GPU", 0) / gpus + 1e-6)  # 1 / 0.1 may be less than 10
    return number, node["Resources"].get("CPU", 0) / max(number, 1)


class _Actor:
    """One process with a GPU, or a part of one. company: units that it had when it was gone, 0 before."""

    def __init__(self, make: Callable[[ShardTask], Any], node: str, gpus: float, cores: float):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.node, self.threads = node, max(1, int(cores))
        self.units: set[ShardTask] = set()
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

    def has_room(self, unit: ShardTask, suspects: set[ShardTask]) -> bool:
        if self.is_gone or not self.units:
            return not self.is_gone
        return unit not in suspects and not self.units & suspects and len(self.units) < self.threads

    def begin(self, unit: ShardTask) -> Any:
        self.units.add(unit)
        return self.handle.make.remote(unit)


class _Maker:
    """What an actor is on its node."""

    def __init__(self, make: Callable[[ShardTask], Any]):
        self._make = make

    def make(self, unit: ShardTask) -> Any:
        return self._make(unit)
