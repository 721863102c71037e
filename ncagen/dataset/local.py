"""A folder on this machine: files are mapped into memory, not copied, and written by `atomic_write`."""

import errno
import os
import re
import stat
import sys
from pathlib import Path

import pyarrow as pa

from ncagen.dataset import atomic_write
from ncagen.dataset.stores import WritableStore, check_size, exactly
from ncagen.errors import NcagenError

_HASH = re.compile(r"[0-9a-f]{40,64}")


class LocalStore(WritableStore):
    """A folder, which need not exist. root: its path. name: what the user typed for it, a path or a file:// URL."""

    maps = True

    def __init__(self, root: Path, name: str):
        super().__init__(name)
        self.root = root

    @property
    def title(self) -> str:
        """The folder's name without its parents."""
        return self.root.absolute().name

    def path(self, name: str) -> str:
        return str(self.root / name)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        """Maps a file. With `checked`, a link may lead out of the folder.

        Otherwise it may not, because a dataset from elsewhere must not make its reader open other files of this
        machine; but a link from a snapshot in the Hub's cache to a blob of the same repository may. Raises OSError, and
        NcagenError for a link that may not be followed.
        """
        try:
            path, root = (self.root / name).resolve(), self.root.resolve()
        except RuntimeError:  # what Python raises for a circle of links before version 3.13
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path(name)) from None
        if not (checked or path.is_relative_to(root) or _is_blob(path, root)):
            raise NcagenError(f"{self.path(name)} is a link out of the folder, to {path}: replace it with the file")
        return mapped(path, max_bytes)

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        whole = self.read(name, sys.maxsize, checked=False)
        return exactly(whole[start : start + size], size, self.path(name))

    def names(self) -> list[str]:
        there = (path for path in self.root.rglob("*") if path.is_file() and not atomic_write.is_temporary(path))
        return sorted(path.relative_to(self.root).as_posix() for path in there)

    def write(self, name: str, data: pa.Buffer) -> None:
        atomic_write.write(self.root / name, data)

    def create(self, name: str, data: pa.Buffer) -> bool:
        return atomic_write.create(self.root / name, data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def remove_stale(self, other_hosts: bool) -> None:
        """Removes temporary files; a writer that is still at work finds its file gone and writes it again."""
        atomic_write.remove_stale(self.root, other_hosts)


def mapped(path: Path, max_bytes: int) -> pa.Buffer:
    """All bytes of a local file of at most `max_bytes`. Raises OSError with a `filename`."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would block for ever
            raise OSError("it is not a plain file")
        check_size(found.st_size, max_bytes)
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
