"""How many cores the commands take by themselves: a container's CPU quota counts as well as what the kernel allows."""

import math
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from ncagen.cores import cores, cpu_quota

TWO = "31 23 0:28 / {root}/two rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
ONE = "32 31 0:29 {inner} {root}/one/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "33 31 0:31 / {root}/one/cpuset rw,relatime - cgroup cgroup rw,cpuset\n22 1 8:1 / / rw - ext4 /dev/sda rw\n"


@pytest.fixture
def machine(tmp_path):
    """machine(cgroup, mounts, files): the quota of a process with these files of procfs and control groups."""

    def quota(cgroup: str, mounts: str, files: dict[str, str], inner: str = "/") -> float:
        (tmp_path / "self").mkdir()
        (tmp_path / "self/cgroup").write_text(cgroup)
        (tmp_path / "self/mountinfo").write_text(mounts.format(root=tmp_path, inner=inner))
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return cpu_quota(tmp_path / "self")

    return quota


def version_1(folder: str, quota: object, period: object = 100000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


CPU = "4:cpuset:/\n2:cpu,cpuacct:{}\n1:name=systemd:/init.scope\n"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("150000 100000\n", 1.5),
        ("max 100000\n", math.inf),
        ("50000 200000", 0.25),
        ("", math.inf),
        ("1 2 3", math.inf),
        ("x 100000", math.inf),
        ("100000 0", math.inf),
    ],
)
def test_a_group_of_version_2(machine, text, cores):
    assert machine("0::/\n", TWO + OTHER, {"two/cpu.max": text}) == cores


def test_the_least_of_a_group_and_those_above_it(machine):
    files = {"two/cpu.max": "900000 100000", "two/a/cpu.max": "200000 100000", "two/a/b/cpu.max": "max 100000"}
    assert machine("0::/a/b\n", TWO, files) == 2.0


@pytest.mark.parametrize(("quota", "cores"), [(300000, 3.0), (-1, math.inf), ("x", math.inf), (50000, 0.5)])
def test_a_group_of_version_1(machine, quota, cores):
    files = version_1("one/cpu,cpuacct/docker/12ab", quota) | version_1("one/cpu,cpuacct", -1)
    assert machine(CPU.format("/docker/12ab"), OTHER + ONE, files) == cores


def test_a_container_that_sees_its_own_group_alone(machine):
    """Its name begins with what is the root of the mount, which is not there within."""
    files = version_1("one/cpu,cpuacct", 250000)
    assert machine(CPU.format("/docker/12ab"), ONE, files, inner="/docker/12ab") == 2.5


def test_a_group_below_the_root_of_the_mount(machine):
    files = version_1("one/cpu,cpuacct/in", 100000) | version_1("one/cpu,cpuacct", 250000)
    assert machine(CPU.format("/docker/12ab/in"), ONE, files, inner="/docker/12ab") == 1.0


def test_both_versions_at_once(machine):
    files = version_1("one/cpu,cpuacct", 300000) | {"two/cpu.max": "200000 100000"}
    assert machine(CPU.format("/") + "0::/\n", ONE + TWO, files) == 2.0


def test_a_group_outside_of_what_is_mounted(machine):
    assert machine("0::/../other\n", TWO, {"two/cpu.max": "200000 100000"}) == 2.0


def test_a_mount_with_a_space_in_its_name(machine):
    mounts = TWO.replace("/two", "/my\\040groups")
    assert machine("0::/\n", mounts, {"my groups/cpu.max": "100000 100000"}) == 1.0


def test_a_system_without_control_groups(tmp_path):
    assert cpu_quota(tmp_path / "nothing") == math.inf


def test_a_part_of_a_core_is_one(monkeypatch):
    for quota, wanted in ((0.1, 1), (1.0, 1), (1.5, 2), (1e9, allowed()), (math.inf, allowed())):
        monkeypatch.setattr("ncagen.cores.cpu_quota", lambda quota=quota: quota)
        assert cores() == min(wanted, allowed())


def allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def limited():
    """A control group of one core, and how to get into it."""
    name = f"ncagen-{secrets.token_hex(4)}"
    for root, file, text in (
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "100000"),
        ("/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us", "100000"),
        ("/sys/fs/cgroup", "cpu.max", "100000 100000"),
    ):
        group = Path(root) / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(text)
        except OSError:  # this hierarchy does not limit cores here
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group may be made here")


def test_a_real_group(limited):
    program = f"""
import os
from ncagen.cores import cores
before = cores()
open({str(limited / "cgroup.procs")!r}, "w").write(str(os.getpid()))
print(before, cores())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == f"{cores()} 1\n", done.stderr
