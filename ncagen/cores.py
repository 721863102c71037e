"""Counts the cores that this process may use: those it may run on, within the CPU quota of its container."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path


def cores() -> int:
    """Cores that this process may use, 1 at least. A quota of one and a half is two, which it then shares out."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cpu_quota())))


def cpu_quota(proc: Path = Path("/proc/self")) -> float:
    """Cores that the control groups of a process pay for: the least of its own and those above it; infinite for none.

    proc: a process's folder in procfs. Both versions are read, as they are mounted: `cpu.max` of version 2, and
    `cpu.cfs_quota_us` by `cpu.cfs_period_us` of version 1 (Linux's Documentation/admin-guide/cgroup-v2.rst and
    scheduler/sched-bwc.rst). What cannot be read or is no number sets no limit.
    """
    return min((_quota(folder) for folder in _folders(proc)), default=math.inf)


def _folders(proc: Path) -> Iterator[Path]:
    """The folder of each of the process's control groups that may limit cores, and those above it."""
    groups = _groups(proc)
    for root, mount, kind in _mounts(proc):
        if (group := groups.get(kind)) is None:
            continue
        # A container may see its own group alone, under a root that the names of groups still begin with.
        inner = group[len(root) :] if root != "/" and (group + "/").startswith(root + "/") else group
        names = [name for name in inner.split("/") if name]
        if ".." in names:  # a group outside of what is mounted here
            names = []
        yield from (mount.joinpath(*names[:count]) for count in range(len(names), -1, -1))


def _groups(proc: Path) -> dict[str, str]:
    """The process's group in each hierarchy: "cgroup2", and "cgroup" for the one of version 1 that limits cores."""
    found = {}
    for line in _lines(proc / "cgroup"):
        _, controllers, group = line.split(":", 2)
        if not controllers:
            found["cgroup2"] = group
        elif "cpu" in controllers.split(","):
            found["cgroup"] = group
    return found


def _mounts(proc: Path) -> Iterator[tuple[str, Path, str]]:
    """Where hierarchies are mounted: the group that is its root there, the place, and "cgroup" or "cgroup2"."""
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            root, mount = before.split(" ")[3:5]
            yield _plain(root), Path(_plain(mount)), kind


def _plain(text: str) -> str:
    """A path of mountinfo, where spaces and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _quota(folder: Path) -> float:
    """Cores that a group pays for."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 and int(period) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def _lines(path: Path) -> list[str]:
    """The lines of a file of procfs; none where there is no such file, as on other systems."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
