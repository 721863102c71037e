"""Checks the nodes of a Ray cluster before any work: each must make the same files, in the same folder.

A node that joins later is checked by its first task (`executor`). Not checked: whether a node's clock, disk or memory
is good enough.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ncagen.dataset.atomic_write import temporary_name
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import toolchain
from ncagen.errors import NcagenError
from ncagen.factory.claim import nearest

LOOK_SECONDS = 300.0  # far more than an answer takes, even where a node is slow to start a process


def check_nodes(address: str, folder: Folder) -> None:
    """Refuses nodes that would make other files than this machine, or that do not see its folder.

    Each node looks for a file that this machine puts beside the folder, in the nearest folder that exists.
    """
    place = None if folder.local is None else nearest(folder.local.absolute())
    probe = None if place is None else place / temporary_name("shared")
    try:
        if probe is not None:
            probe.touch()
        for node, found in _look_around(place, probe):
            _check_node(f"node {node} of the Ray cluster at {address}", found, place)
    finally:
        if probe is not None:
            probe.unlink(missing_ok=True)


def check_versions(node: str, found: dict[str, str], wanted: dict[str, str]) -> None:
    """Raises NcagenError where a node has other versions than this build."""
    for name, version in wanted.items():
        if found[name] != version:
            raise NcagenError(
                f"{node} has {name} {found[name]}, and this build {version}: install the same version on every node"
            )


def can_work(node: dict) -> bool:
    """Whether a node, as `ray.nodes()` describes it, has cores or GPUs; a head may have none."""
    return any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))


def versions() -> dict[str, str]:
    """The versions that must be the same everywhere: all that a file's bytes may depend on, and Python."""
    return {"Python": "{}.{}.{}".format(*sys.version_info), **toolchain()}


def _look_around(place: Path | None, probe: Path | None) -> Iterator[tuple[str, dict | Exception]]:
    """The name of every node that can run a task, and what it finds or why it cannot look."""
    import ray
    from ray.exceptions import GetTimeoutError, NodeDiedError, RayError, TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_looker(place, probe))
    asked = []
    for node in ray.nodes():
        if node["Alive"] and can_work(node):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append((name_of(node), look.options(scheduling_strategy=there).remote()))
    ray.wait([reference for _, reference in asked], num_returns=len(asked), timeout=LOOK_SECONDS)
    for name, reference in asked:
        try:
            yield name, ray.get(reference, timeout=0)
        except (NodeDiedError, TaskUnschedulableError):
            continue  # it has left
        except GetTimeoutError:
            yield name, TimeoutError(f"it did not answer within {LOOK_SECONDS:.0f} s")
        except RayError as error:
            yield name, error


def name_of(node: dict) -> str:
    """A node as a message names it: address and host."""
    return f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})"


def _looker(place: Path | None, probe: Path | None) -> Callable[[], dict]:
    """The check that a node runs. It is sent as code, because a node may have another ncagen or none."""
    folder, file = str(place), str(probe)

    def look() -> dict:
        import importlib
        import os
        import pathlib

        try:
            importlib.import_module("ncagen.factory.make_shard")
            versions = importlib.import_module("ncagen.factory.ray.preflight").versions()
        except Exception as error:
            return {"trouble": f"{type(error).__name__}: {error}"}
        shared, writable = pathlib.Path(file).exists(), os.access(folder, os.W_OK | os.X_OK)
        return {"versions": versions, "shared": shared, "writable": writable}

    return look


def _check_node(node: str, found: dict | Exception, place: Path | None) -> None:
    if isinstance(found, Exception):
        raise NcagenError(f"{node} cannot be used: {str(found).splitlines()[0]}")
    if "trouble" in found:
        raise NcagenError(f"{node} cannot import ncagen ({found['trouble']}): install ncagen[ray] on every node")
    check_versions(node, found["versions"], versions())
    if place is None:
        return
    if not found["shared"]:
        raise NcagenError(
            f"{node} does not see {place}: use a folder that all nodes share, or a URL such as s3://bucket/name"
        )
    if not found["writable"]:
        raise NcagenError(f"{node} cannot write {place} (Permission denied): use a folder that all nodes can write")
