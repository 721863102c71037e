"""The executor of several processes on this machine, each with threads: for more workers than one interpreter feeds.

A process is a new interpreter that runs `process_worker`, so neither a fork's half-copied state nor the caller's main
module matters: scripts need no `if __name__ == "__main__"`. Pipes carry tasks and their results, some hundred bytes;
each process writes its shards itself. This module says whose failure it was (`NodeLost`, `Crashed`, or the task's own
error), and `scheduler` what follows.
"""

import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from ncagen.errors import NcagenError
from ncagen.factory.events import Progress, ShardTask
from ncagen.factory.executor import Crashed, NodeLost, TaskEnded
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.process_worker import Setup

THREADS_A_PROCESS = 8
"""Workers that are threads of one process. A thread holds the interpreter's lock 4 to 9 % of its time (docs/log.md):
eight threads then do the work of 6.4 to 7.4, and sixteen that of 8 to 11."""

DEVICE_THREADS = 4
"""The same for a CUDA device, where little but writing is left to the host: a thread holds the lock for 30 % of its own
time (docs/log.md). Each process has a context of the device of its own, some 0.5 GB of its memory."""

AHEAD = 2
"""Tasks that a process has beyond those it runs, so that no thread waits for the pipe."""


def threads_a_process(device: str) -> int:
    """How many workers are threads of one process."""
    return THREADS_A_PROCESS if device == "cpu" else DEVICE_THREADS


class ProcessExecutor:
    """Makes the shards of a job in processes, which start when there is work for them."""

    def __init__(self, job: BuildJob, workers: int, processes: int, device: str = "cpu"):
        self.slots = workers
        self._job, self._device = job, device
        # A free place for each process: its number of threads.
        self._places = [workers // processes + (number < workers % processes) for number in range(processes)]
        self._processes: list[_Process] = []
        self._waiting: deque[ShardTask] = deque()
        # Tasks that ran beside others when their process crashed: each runs alone until it is done or crashes again.
        self._suspects: set[ShardTask] = set()
        self._messages: SimpleQueue[tuple[_Process, Any]] = SimpleQueue()

    def __enter__(self) -> "ProcessExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send(None)
        for process in self._processes:
            process.end()

    def start(self, task: ShardTask) -> None:
        self._waiting.append(task)
        self._hand_out()

    def poll(self, seconds: float) -> list[Progress | TaskEnded]:
        """As `Executor` says. Raises NcagenError where a process cannot work, in its own words."""
        events: list[Progress | TaskEnded] = []
        for process, message in self._received(seconds):
            events += self._events(process, message)
        self._hand_out()
        return events

    def _received(self, seconds: float) -> Iterator[tuple["_Process", Any]]:
        try:
            yield self._messages.get(timeout=seconds)
        except Empty:
            return
        while not self._messages.empty():
            yield self._messages.get()

    def _events(self, process: "_Process", message: Any) -> list[Progress | TaskEnded]:
        match message:
            case BaseException():
                raise message
            case _Gone():
                return self._lost(process)
            case None:
                process.is_ready = True
                return []
            case TaskEnded(task):
                process.tasks.remove(task)
                self._suspects.discard(task)
        return [message]

    def _lost(self, process: "_Process") -> list[Progress | TaskEnded]:
        """Ends the tasks of a process that is gone. Raises NcagenError where it has never begun to work."""
        status = process.end()
        self._processes.remove(process)
        self._places.append(process.threads)
        if not process.is_ready and status > 0:  # no signal, so the next would do the same
            raise NcagenError(
                f"a worker process ended with exit status {status} before its first shard: its error stands above;"
                f" --workers {threads_a_process(self._device)} needs no other process"
            )
        alone = len(process.tasks) == 1
        if not alone:
            self._suspects |= process.tasks
        return [TaskEnded(task, Crashed(False) if alone else NodeLost()) for task in sorted(process.tasks)]

    def _hand_out(self) -> None:
        """Gives waiting tasks to processes with a free thread, to new ones, or to those that have few tasks ahead."""
        while self._waiting and (process := self._room(self._waiting[0])):
            process.give(self._waiting.popleft())

    def _room(self, task: ShardTask) -> "_Process | None":
        """The process for a task, if there is one that should have it now."""
        able = [process for process in self._processes if process.has_room(task, self._suspects)]
        best = min(able, key=lambda process: process.load, default=None)
        if (best is None or best.load >= 0) and self._places:
            best = _Process(Setup(self._job, self._places.pop(0), self._device), self._messages)
            self._processes.append(best)
        return best


class _Gone:
    """The message that a process has ended."""


class _Process:
    """An interpreter that runs `process_worker`, its tasks, and a thread that puts its messages into a queue."""

    def __init__(self, setup: Setup, messages: SimpleQueue):
        self.threads, self.tasks = setup.threads, set[ShardTask]()
        self.is_ready = False  # whether it has passed its checks
        program = f"import sys; sys.path[:] = {sys.path!r}; from {Setup.__module__} import main; main()"
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        self.send(setup)
        self._reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self._reader.start()

    @property
    def load(self) -> int:
        """Tasks beyond one for each thread; negative where threads are free."""
        return len(self.tasks) - self.threads

    def has_room(self, task: ShardTask, suspects: set[ShardTask]) -> bool:
        """Whether it may have a task: a suspect runs in a process of its own."""
        if not self.tasks:
            return True
        return task not in suspects and not self.tasks & suspects and self.load < AHEAD

    def give(self, task: ShardTask) -> None:
        self.tasks.add(task)
        self.send(task)

    def send(self, message: object) -> None:
        """Sends a message. Where the process is gone, the queue says so."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def end(self) -> int:
        """Waits for the process to end; returns its exit status, negative for a signal."""
        status = self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # for what was left to send
                pipe.close()
        return status

    def _read(self, messages: SimpleQueue) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                messages.put((self, pickle.load(self._process.stdout)))
        except (EOFError, pickle.UnpicklingError):  # the latter where it was killed within a message
            messages.put((self, _Gone()))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT in what is started meanwhile: before its first line of Python it could not ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
