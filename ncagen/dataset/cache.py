"""A cache of row groups and footers on disk, shared by the processes of a machine.

    CACHE/ab/abcd...     an entry: bytes under their own sha256
    CACHE/locks/abc      who fetches entries whose hash begins so
    CACHE/size           bytes of all entries, in 20 digits, locked while it changes

An entry gets its name complete or not at all, and is compared with its name whenever it is used: one that is damaged is
removed and fetched again, so nothing is synced. Of several processes that want an entry one fetches it while the others
wait; the system takes a lock back from a process that is ended. The entries used last stay.

Whatever fails here (a full disk, a folder that is read-only) costs requests and never rows: reading continues without
the cache, after one warning. Not covered: systems and file systems without flock, where two processes may fetch the
same entry, and the count may be too low.
"""

import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.shard_file import Span

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A fetch that takes longer is not waited for: its process may be stopped.
LOCK_SECONDS = 60.0
LOOK_SECONDS = 0.01

# A file of a process that was ended while it wrote.
STALE_SECONDS = 3600.0

# So much of the limit is left after entries were removed: it is done seldom, since it looks at all of them.
KEPT = 0.9

_ENTRY = re.compile("[0-9a-f]{64}")
_DIGITS = 20
_LOG = logging.getLogger("ncagen")
_warned: set[Path] = set()

Fetch = Callable[[Sequence[Span]], Sequence[pa.Buffer]]
"""Spans of a file to their bytes, whose hashes were compared. Raises OSError, DamagedShard."""


class DiskCache:
    """The entries in a folder, which need not exist. limit: their bytes at most."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit

    def get(self, spans: Sequence[Span], fetch: Fetch) -> list[pa.Buffer]:
        """The bytes of spans of one file; those that are not here are fetched in one call, and kept.

        Raises what `fetch` raises.
        """
        found = {span: self._load(span) for span in spans}
        if missing := [span for span in spans if found[span] is None]:
            with self._alone(missing):
                found |= {span: self._load(span) for span in missing}  # another process may have fetched it
                missing = [span for span in missing if found[span] is None]
                for span, data in zip(missing, fetch(missing) if missing else [], strict=True):
                    found[span] = data
                    self._store(span, data)
        return [data for span in spans if (data := found[span]) is not None]

    def _path(self, span: Span) -> Path:
        return self.folder / span.sha256[:2] / span.sha256

    def _load(self, span: Span) -> pa.Buffer | None:
        """An entry's bytes; None where it is missing, or was damaged and is removed."""
        path = self._path(span)
        try:
            with path.open("rb") as file:
                data = file.read(span.size + 1)
        except OSError:
            return None
        is_right = len(data) == span.size and hashlib.sha256(data).hexdigest() == span.sha256
        with suppress(OSError):  # a folder that is read-only can be read
            os.utime(path) if is_right else path.unlink()
        return pa.py_buffer(data) if is_right else None

    def _store(self, span: Span, data: pa.Buffer) -> None:
        """Keeps an entry, if it can."""
        if self.folder in _warned or span.size > self.limit:
            return
        path = self._path(span)
        temporary = path.with_name(f"{os.getpid()}-{secrets.token_hex(8)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                if self._make_room(span.size):  # counted before it is an entry: a process may be ended between
                    temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            self._warn(error)

    def _make_room(self, size: int) -> bool:
        """Counts a temporary file of so many bytes, others removed where they are too many; False if it has no room.

        Temporary files that are not counted yet may be counted twice, which is put right when all are looked at again.
        Raises OSError.
        """
        with _locked(self.folder / "size", LOCK_SECONDS) as file:
            digits = os.read(file, _DIGITS + 1)
            total = int(digits) + size if len(digits) == _DIGITS and digits.isdigit() else self.limit + 1
            if total > self.limit:
                total = self._remove_oldest(int(self.limit * KEPT))
            fits = total <= self.limit
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, b"%0*d" % (_DIGITS, total if fits else total - size))
            os.ftruncate(file, _DIGITS)
        return fits

    def _remove_oldest(self, limit: int) -> int:
        """Removes the entries used longest ago until all files have `limit` bytes, and returns how many they have.

        Only files that are being written can be more.
        """
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for used, size, path in entries:
            if path.suffix and time.time() - used < STALE_SECONDS:  # being written
                continue
            if total > limit or path.suffix:
                path.unlink(missing_ok=True)
                total -= size
        return total

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each entry or temporary file was used, its bytes, its path."""
        for folder in self.folder.glob("[0-9a-f][0-9a-f]"):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    if _ENTRY.fullmatch(path.name) or path.suffix == ".tmp":
                        found = path.stat()
                        yield found.st_mtime, found.st_size, path

    @contextmanager
    def _alone(self, spans: Iterable[Span]) -> Iterator[None]:
        """Excludes others that want the same entries; in one order, so that no two wait for each other."""
        deadline = time.monotonic() + LOCK_SECONDS
        with ExitStack() as held:
            try:
                if self.folder not in _warned:
                    (self.folder / "locks").mkdir(parents=True, exist_ok=True)
                    for name in sorted({span.sha256[:3] for span in spans}):
                        held.enter_context(_locked(self.folder / "locks" / name, deadline - time.monotonic()))
            except OSError as error:
                self._warn(error)
            yield

    def _warn(self, error: OSError) -> None:
        """Once in a process for each folder."""
        if self.folder not in _warned:
            _warned.add(self.folder)
            why = error.strerror or error
            _LOG.warning(f"the cache {self.folder} cannot be written ({why}): reading continues without it")


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[int]:
    """An open file that no other process or thread has locked; after `seconds` it is used all the same. Raises OSError.

    It is unlocked by hand because a forked process shares the lock, and would keep it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            _lock(file, time.monotonic() + seconds)
        yield file
    finally:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _lock(file: int, deadline: float) -> None:
    """Locks an open file, unless the deadline comes first or its file system has no locks."""
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(LOOK_SECONDS)
        except OSError:
            return None
