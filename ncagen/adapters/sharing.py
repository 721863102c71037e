"""Shares between the processes of a PyTorch reader what must be equal in all: the rank and the current pass.

A DataLoader starts its workers for each pass, or keeps them, and passes them no information either way: not that a new
pass starts, nor that `set_epoch` or `load_state_dict` was called. So the next pass is in shared memory, which every
process reads when its first batch is requested.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import torch
from torch.utils.data import get_worker_info

from ncagen.dataset.passes import Memory, Span
from ncagen.errors import NcagenError

SLOTS = 256  # claims that are kept: of the last iterations, so that those that start together find theirs
_NEXT, _CURRENT, _COUNT, _CLAIMS = 0, 2, 4, 5  # words: a span has two, the count of claims one, a claim three
_NONE = -1


class SharedMemory(Memory):
    """The next pass, in memory that forked and spawned workers share. Pickled outside of a DataLoader, it is a copy.

    The first worker of an iteration takes the next pass and writes a claim with the iteration's token, which its
    siblings share and find.
    """

    def __init__(self) -> None:
        self._words = torch.full((_CLAIMS + 3 * SLOTS,), _NONE, dtype=torch.int64).share_memory_()
        self._words[_COUNT] = 0
        self._begun = 0  # passes of this process, where it is a worker

    @property
    def next(self) -> Span:
        """The pass that begins next."""
        return _span(self._words[_NEXT:_CURRENT].tolist())

    @property
    def current(self) -> Span | None:
        """The pass that began last; None where none has begun since `move`."""
        words = self._words[_CURRENT:_CLAIMS].tolist()
        return None if words[0] == _NONE else _span(words)

    def move(self, span: Span) -> None:
        """Makes a span the next pass; none is in progress then."""
        self._write(_CURRENT, [_NONE, _NONE])
        self._write(_NEXT, _words(span))

    def begin(self, after: Callable[[Span], Span]) -> Span:
        """Takes the next pass, in a worker the one that its siblings take. after(span): the pass that follows one."""
        info = get_worker_info()
        token = _token(info.seed - info.id, self._begun) if info else 0
        self._begun += 1
        with _alone():
            claimed = self._claimed(token) if info else None
            if claimed is not None:
                return claimed
            if info:
                words = _words(self.next)
                count = int(self._words[_COUNT])
                self._write(_CLAIMS + 3 * (count % SLOTS), [*words, token ^ _digest(words)])
                self._write(_COUNT, [count + 1])
            return self.take(self.next, after)

    def take(self, span: Span, after: Callable[[Span], Span]) -> Span:
        """Makes a span the pass in progress, and what follows it the next."""
        self._write(_CURRENT, _words(span))
        self._write(_NEXT, _words(after(span)))
        return span

    def _claimed(self, token: int) -> Span | None:
        """The span of a claim with this token. One that is half written has another."""
        words = self._words[_CLAIMS:].tolist()
        for start, end, mark in zip(words[::3], words[1::3], words[2::3], strict=True):
            if start != _NONE and mark ^ _digest([start, end]) == token:
                return _span([start, end])
        return None

    def _write(self, at: int, words: list[int]) -> None:
        self._words[at : at + len(words)] = torch.tensor(words, dtype=torch.int64)

    def __getstate__(self) -> dict:
        return {"_words": self._words}

    def __setstate__(self, state: dict) -> None:
        self._words, self._begun = state["_words"].share_memory_(), 0  # no change where it is shared, as in a worker


@contextmanager
def _alone() -> Iterator[None]:
    """Excludes other processes for a moment, by a lock that the system takes back from one that is ended.

    Any file that every process can open will do. Where the system has no such locks, only iterations that begin in
    the same millisecond can disturb each other.
    """
    try:
        import fcntl

        file = Path(__file__).open("rb")  # noqa: SIM115
    except (ImportError, OSError):
        yield
        return
    with file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def worker() -> tuple[int, int]:
    """This process's number among a DataLoader's workers, and how many there are."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)


def ranks() -> tuple[int, int]:
    """This process's rank, and how many there are: of torch.distributed, or of the launcher's RANK and WORLD_SIZE."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    named = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
    if all(text.isascii() and text.isdecimal() for text in named) and int(named[0]) < int(named[1]):
        return int(named[0]), int(named[1])
    return 0, 1


def refuse_accelerate(name: str, instead: str) -> None:
    """Raises NcagenError where Accelerate reads: it divides one rank's share again, and counts epochs from 0.

    A dataset cannot ask who reads it, and Accelerate marks neither it nor the process; so this looks who called. Its
    loaders call `set_epoch` in every process before they read, whatever their workers. instead: what to type.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "accelerate.data_loader":
            raise NcagenError(f"accelerate would divide {name} among the ranks again: {instead}")
        frame = frame.f_back


def _token(seed: int, number: int) -> int:
    """What the workers of one iteration share, and no others have: a 64-bit number.

    seed: torch's, drawn for each iteration, or once for workers that are kept, which count their passes by themselves.
    Who seeds torch alike before each pass gets it again; so what their results go through counts too.
    """
    return _digest([_results(), seed, number])


def _results() -> tuple[int, str]:
    """The queue for the results of this iteration's workers: its pipe's inode, and the name of its semaphore.

    A forked worker has no such name, and Windows no inode. Where neither is found, torch's seed has to do.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (frame.f_code.co_name == "_worker_loop" and "data_queue" in frame.f_locals):
        frame = frame.f_back
    queue = frame.f_locals["data_queue"] if frame is not None else None
    lock = getattr(getattr(queue, "_rlock", None), "_semlock", None)
    try:
        inode = os.fstat(queue._reader.fileno()).st_ino  # type: ignore[union-attr]
    except (AttributeError, OSError):
        inode = 0
    return inode, str(getattr(lock, "name", ""))


def _digest(values: list) -> int:
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=8).digest(), "little", signed=True)


def _span(words: list[int]) -> Span:
    return Span(words[0], None if words[1] == _NONE else words[1])


def _words(span: Span) -> list[int]:
    return [span.start, _NONE if span.end is None else span.end]
