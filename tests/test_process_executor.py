"""Shards that are made in several processes: the same bytes, and what happens to processes that end too early."""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from conftest import error_of, make, spec_of
from faults.processes import LONGER_FLAGS, STOP_SECONDS, STOPPED, shards, start, temporary, wait_for

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.receipt import Receipt, read_receipt
from ncagen.errors import NcagenError
from ncagen.factory.claim import claim
from ncagen.factory.events import RowsMade, ShardDone, ShardTask
from ncagen.factory.executor import Crashed, Executor, NodeLost, TaskEnded, ThreadExecutor
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.process_executor import DEVICE_THREADS, THREADS_A_PROCESS, ProcessExecutor
from ncagen.factory.process_worker import _portable
from ncagen.factory.scheduler import build, local, threads


@pytest.fixture
def job(tmp_path) -> BuildJob:
    """The small dataset, in a new folder."""
    return BuildJob(spec_of(), "parquet", Folder(tmp_path / "a"))


def test_threads_up_to_a_number_of_workers_and_processes_beyond_it(job):
    assert isinstance(local(job, THREADS_A_PROCESS), ThreadExecutor)
    executor = local(job, 2 * THREADS_A_PROCESS + 1)
    assert isinstance(executor, ProcessExecutor)
    assert (executor.slots, executor._places) == (17, [6, 6, 5])
    assert isinstance(local(job, DEVICE_THREADS, "host"), ThreadExecutor)
    assert local(job, 16, "host")._places == [4, 4, 4, 4]


def test_the_dataset_is_the_same(smoke, job):
    events = []
    made = build(job, ProcessExecutor(job, 3, 2), events.append)
    assert made == read_manifest(Folder(smoke()))
    assert sum(isinstance(event, ShardDone) for event in events) == 4
    assert sum(event.rows for event in events if isinstance(event, RowsMade)) == made.rows


@pytest.mark.parametrize("workers", [2, DEVICE_THREADS + 1])
def test_a_device_makes_the_same_dataset(smoke, job, workers):
    assert build(job, local(job, workers, "host")) == read_manifest(Folder(smoke()))


def test_a_killed_process_is_replaced(smoke, job):
    executor, killed = ProcessExecutor(job, 2, 2), []

    def kill_once(_):
        if not killed:
            killed.append(executor._processes[0])
            killed[0]._process.kill()

    assert build(job, executor, kill_once) == read_manifest(Folder(smoke()))
    assert killed[0]._process.returncode == -signal.SIGKILL


def test_of_the_tasks_of_a_process_that_crashes_the_culprit_is_found(job):
    claim(job)
    first, second = ("train", 0), ("train", 1)
    with ProcessExecutor(job, 2, 1) as executor:
        executor.start(first)
        executor.start(second)
        executor._processes[0]._process.kill()
        assert {task: type(error) for task, error in ended(executor, 2)} == {first: NodeLost, second: NodeLost}
        executor.start(first)
        executor.start(second)
        assert executor._processes[0].tasks == {first}
        executor._processes[0]._process.kill()
        [(task, error)] = ended(executor, 1)
        assert (task, type(error)) == (first, Crashed)
        [(task, result)] = ended(executor, 1)
        assert task == second and [record.shard for record, _ in result] == [1, 1]


def ended(executor: Executor, count: int) -> list[tuple[ShardTask, object]]:
    """The next tasks that end, and how."""

    def events() -> Iterator[TaskEnded]:
        while True:
            yield from (event for event in executor.poll(60) if isinstance(event, TaskEnded))

    return [(event.task, event.outcome) for event in islice(events(), count)]


def test_an_error_is_the_same_line(smoke, tmp_path):
    read = read_receipt(smoke() / "manifest.json")
    altered = {key: replace(record, content_sha256="0" * 64) for key, record in read.records.items()}
    wrong = BuildJob(spec_of(), "parquet", Folder(tmp_path / "a"), Receipt(read.manifest, altered, None))
    lines = {error_of(build, wrong, executor) for executor in (threads(wrong, 1), ProcessExecutor(wrong, 1, 1))}
    assert lines == {
        f"{tmp_path}/a/data/high/validation-00000-of-00001.parquet is not written: what was made is not what the"
        " receipt or manifest says, which was altered or comes from another version of ncagen"
    }
    assert shards(tmp_path / "a") == 0 and temporary(tmp_path / "a") == []


def test_an_error_that_cannot_be_sent_keeps_its_text():
    class Local(NcagenError):
        """Of a class that no other process can import."""

    assert repr(_portable(Local("a line"))) == "NcagenError('a line')"
    assert repr(_portable(pickle.PicklingError("no"))) == "PicklingError('no')"
    assert repr(_portable(type("Odd", (Exception,), {})("no"))) == "Exception('Odd: no')"


def test_a_folder_in_memory_is_refused():
    pytest.importorskip("fsspec")
    job = BuildJob(spec_of(), "parquet", Folder("memory://processes"))
    assert error_of(build, job, ProcessExecutor(job, 2, 2)) == (
        "memory://processes is not seen by other processes, which so many workers need: use fewer --workers"
    )


def test_an_interpreter_that_cannot_begin_ends_the_build(job, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    assert error_of(build, job, ProcessExecutor(job, 2, 2)) == (
        "a worker process ended with exit status 3 before its first shard: its error stands above;"
        " --workers 8 needs no other process"
    )


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_the_next_build_goes_on(tmp_path):
    """As a terminal does it: the signal goes to all of them."""
    folder: Path = tmp_path / "a"
    make(tmp_path / "b", spec_of())  # compiles
    process = start("build", *LONGER_FLAGS, "--tokens=200M", "--workers=17", "--out", folder, start_new_session=True)
    wait_for(lambda: shards(folder) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=STOP_SECONDS) == ("", STOPPED)
    assert process.returncode == 130
    assert temporary(folder) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_no_process_outlives_the_first_one(tmp_path):
    folder = tmp_path / "a"
    process = start("build", *LONGER_FLAGS, "--tokens=200M", "--workers=17", "--out", folder)
    wait_for(lambda: shards(folder) >= 3, process)
    process.kill()
    process.communicate(timeout=STOP_SECONDS)  # until none of them has standard error open
