"""Which failures of tasks are tried again, and what a build reports, with an executor of real threads."""

import errno
import sys
import threading
from collections import Counter

import pytest
from conftest import Run, make, run, spec_of

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.errors import NcagenError
from ncagen.factory import scheduler
from ncagen.factory.events import Finished, RowsFound, RowsMade, ShardDone
from ncagen.factory.executor import NodeLost, ThreadExecutor
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.plan import BATCH, DRIVER_SECONDS, pilot, plan, trials
from ncagen.factory.scheduler import ShardsFailed
from ncagen.factory.settings import from_settings
from ncagen.sources import source_of

TASKS = [("train", shard) for shard in range(20)]


def carry_out(make, workers=3):
    """The tasks that were done, how often each was tried, and the error at the end."""
    tried, lock = Counter(), threading.Lock()

    def counted(task, report):
        with lock:
            tried[task] += 1
        return make(task, tried[task])

    done, error = [], None
    try:
        with ThreadExecutor(counted, workers) as executor:
            for event in scheduler.run(executor, TASKS):
                assert event == ShardDone(event.task, [event.task])
                done.append(event.task)
    except Exception as raised:
        error = raised
    return sorted(done), tried, error


def failing(task, error, times):
    """A make that fails so often for one task."""

    def make(at, tries):
        if at == task and tries <= times:
            raise error
        return [at]

    return make


def test_every_task_is_run_once():
    done, tried, error = carry_out(lambda task, tries: [task])
    assert (done, error) == (TASKS, None)
    assert set(tried.values()) == {1}


@pytest.mark.parametrize("error", [RuntimeError("no"), OSError(errno.EIO, "Input/output error"), NodeLost()])
def test_what_passes_is_tried_again(error):
    done, tried, raised = carry_out(failing(TASKS[5], error, 2))
    assert (done, raised) == (TASKS, None)
    assert tried == Counter(TASKS) + Counter({TASKS[5]: 2})


def test_a_poison_shard_is_tried_three_times_while_the_others_are_made_and_then_named():
    done, tried, raised = carry_out(failing(TASKS[2], ValueError("bad luck"), 99))
    assert done == [task for task in TASKS if task != TASKS[2]]
    assert tried[TASKS[2]] == scheduler.TRIES == 3
    assert isinstance(raised, ShardsFailed) and raised.status == 1
    assert str(raised) == (
        "shard 2 of train failed 3 times: ValueError: bad luck;"
        " the others are made: run the same command to try it again"
    )


def test_several_poison_shards_are_named_by_the_first():
    done, _, raised = carry_out(lambda task, tries: [task] if task[1] % 9 else 1 // 0, workers=1)
    assert len(done) == 17
    assert str(raised) == (
        "shard 0 of train and 2 other shards failed 3 times: ZeroDivisionError: integer division or modulo by zero;"
        " the others are made: run the same command to try them again"
    )


def test_where_all_fails_the_build_ends_early():
    done, tried, raised = carry_out(lambda task, tries: 1 // 0, workers=1)
    assert done == [] and len(tried) < len(TASKS)
    assert str(raised) == (
        "shard 0 of train and 9 other shards failed 3 times: ZeroDivisionError: integer division or modulo by zero;"
        " the build ends here: run the same command to try them again"
    )


def test_a_lost_machine_does_not_count_as_a_try_and_is_not_mourned_for_ever():
    done, tried, raised = carry_out(failing(TASKS[7], NodeLost(), scheduler.LOSSES - 1))
    assert (done, raised, tried[TASKS[7]]) == (TASKS, None, scheduler.LOSSES)
    done, tried, raised = carry_out(failing(TASKS[7], NodeLost(), 99))
    assert len(done) == 19 and tried[TASKS[7]] == scheduler.LOSSES
    assert str(raised) == (
        "shard 7 of train failed: its machine was lost 30 times;"
        " the others are made: run the same command to try it again"
    )


@pytest.mark.parametrize("error", [NcagenError("a line"), OSError(errno.ENOSPC, "No space left on device")])
def test_what_the_user_has_to_mend_ends_the_build_at_once(error):
    _, tried, raised = carry_out(failing(TASKS[3], error, 99))
    assert raised is error and tried[TASKS[3]] == 1


def test_an_error_of_the_disk_that_stays_ends_the_build():
    error = OSError(errno.EIO, "Input/output error")
    _, tried, raised = carry_out(failing(TASKS[3], error, 99))
    assert raised is error and tried[TASKS[3]] == 3


def test_an_error_that_is_no_exception_ends_the_build_and_not_only_its_thread():
    with pytest.raises(SystemExit), ThreadExecutor(lambda task, report: sys.exit(3), 2) as executor:
        list(scheduler.run(executor, TASKS))


def test_few_tasks_are_handed_out_at_a_time():
    """Otherwise memory would grow with the dataset."""
    handed_out = iter(range(10**9))
    tasks = (("train", shard) for shard in handed_out)
    with ThreadExecutor(lambda task, report: [task], 3) as executor:
        events = scheduler.run(executor, tasks)
        for _ in range(50):
            next(events)
    assert next(handed_out) <= 50 + 2 * 3 + 3


# --- events ---


def job_in(folder) -> BuildJob:
    """A build of the small dataset: 4 shard numbers in 2 bands, 400 rows and 40 more for validation."""
    return BuildJob(spec_of(), "parquet", Folder(folder))


def test_the_events_of_a_build_add_up_to_its_manifest(tmp_path):
    events, job = [], job_in(tmp_path / "a")
    manifest = scheduler.build(job, scheduler.threads(job, 2), events.append)
    made = [event for event in events if isinstance(event, RowsMade)]
    done = [event for event in events if isinstance(event, ShardDone)]
    assert len(made) + len(done) + 1 == len(events)
    assert events[-1] == Finished(manifest) == Finished(read_manifest(job.folder))
    assert sum(event.rows for event in made) == manifest.rows == 440
    assert sum(event.candidates for event in made) >= sum(r.tried for r in manifest.records if r.band == "high")
    shards = {(record.split, record.shard) for record in manifest.records}
    assert Counter(event.task for event in done) == Counter(shards)
    pairs = [pair for event in done for pair in event.result]
    assert len(pairs) == len(manifest.records) and {record for record, _ in pairs} == set(manifest.records)


def test_a_finished_build_reports_its_rows_as_found(smoke):
    events, job = [], job_in(smoke())
    scheduler.build(job, scheduler.threads(job, 2), events.append)
    assert sum(event.rows for event in events if isinstance(event, RowsFound)) == 440
    assert not any(isinstance(event, RowsMade) for event in events)


def test_events_arrive_in_the_callers_thread_and_its_error_ends_the_build(tmp_path, smoke):
    """The next build resumes."""
    job, threads = job_in(tmp_path / "a"), set()

    def stop(event):
        threads.add(threading.current_thread())
        if isinstance(event, ShardDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scheduler.build(job, scheduler.threads(job, 2), stop)
    assert threads == {threading.current_thread()}
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("ncagen") and "fetch" not in thread.name
    ]
    assert not job.folder.has("manifest.json")
    assert make(tmp_path / "a", spec_of()) == read_manifest(smoke())


def test_closing_the_events_stops_the_tasks(tmp_path):
    job = job_in(tmp_path / "a")
    events = scheduler.build_events(job, scheduler.threads(job, 2))
    next(events)
    events.close()
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("ncagen") and "fetch" not in thread.name
    ]
    assert not job.folder.has("manifest.json")


# --- the plan ---


def test_a_dataset_of_too_many_files_is_refused_before_the_work(tmp_path):
    line = (
        "ncagen: 476,839 files are more than the 400,000 that a manifest may list:"
        " use --rows-per-shard 4883 or more, or several datasets\n"
    )
    assert run("build", "--tokens=2T", "--band=high", "--out", tmp_path / "a") == Run(2, "", line)
    assert run("build", "--tokens=2T", "--band=high", "--plan") == Run(2, "", line)
    assert not (tmp_path / "a").exists()
    most = from_settings({"tokens": "2T", "band": "high", "rows_per_shard": 4883})
    assert most.shards("train") + most.shards("validation") <= 400_000 < spec_of(tokens="2T").shards("train")


def test_a_plan_for_many_machines_ends_at_what_one_driver_can_hand_out():
    spec = from_settings({"tokens": "1T", "band": "high"})
    tried = pilot(spec)
    one, many, most = (plan(spec, 2, nodes, tried) for nodes in (1, 4, 10**6))  # four: no machine is as fast
    shards = spec.shards("train") + spec.shards("validation")
    assert one.core_hours == many.core_hours == most.core_hours
    assert one.seconds == pytest.approx(one.core_hours * 3600 / 2, rel=0.01)
    assert many.seconds == pytest.approx(one.seconds / 4, rel=0.01)
    assert most.seconds == shards * DRIVER_SECONDS
    assert (one.shards, one.candidates, one.bytes) == (shards, most.candidates, most.bytes)


def test_a_plan_counts_the_workers_that_wait_for_the_last_shard():
    spec = from_settings({"tokens": 4096 * 1024 * 9, "band": "high", "validation": 0})
    tried = pilot(spec)
    four, nine = plan(spec, 4, 1, tried), plan(spec, 9, 1, tried)
    assert spec.shards("train") == 9
    assert four.seconds == pytest.approx(3 * nine.seconds)


CLOCK = """
import sys, time
from itertools import count
from ncagen.factory import plan
from ncagen.factory.settings import from_settings
ticks = count(0, float(sys.argv[1]))
plan.time = type("Clock", (), {"perf_counter": lambda: next(ticks)})
for band in ("high", "0.2-0.21", "0.66-0.67", "0.001-0.002"):
    try:
        spec = from_settings({"tokens": 1, "band": band})
        tried = plan.pilot(spec)
        print(len(tried.scores), tried.share(spec.bands[0]))
    except plan.NcagenError as error:
        print(error)
"""


def test_a_slow_machine_refuses_what_a_fast_one_does():
    """Whatever the clock says of a batch, a thousandth of a second or an hour, the pilot tries the same candidates."""
    runs = [run("-c", CLOCK, tick, program=[sys.executable]) for tick in ("1e-6", "0.5", "3600")]
    assert runs[0] == runs[1] == runs[2] and runs[0].status == 0, runs
    lines = runs[0].out.splitlines()
    assert lines[0].startswith("2048 0.4") and " candidates scored " in lines[3] and "and 65536 candidates" in lines[3]


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, (2048, 65536)),
        ({"seq_len": "16k"}, (2048, 65536)),
        ({"warmup": 10**6}, (BATCH, BATCH)),
        ({"states": 256, "grid": 32, "patch": 1, "seq_len": "16k"}, (256, 768)),
    ],
)
def test_a_pilot_tries_fewer_where_each_is_more_work(settings, counts):
    assert trials(source_of(from_settings({"tokens": 1, "band": "high"} | settings))) == counts
