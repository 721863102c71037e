"""What a process of `process_executor` runs: a pool of threads that makes the tasks which come in through a pipe.

Standard input brings pickles: first a `Setup`, then tasks, then None, after which the process ends when the batches
that run are done. Standard output takes pickles: None when the process is ready, or the error of its checks; then what
`ThreadExecutor.poll` gives. Where standard input ends without None, the process that started this one is gone; this
one then ends at once. It handles no Ctrl-C: the process that started it does.
"""

import logging
import os
import pickle
import signal
import sys
import threading
from dataclasses import dataclass, replace
from typing import BinaryIO

from ncagen.errors import NcagenError
from ncagen.factory.claim import check
from ncagen.factory.executor import TaskEnded, ThreadExecutor
from ncagen.factory.make_shard import BuildJob, make
from ncagen.sources import source_of

POLL_SECONDS = 0.2  # after which progress is sent


@dataclass(frozen=True)
class Setup:
    """What a process makes shards of, in how many threads, and on which device."""

    job: BuildJob
    threads: int
    device: str = "cpu"


def main() -> None:
    """Runs until standard input says None or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes of a command
    logging.getLogger("ncagen.compile_notice").setLevel(logging.ERROR)  # the first process has said it
    incoming, outgoing = _pipes()
    try:
        setup: Setup = pickle.load(incoming)
        _check(setup.job, setup.device)
    except NcagenError as error:
        _send(outgoing, _portable(error))
        return
    except EOFError:
        os._exit(1)
    _send(outgoing, None)
    with ThreadExecutor(lambda task, report: make(setup.job, *task, report, setup.device), setup.threads) as pool:
        threading.Thread(target=_tell, args=(pool, outgoing), daemon=True).start()
        _listen(pool, incoming)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and standard output. Whatever prints later does not get into the latter."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return sys.stdin.buffer, outgoing


def _check(job: BuildJob, device: str) -> None:
    """Raises NcagenError where this process computes other rows, or does not see the folder that the build claimed."""
    source_of(job.spec).check(device)
    if not check(job):
        raise NcagenError(
            f"{job.folder} is not seen by other processes, which so many workers need: use fewer --workers"
        )


def _listen(pool: ThreadExecutor, incoming: BinaryIO) -> None:
    """Starts the tasks that come in, until None."""
    try:
        while (task := pickle.load(incoming)) is not None:
            pool.start(task)
    except EOFError:
        os._exit(1)  # at once: files that are half written have temporary names


def _tell(pool: ThreadExecutor, outgoing: BinaryIO) -> None:
    """Sends what happens in the pool, for ever."""
    while True:
        for event in pool.poll(POLL_SECONDS):
            if isinstance(event, TaskEnded) and isinstance(event.outcome, BaseException):
                event = replace(event, outcome=_portable(event.outcome))
            _send(outgoing, event)


def _send(outgoing: BinaryIO, message: object) -> None:
    try:
        pickle.dump(message, outgoing)
        outgoing.flush()
    except BrokenPipeError:
        os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """The error, or one with the same text where it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        text = str(error) if isinstance(error, NcagenError) else f"{type(error).__name__}: {error}"
        return NcagenError(text) if isinstance(error, NcagenError) else Exception(text)
