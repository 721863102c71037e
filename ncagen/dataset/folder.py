"""Where a dataset lies: a folder of this machine, or of any file system that a URL names.

Everything a reader takes from a dataset comes through `Folder.read`. Local files are mapped into memory, not copied;
those of other places (`s3://`, `gs://`, `memory://`, ...) are read whole, and nothing is cached on disk here. What a
build makes goes through `Folder.write` and is there whole or not at all. How either is done stands in `files` for this
machine and in `stores` for the others.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset import atomic_write
from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import check_size
from ncagen.dataset.urls import open_store, place_of
from ncagen.errors import NcagenError

# How long after its own write a build looks whether another has claimed the same place; a file of some kilobytes is
# written in a small part of it.
CLAIM_SECONDS = 2.0

_HASH = re.compile(r"[0-9a-f]{40,64}")


class Folder:
    """A dataset's folder. `str()` of it is what the user typed; names within it use forward slashes.

    revision: the commit that its files are of, where it is a place that has commits. local: its path, where it is of
    this machine. A process that unpickles it opens the place anew, with credentials of its own environment.

    Where a bucket is missing, or does not take one's credentials, everything raises NcagenError with one line that
    says so. OSError, with a `strerror` for the caller's line and a `filename`, is for what may pass: ConnectionError
    for a store out of reach.
    """

    revision: str | None = None

    def __init__(self, path: str | os.PathLike):
        """A path, or a URL with a scheme. Raises NcagenError for a URL that nothing installed can open, or now."""
        self._typed = os.fspath(path)
        self.local: Path | None = None
        if "://" not in self._typed:
            self.local = Path(self._typed)
        elif self._typed.startswith("file://"):
            self.local = _local(self._typed)
        else:
            try:
                self._store = open_store(self._typed)
            except OSError as error:
                raise NcagenError(f"{self._typed} cannot be opened: {error.strerror or one_line(error)}") from None

    def __str__(self) -> str:
        return self._typed

    def path(self, name: str) -> str:
        """How a file of the folder is named in a message."""
        return str(self.local / name) if self.local else f"{place_of(self._typed)}/{name}".rstrip("/")

    @property
    def title(self) -> str:
        """The dataset's name in a headline: the folder's own, without what it lies in."""
        return self.local.absolute().name if self.local else place_of(self._typed).rpartition("/")[2]

    @property
    def maps(self) -> bool:
        """Whether what `read` returns lies on this machine's disk, and is in memory only as long as there is room."""
        return self.local is not None

    @property
    def listable(self) -> bool:
        """Whether `names` can tell: a bucket may be open to reading and writing, and closed to listing."""
        if self.local:
            return True
        with self._format_error("", "listed"):
            return self._store.listable

    def has(self, name: str) -> bool:
        """Whether there is such a file. In a bucket this needs no permission to list. Raises OSError."""
        if self.local:
            return (self.local / name).is_file()
        with self._format_error(name, "read"):
            return self._store.has(name)

    def read(self, name: str, most: int, checked: bool = False) -> pa.Buffer:
        """All bytes of a file, which has `most` bytes at most.

        checked: the caller compares the bytes with a hash before anybody sees them. Then a link may lead out of the
        folder. Otherwise it may not, because a dataset from elsewhere must not make its reader open other files of
        this machine; but a link from a snapshot in the Hub's cache to a blob of the same repository may.
        Raises OSError, FileNotFoundError where there is no such file, and NcagenError for a link that may not be.
        """
        if self.local is None:
            with self._format_error(name, "read"):
                return self._store.read(name, most)
        try:
            path, root = (self.local / name).resolve(), self.local.resolve()
        except RuntimeError:  # what Python says of links in a circle before version 3.13
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path(name)) from None
        if not (checked or path.is_relative_to(root) or _is_blob(path, root)):
            raise NcagenError(f"{self.path(name)} leads out of the folder, to {path}: put the file itself there")
        return mapped(path, most)

    def write(self, name: str, data: pa.Buffer) -> None:
        """Puts a file there, in place of one that may be there: whole or not at all, at any moment. Raises OSError.

        Into an object store it is sent at once, so that there is never a temporary object.
        """
        if self.local:
            atomic_write.write(self.local / name, data)
            return
        with self._format_error(name, "written"):
            self._store.write(name, data)

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Puts a file there unless there is one, and whether it did: of several with different data, one does.

        On this machine the file system sees to that. Elsewhere nothing here can write on a condition, so this looks,
        writes, waits and looks again. Of two that both saw nothing, the last to write is the one that stays: the other
        wrote before it, waits for CLAIM_SECONDS and finds the last one's data then, as long as no more than that lies
        between the last one's look and the arrival of its write. Who writes the same data as another has also made it.
        Raises OSError.
        """
        if self.local:
            return atomic_write.create(self.local / name, data)
        if self.has(name):
            return False
        self.write(name, data)
        time.sleep(CLAIM_SECONDS)
        try:
            return self.read(name, data.size).equals(data)
        except OSError:  # larger, or gone again
            return False

    def remove(self, name: str) -> None:
        """Removes a file, if there is one. Raises OSError."""
        if self.local:
            (self.local / name).unlink(missing_ok=True)
            return
        try:
            with self._format_error(name, "deleted"):
                self._store.remove(name)
        except FileNotFoundError:
            pass

    def names(self) -> list[str]:
        """Every file within the folder but temporary ones, sorted; none where there is no folder. Raises OSError.

        None either where `listable` says that nobody may look.
        """
        if self.local:
            there = (path for path in self.local.rglob("*") if path.is_file() and not atomic_write.is_temporary(path))
            return sorted(path.relative_to(self.local).as_posix() for path in there)
        with self._format_error("", "listed"):
            return self._store.names()

    def remove_stale(self, other_hosts: bool = False) -> None:
        """Removes temporary files whose writers are gone; object stores have none. Raises OSError.

        other_hosts: also those of other machines. A writer that is still alive finds its file gone and writes it again.
        """
        if self.local:
            atomic_write.remove_stale(self.local, other_hosts)
            return
        with self._format_error("", "listed"):
            self._store.remove_stale(other_hosts)

    @contextmanager
    def _format_error(self, name: str, done: str) -> Iterator[None]:
        """One line for what a library of fsspec's raises: anything. An OSError tells which file it is about."""
        try:
            yield
        except NcagenError:
            raise
        except OSError as error:
            raise atomic_write.named(error, self.path(name)) from None
        except Exception as error:
            raise NcagenError(f"{self.path(name)} cannot be {done}: {one_line(error)}") from None

    def __reduce__(self):
        return Folder, (self._typed,)


def folder_at(place: str | os.PathLike | Folder) -> Folder:
    """The folder of a path or a URL, or the one that is given. Raises NcagenError as Folder does."""
    return place if isinstance(place, Folder) else Folder(place)


def mapped(path: Path, most: int) -> pa.Buffer:
    """All bytes of a local file, which has `most` bytes at most. Raises OSError with a `filename`."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever
            raise OSError("it is not a plain file")
        check_size(found.st_size, most)
        if found.st_size == 0:  # nothing can be mapped
            return pa.py_buffer(b"")
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except OSError as error:
        raise atomic_write.named(error, str(path)) from None


def _is_blob(path: Path, root: Path) -> bool:
    """Whether `path` lies where the Hub's cache keeps the files of the snapshot `root`, which holds links alone.

    These are HUB/datasets--USER--NAME/snapshots/COMMIT, its files HUB/datasets--USER--NAME/blobs/HASH and, shared by
    repositories, HUB/blobs/HH/HASH. Both paths are without links, so a `blobs` that is a link leads nowhere.
    """
    repository = root.parent.parent
    if root.parent.name != "snapshots" or not repository.name.startswith("datasets--"):
        return False
    kept = path.parent == repository / "blobs" or path.parent.parent == repository.parent / "blobs"
    return kept and _HASH.fullmatch(path.name) is not None


def _local(url: str) -> Path:
    """The path in a file:// URL."""
    try:
        return Path(fs.FileSystem.from_uri(url)[1] or "/")
    except (OSError, pa.ArrowException) as error:
        raise NcagenError(f"{url} cannot be opened: {one_line(error)}") from None
