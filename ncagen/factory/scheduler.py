"""Makes every shard of a build job with an executor, and writes the manifest when all shards are there.

What is in the folder decides what is complete, never what an executor says: every shard is looked for before it is
made, so a build that was stopped at any moment resumes with the same command. This module starts the tasks, decides
which failures are tried again, and ends the build. It does not make a shard (`make_shard`), run tasks in parallel
(`executor`, `ray`) or decide who may use the folder (`claim`).
"""

import errno
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

import pyarrow as pa

from ncagen.dataset import card
from ncagen.dataset.index import shard_keys
from ncagen.dataset.manifest import (
    BUILDING,
    MOST_BYTES,
    Manifest,
    toolchain,
)
from ncagen.dataset.shard import SPLITS, File, Record
from ncagen.errors import NcagenError
from ncagen.factory.claim import check, claim, explain
from ncagen.factory.events import Event, Finished, Progress, ShardDone, ShardResult, ShardTask
from ncagen.factory.executor import Executor, NodeLost, TaskEnded, ThreadExecutor
from ncagen.factory.make_shard import BuildJob, make
from ncagen.factory.process_executor import ProcessExecutor, threads_a_process
from ncagen.sources import source_of

POLL_SECONDS = 0.2

TRIES = 3  # failures of one task
LOSSES = 30  # machines that were lost while they ran the same task
FAILURES = 10  # tasks that failed for good, until the build ends

# Errors that the user has to remove, so trying again at once is of no use.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


class ShardsFailed(NcagenError):
    """Shards that could not be made although the build itself could run."""

    status = 1


def threads(job: BuildJob, workers: int, device: str = "cpu") -> ThreadExecutor:
    """The executor of this process. Raises SelfCheckFailed where its device computes other rows than ncagen defines."""
    source_of(job.spec).check(device)
    return ThreadExecutor(lambda task, report: make(job, *task, report, device), workers)


def local(job: BuildJob, workers: int, device: str = "cpu") -> Executor:
    """The executor of this machine: `threads`, or processes where threads would wait for the interpreter's lock.

    Raises SelfCheckFailed as `threads` does.
    """
    most = threads_a_process(device)
    if workers <= most:
        return threads(job, workers, device)
    source_of(job.spec).check(device)
    return ProcessExecutor(job, workers, -(-workers // most), device)


def build(job: BuildJob, executor: Executor, progress: Callable[[Event], object] = lambda event: None) -> Manifest:
    """Makes the dataset, or what is missing of it, and returns its manifest.

    progress(event) is called in this thread for every event of `build_events`; an error that it raises ends the build.
    Raises what `build_events` raises.
    """
    with closing(build_events(job, executor)) as events:
        for event in events:
            progress(event)
    assert isinstance(event, Finished)
    return event.manifest


def build_events(job: BuildJob, executor: Executor) -> Generator[Event, None, None]:
    """Makes the dataset, or what is missing of it, while it is iterated; the last event is `Finished`.

    Close it, as `build` does, where the loop over it may end early: tasks run until then. Raises NcagenError for a
    folder that cannot be used or a full disk, ShardsFailed where shards fail again and again, KeyboardInterrupt when
    the user stops it; after any of them the same call resumes.
    """
    claim(job)
    tasks = ((split, shard) for split in reversed(SPLITS) for shard in range(job.spec.shards(split)))
    results: ShardResult = []
    try:
        with executor:
            for event in run(executor, tasks):
                if isinstance(event, ShardDone):
                    results += event.result
                yield event
        check(job)
        manifest = _finish(job, results)
        job.folder.remove_stale(other_hosts=True)
    except OSError as error:
        raise explain(job, error) from error
    finally:
        job.folder.remove_stale()
    yield Finished(manifest)


def run(executor: Executor, tasks: Iterable[ShardTask]) -> Iterator[Progress | ShardDone]:
    """Runs the tasks, a few at a time so that memory does not grow with the dataset, and yields what happens.

    A task that fails is tried TRIES times in all, one whose machine is lost LOSSES times; the others run meanwhile.
    Raises ShardsFailed at the end, OSError and NcagenError at once.
    """
    waiting, again, running = iter(tasks), deque[ShardTask](), 0
    failures = _Failures()
    while True:
        while running < max(1, 2 * executor.slots) and (task := again.popleft() if again else next(waiting, None)):
            executor.start(task)
            running += 1
        if not running:
            break
        for event in executor.poll(POLL_SECONDS):
            if not isinstance(event, TaskEnded):
                yield event
                continue
            running -= 1
            if not isinstance(event.outcome, BaseException):
                yield ShardDone(event.task, event.outcome)
            elif failures.may_retry(event.task, event.outcome):
                again.append(event.task)
    failures.raise_if_any()


class _Failures:
    """The failures of a build's tasks."""

    def __init__(self) -> None:
        self._tries, self._losses = Counter[ShardTask](), Counter[ShardTask]()
        self._failed: dict[ShardTask, Exception] = {}

    def may_retry(self, task: ShardTask, error: BaseException) -> bool:
        """Counts a failure; returns whether to run the task again. Raises what has to end the build."""
        if not isinstance(error, Exception) or _is_fatal(error):
            raise error
        (self._losses if isinstance(error, NodeLost) else self._tries)[task] += 1
        if self._tries[task] < TRIES and self._losses[task] < LOSSES:
            return True
        if isinstance(error, OSError):
            raise error
        self._failed[task] = error
        if len(self._failed) == FAILURES:
            raise _failed(self._failed, "the build ends here") from error
        return False

    def raise_if_any(self) -> None:
        """Raises ShardsFailed where tasks failed for good."""
        if self._failed:
            raise _failed(self._failed, "the others are made") from next(iter(self._failed.values()))


def _is_fatal(error: Exception) -> bool:
    return isinstance(error, NcagenError) or (isinstance(error, OSError) and error.errno in FATAL)


def _failed(failed: dict[ShardTask, Exception], state: str) -> ShardsFailed:
    (split, shard), error = next(iter(failed.items()))
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    reason = f": its machine was lost {LOSSES} times" if isinstance(error, NodeLost) else f" {TRIES} times: {reason}"
    more = f" and {len(failed) - 1} other shards" if len(failed) > 1 else ""
    it = "them" if more else "it"
    return ShardsFailed(
        f"shard {shard} of {split}{more} failed{reason}; {state}: run the same command to try {it} again"
    )


def _finish(job: BuildJob, results: list[tuple[Record, File]]) -> Manifest:
    """Writes the card, then the index if there is one, then the manifest, unless the very same are there."""
    by_key = {(record.split, record.band, record.shard): (record, file) for record, file in results}
    pairs = [by_key[key] for key in shard_keys(job.spec)]
    records = tuple(record for record, _ in pairs)
    files = {job.name(record.split, record.band, record.shard): file for record, file in pairs}
    source = source_of(job.spec)
    manifest = Manifest(job.spec, source.row_format, source.measures, records, job.file_format, toolchain(), files)
    documents = {card.CARD: card.text(manifest, source.card()).encode(), **manifest.documents()}
    for name, data in documents.items():
        if not _holds(job, name, data):
            job.folder.write(name, pa.py_buffer(data))
    job.folder.remove(BUILDING)
    return manifest


def _holds(job: BuildJob, name: str, data: bytes) -> bool:
    try:
        return job.folder.read(name, MOST_BYTES).to_pybytes() == data
    except FileNotFoundError:
        return False
