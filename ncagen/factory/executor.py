"""Runs several shard tasks at the same time: the interface that `scheduler` uses, and the threads of this process.

An executor does not choose tasks and does not judge failures; `scheduler` does both. The kernels release the
interpreter lock, so up to about eight threads are as fast as processes. `process_executor` has the executor for more
than that, `factory/ray` the one of a cluster.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from ncagen.factory.events import Progress, RowsFound, RowsMade, ShardResult, ShardTask

Report = Callable[[int, int], None]
"""What a task calls after each batch: rows that were found or made since the last call, and candidates tried for them.

No candidates means that the rows were found.
"""


class NodeLost(Exception):
    """The machine that ran a task is gone. The task is not to blame and can be started again."""


class Crashed(Exception):
    """The process that ran a task is gone, and its machine is not."""

    def __init__(self, out_of_memory: bool):
        why = "its node's memory ran out" if out_of_memory else "it was killed, or its code crashed"
        super().__init__(f"the process that made it is gone: {why}")


class Stopped(Exception):
    """Raised within a task that was told to stop."""


@dataclass(frozen=True)
class TaskEnded:
    """A task that an executor no longer runs, and its result or its error."""

    task: ShardTask
    outcome: ShardResult | BaseException


class Executor(Protocol):
    """Runs tasks. Leaving its context stops those that are not finished."""

    slots: int
    """Tasks that run at the same time. May change while a cluster grows or shrinks."""

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *_: object) -> None: ...

    def start(self, task: ShardTask) -> None:
        """Runs a task as soon as a slot is free. Returns at once."""

    def poll(self, seconds: float) -> list[Progress | TaskEnded]:
        """What happened since the last call, in order; waits up to so many seconds for something to happen.

        The progress of a task precedes its end.
        """


class ThreadExecutor:
    """Calls make(task, report) in threads of this process."""

    def __init__(self, make: Callable[[ShardTask, Report], ShardResult], workers: int):
        self.slots = workers
        self._make = make
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(workers, "ncagen")
        self._ended: SimpleQueue[TaskEnded] = SimpleQueue()
        self._found = self._made = self._candidates = 0
        self._counting = threading.Lock()

    def __enter__(self) -> "ThreadExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def start(self, task: ShardTask) -> None:
        self._pool.submit(self._run, task)

    def poll(self, seconds: float) -> list[Progress | TaskEnded]:
        """As of `Executor`: the sums of all progress since the last call. Only a task's end is worth waking up for."""
        ended = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=seconds))
            while True:
                ended.append(self._ended.get_nowait())
        return [*self._progress(), *ended]

    def _progress(self) -> list[Progress]:
        """Takes what was counted."""
        with self._counting:
            found, made, candidates = self._found, self._made, self._candidates
            self._found = self._made = self._candidates = 0
        return [*([RowsFound(found)] if found else []), *([RowsMade(made, candidates)] if candidates else [])]

    def _run(self, task: ShardTask) -> None:
        outcome: ShardResult | BaseException
        try:
            outcome = self._make(task, self._report_or_stop)
        except BaseException as error:  # whatever it is, `poll` has to tell, or a build would wait for ever
            outcome = error
        self._ended.put(TaskEnded(task, outcome))

    def _report_or_stop(self, rows: int, candidates: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._counting:
            if candidates:
                self._made += rows
                self._candidates += candidates
            else:
                self._found += rows
