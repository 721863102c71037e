"""Workers, drivers, nodes and heads that die while a build runs on Ray, by SIGKILL to real processes.

Every node is a few processes of this machine. Not covered: machines that have clocks and disks of their own, and
networks that lose some of what they carry.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import FLAGS, ROOT, Run, make, run, spec_of, without_waiting
from ray_cluster import ONE_AT_A_TIME, RayCluster, descendants, is_alive, wait_for

from faults.oracle import assert_recovered, watched
from faults.processes import LONGER_FLAGS, LONGER_SHARDS, STOP_SECONDS, STOPPED, shards, start, struck, temporary
from ncagen.factory.scheduler import TRIES
from ncagen.version import VERSION

pytestmark = [pytest.mark.slow, ONE_AT_A_TIME]

SHARD = r"train-00001-of-00003\.parquet"
LOCAL = ("--ray=local", "--workers=2")
LONGER_FLAGS = LONGER_FLAGS[:-1]  # as many workers as there are cores

WAITING = "no node of the cluster is left: waiting for one\n"


@contextmanager
def nodes(head, count: int = 0, **options):
    """Starts nodes of one core, and kills all that are there in the end."""
    try:
        yield [head.add(**options) for _ in range(count)]
    finally:
        while head.nodes:
            head.nodes.pop().kill()
        wait_for(lambda: head.alive() == 1)


def held(step: str, mark: Path, on: str) -> dict[str, str]:
    """The variables of a node whose first worker at a step waits there until the mark is removed."""
    return struck(step, on=on, how="hold", mark=str(mark))


def until(condition, process: subprocess.Popen) -> None:
    """Until the condition holds, while a build is at work."""
    wait_for(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()


def ended(process: subprocess.Popen, seconds: float = 60) -> Run:
    """What a build that was started has done."""
    out, err = process.communicate(timeout=seconds)
    return Run(process.returncode, out, without_waiting(err))


def is_worker(command: str) -> bool:
    """Whether a process of Ray's is one that makes units."""
    return command.startswith("ray::") and "Agent" not in command


# --- workers ---


@pytest.mark.parametrize(
    ("step", "on", "at"),
    [
        ("write", SHARD, 2),
        pytest.param("generate", "train 1", 1, marks=pytest.mark.nightly),
        *(pytest.param(step, SHARD, 2, marks=pytest.mark.nightly) for step in ("fsync", "rename", "record")),
    ],
)
def test_a_worker_that_is_killed_at_a_step_is_replaced(smoke, tmp_path, step, on, at):
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()):
        fault = struck(step, on=on, at=at, mark=str(mark))
        assert run("build", *FLAGS, *LOCAL, "--quiet", "--out", folder, env=fault) == Run(0, "", "")
    assert mark.exists()
    assert_recovered(folder, smoke())


@pytest.mark.parametrize(
    ("step", "on", "how", "said"),
    [
        pytest.param(*("generate", "train 1", "raise"), "RuntimeError: train 1 is poisoned", marks=pytest.mark.nightly),
        (
            *("write", SHARD, "kill"),
            "Crashed: the process that made it is gone: it was killed, or its code crashed",
        ),
    ],
)
def test_a_poisoned_shard_is_named_when_the_others_are_made(smoke, tmp_path, step, on, how, said):
    folder = tmp_path / "a"
    with watched(folder, smoke()):
        line = (
            f"ncagen: shard 1 of train failed 3 times: {said};"
            " the others are made: run the same command to try it again\n"
        )
        fault = struck(step, on=on, how=how)
        assert run("build", *FLAGS, *LOCAL, "--quiet", "--out", folder, env=fault) == Run(1, "", line)
        assert shards(folder) == 6 and (folder / "building.json").is_file() and temporary(folder) == []
        make(folder, spec_of())
    assert_recovered(folder, smoke())


ON_ACTORS = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from conftest import spec_of
from ncagen.dataset.folder import Folder
from ncagen.factory import scheduler
from ncagen.factory.ray.executor import connect
from ncagen.factory.make_shard import BuildJob

order = BuildJob(spec_of(), "parquet", Folder(sys.argv[1]))
with connect(sys.argv[2], None, order, "host", 1.0) as executor:
    try:
        scheduler.build(order, executor)
    except scheduler.ShardsFailed as error:
        print(error)
"""


@pytest.mark.nightly
def test_a_poisoned_shard_on_an_actor_does_not_blame_its_neighbours(head, smoke, tmp_path):
    """An actor makes several units at a time, and all of them go with it."""
    folder = tmp_path / "a"
    with watched(folder, smoke()), nodes(head, 1, cpus=3, gpus=1, environment=struck("write", on=SHARD)):
        command = [sys.executable, "-c", ON_ACTORS, str(folder), head.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        said = (
            "shard 1 of train failed 3 times: Crashed: the process that made it is gone: it was killed, or its code"
            " crashed; the others are made: run the same command to try it again\n"
        )
        assert Run(done.returncode, done.stdout, done.stderr) == Run(0, said, "")
        assert shards(folder) == 6
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_full_disk_is_the_same_line(tiny_disk, smoke):
    folder = tiny_disk / "a"
    with watched(folder, smoke()):
        done = run("build", *FLAGS, *LOCAL, "--out", folder)
        assert (done.status, done.out) == (2, "")
        assert re.fullmatch(
            rf"ncagen: no space left in {folder}: up to 0\.\d MB more are needed, 0\.\d MB are free;"
            r" make room and run the same command to resume\n",
            done.err,
        )
        assert 0 < shards(folder) < 8
        subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True)
        make(folder, spec_of())
    assert_recovered(folder, smoke())


# --- drivers ---


def test_a_killed_driver_takes_its_local_ray_with_it(longer, tmp_path):
    folder = tmp_path / "a"
    with watched(folder, longer):
        process = start("build", *LONGER_FLAGS, *LOCAL, "--out", folder)
        until(lambda: shards(folder) >= 3, process)
        below = descendants(process.pid)
        process.kill()
        process.wait()
        wait_for(lambda: not any(is_alive(number) for number in below if is_worker(below[number])))
        assert 3 <= shards(folder) < LONGER_SHARDS
        assert run("build", *LONGER_FLAGS, *LOCAL, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, longer)
    for number in filter(is_alive, below):  # Ray's helpers, which give up after a minute
        os.kill(number, signal.SIGKILL)
    for left in set(re.findall(r"/tmp/ncagen-ray-\w+", " ".join(below.values()))):
        shutil.rmtree(left)


def test_a_killed_driver_leaves_a_cluster_that_goes_idle(head, longer, tmp_path):
    folder = tmp_path / "a"
    command = ["build", *LONGER_FLAGS, f"--ray={head.address}", "--quiet", "--out", folder]
    with watched(folder, longer), nodes(head, 1, cpus=2) as (node,):
        process = start(*command)
        until(lambda: shards(folder) >= 3, process)
        process.kill()
        process.communicate()
        wait_for(lambda: not node.workers(busy=True))
        assert 3 <= shards(folder) < LONGER_SHARDS
        assert run(*command) == Run(0, "", "")
    assert_recovered(folder, longer)


def test_a_second_ctrl_c_changes_nothing(longer, tmp_path):
    folder = tmp_path / "a"
    with watched(folder, longer):
        process = start("build", *LONGER_FLAGS, *LOCAL, "--out", folder)
        until(lambda: shards(folder) >= 3, process)
        below = descendants(process.pid)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert ended(process) == Run(130, "", STOPPED)
        assert time.monotonic() - begun < STOP_SECONDS
        wait_for(lambda: not any(map(is_alive, below)))
        assert run("build", *LONGER_FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, longer)


# --- nodes ---


def test_nodes_that_are_lost_as_often_as_a_shard_is_tried_are_no_fault_of_its(head, smoke, tmp_path):
    """Each node is taken away while it makes the same shard, and the next one is there by then."""
    folder, marks = tmp_path / "a", [tmp_path / str(number) for number in range(TRIES + 1)]
    with watched(folder, smoke()), nodes(head):
        head.add(environment=held("generate", marks[0], "train 1"))
        process = start("build", *FLAGS, f"--ray={head.address}", "--quiet", "--out", folder)
        for before, mark in pairwise(marks):
            until(before.exists, process)
            head.add(environment=held("generate", mark, "train 1"))
            head.nodes.pop(0).kill()
        until(marks[-1].exists, process)
        marks[-1].unlink()
        assert ended(process) == Run(0, "", "")
    assert_recovered(folder, smoke())


@pytest.mark.nightly
def test_a_spot_machine_that_is_taken_away_is_waited_for(head, longer, tmp_path):
    """SIGTERM, and SIGKILL half a second later, to all that there is to work with."""
    folder = tmp_path / "a"
    with watched(folder, longer), nodes(head, 1) as (node,):
        process = start("build", *LONGER_FLAGS, f"--ray={head.address}", "--quiet", "--out", folder)
        until(lambda: shards(folder) >= 3, process)
        for number in (node.process.pid, *descendants(node.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
        time.sleep(0.5)
        head.nodes.remove(node)
        node.kill()
        assert process.stderr.readline() == WAITING
        assert 3 <= shards(folder) < LONGER_SHARDS
        head.add()
        done = ended(process)
        assert done._replace(err=done.err.replace(WAITING, "")) == Run(0, "", "")
    assert_recovered(folder, longer)


def test_a_node_that_is_drained_and_taken_away_is_left_in_time(head, smoke, tmp_path):
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()), nodes(head, 1, environment=held("generate", mark, "train 1")) as (node,):
        process = start("build", *FLAGS, f"--ray={head.address}", "--quiet", "--out", folder)
        until(mark.exists, process)
        head.drain(node, seconds=2)
        head.add()
        until(lambda: shards(folder) == 6, process)
        head.nodes.remove(node)
        node.kill()
        assert ended(process) == Run(0, "", "")
    assert_recovered(folder, smoke())


def test_a_writer_whose_raylet_is_killed_does_no_harm(head, smoke, tmp_path):
    """In the middle of a file. It ends when it notices, or goes on to its end."""
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()), nodes(head, 1, environment=held("write", mark, SHARD)) as (node,):
        process = start("build", *FLAGS, f"--ray={head.address}", "--quiet", "--out", folder)
        until(mark.exists, process)
        (writer,) = node.workers(busy=True)
        head.add()
        node.kill_raylet()
        wait_for(lambda: shards(folder) >= 6)
        mark.unlink()
        assert ended(process) == Run(0, "", "")
        wait_for(lambda: not Path(f"/proc/{writer}").exists())
        make(folder, spec_of())  # its temporary file, if the build ended before it did
    assert_recovered(folder, smoke())


def test_a_frozen_writer_does_no_harm_when_all_is_over(head, smoke, tmp_path):
    """Its machine stands still in the middle of a file, its build is killed, another one ends; then it goes on."""
    folder, mark = tmp_path / "a", tmp_path / "mark"
    command = ["build", *FLAGS, f"--ray={head.address}", "--quiet", "--out", folder]
    with watched(folder, smoke()), nodes(head, 1, environment=held("write", mark, SHARD)) as (node,):
        process = start(*command)
        until(mark.exists, process)
        (writer,), frozen = node.workers(busy=True), [node.process.pid, *descendants(node.process.pid)]
        for number in frozen:
            os.kill(number, signal.SIGSTOP)
        process.kill()
        process.communicate()
        wait_for(lambda: head.alive() == 1)
        head.add()
        assert run(*command) == Run(0, "", "")
        (half,) = temporary(folder)
        mark.unlink()
        os.kill(writer, signal.SIGCONT)
        wait_for(lambda: not half.exists())
    assert_recovered(folder, smoke())


def test_a_node_that_joins_with_another_version_is_named(head, smoke, tmp_path):
    folder, mark, other = tmp_path / "a", tmp_path / "mark", tmp_path / "other"
    shutil.copytree(ROOT / "ncagen", other / "ncagen", ignore=shutil.ignore_patterns("__pycache__"))
    (other / "ncagen/version.py").write_text('VERSION = "9.9"\n')
    with watched(folder, smoke()), nodes(head, 1, environment=held("write", mark, SHARD)):
        command = ["build", *FLAGS, f"--ray={head.address}", "--quiet", "--out", folder]
        process = start(*command, cwd=tmp_path)  # Ray adds it to every process's sys.path
        until(mark.exists, process)
        head.add(environment={"PYTHONPATH": str(other)})
        line = (
            f"ncagen: node {socket.gethostname()} of the Ray cluster has ncagen 9.9, and this build {VERSION}:"
            " install the same version on every node\n"
        )
        assert ended(process) == Run(2, "", line)
        head.nodes.pop().kill()
        mark.unlink()
        make(folder, spec_of())
    assert_recovered(folder, smoke())


# --- the head ---


def test_a_head_that_is_gone_is_one_line_and_the_build_goes_on_with_another(smoke, tmp_path):
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()):
        with RayCluster(cpus=2, environment=held("generate", mark, "train 1")) as cluster:
            process = start("build", *FLAGS, f"--ray={cluster.address}", "--quiet", "--out", folder)
            until(mark.exists, process)
            os.kill(cluster.head.gcs, signal.SIGKILL)
            line = (
                f"ncagen: the head of the Ray cluster at {cluster.address} is gone:"
                " start it and run the same command to resume\n"
            )
            assert ended(process, 40) == Run(2, "", line)
        with RayCluster(cpus=2, port=int(cluster.address.rpartition(":")[2])) as cluster:
            command = ["build", *FLAGS, f"--ray={cluster.address}", "--quiet", "--out", folder]
            assert run(*command) == Run(0, "", "")
    assert_recovered(folder, smoke())
