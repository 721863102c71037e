"""What makes shards at the same time: the face that `scheduler` sees of it, and the threads of this process.

An executor knows neither which shards are wanted nor how to handle one that failed; `scheduler` does. The kernels hold
no interpreter lock, so threads are as fast as processes.
"""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from ncagen.dataset.manifest import File
from ncagen.dataset.shard import Record

ShardTask = tuple[str, int]
"""A split and the number of a shard in it: one shard in each band."""

ShardResult = list[tuple[Record, File]]
"""What a unit came to: a record and a file for every band."""

Report = Callable[[int, int], None]
"""Called with the rows that were made or found and the candidates tried for them since the last call.

Without either when the executor's nodes changed.
"""


class NodeLost(Exception):
    """The machine that a unit was being made on is gone: the unit is to be started again, and is not to blame."""


class Stopped(Exception):
    """A unit was told to stop."""


class Executor(Protocol):
    """Makes units. Leaving its context, or what it works in, stops those that are not finished."""

    slots: int
    """Units that are made at the same time."""

    nodes: int | None
    """Machines that they are made on, 0 while it waits for one; None where there is no other than this."""

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *_: object) -> None: ...

    def start(self, unit: ShardTask) -> None:
        """Has a unit made as soon as there is a free slot."""

    def finished(self, seconds: float) -> list[tuple[ShardTask, ShardResult | Exception]]:
        """Units that ended since the last call, with what they came to; none if that takes longer than this."""


class ThreadExecutor:
    """An executor of this process. make(unit, report) is called in its threads."""

    nodes: int | None = None

    def __init__(self, make: Callable[[ShardTask, Report], ShardResult], workers: int, report: Report):
        self.slots = workers
        self._make, self._report = make, report
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(workers, "ncagen")
        self._pending: dict[Future, ShardTask] = {}

    def __enter__(self) -> "ThreadExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def start(self, unit: ShardTask) -> None:
        self._pending[self._pool.submit(self._make, unit, self._report_or_stop)] = unit

    def finished(self, seconds: float) -> list[tuple[ShardTask, ShardResult | Exception]]:
        done, _ = wait(self._pending, seconds, FIRST_COMPLETED)
        return [(self._pending.pop(future), _outcome(future)) for future in done]

    def _report_or_stop(self, rows: int, candidates: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self._report(rows, candidates)


def _outcome(future: Future) -> ShardResult | Exception:
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error or future.result()
