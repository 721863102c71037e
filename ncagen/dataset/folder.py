"""A dataset's folder: a store, the name that the user typed for it, and errors that name the file they are about.

`stores` defines the interfaces of a store; `urls` chooses the store for a path or a URL.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.atomic_write import named
from ncagen.dataset.local import LocalStore
from ncagen.dataset.s3 import S3Store
from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import ReadableStore, WritableStore
from ncagen.dataset.urls import open_store
from ncagen.errors import NcagenError


class Folder:
    """A dataset's folder in any store. `str()` returns what the user typed; names use forward slashes.

    Raises NcagenError, with one line for the user, for a missing bucket or refused credentials. Raises OSError, with a
    `strerror` and a `filename`, for faults that may be temporary: ConnectionError for a store that cannot be reached. A
    process that unpickles a folder opens it again, with the credentials of its environment.
    """

    def __init__(self, place: str | os.PathLike | ReadableStore):
        """A path, a URL with a scheme, or a store. Raises NcagenError for a URL that nothing installed can open."""
        self._store = open_store(os.fspath(place)) if not isinstance(place, ReadableStore) else place

    def __str__(self) -> str:
        return self._store.name

    def path(self, name: str) -> str:
        """How a file of the folder is named in a message."""
        return self._store.path(name)

    def within(self, path: str) -> "Folder":
        """A folder within this one, which need not exist. Of a URL, options such as ?region=... stay."""
        place, question, options = self._store.name.partition("?") if "://" in str(self) else (str(self), "", "")
        return Folder(f"{place.rstrip('/')}/{path}{question}{options}")

    @property
    def title(self) -> str:
        """The dataset's name for a headline: the folder's name without its parents."""
        return self._store.title

    @property
    def revision(self) -> str | None:
        """The commit of its files, for stores that have commits."""
        return self._store.revision

    @property
    def local(self) -> Path | None:
        """Its path, if it is on this machine."""
        return self._store.root if isinstance(self._store, LocalStore) else None

    @property
    def maps(self) -> bool:
        """Whether `read` returns mapped files on a local disk, which use memory only while it is free."""
        return self._store.maps

    @property
    def listable(self) -> bool:
        """Whether `names` can list files: a bucket may allow reading and forbid listing. Raises OSError."""
        with self._naming("", "listed"):
            return self._store.listable

    def has(self, name: str) -> bool:
        """Whether there is such a file. In a bucket this needs no permission to list. Raises OSError."""
        with self._naming(name, "read"):
            return self._store.has(name)

    def read(self, name: str, max_bytes: int, checked: bool = False) -> pa.Buffer:
        """All bytes of a file, `max_bytes` at most.

        checked: the caller compares the bytes with a hash before it uses them; then a link of a local folder may point
        out of it. Raises OSError, FileNotFoundError for a missing file, and NcagenError for a link that is refused.
        """
        with self._naming(name, "read"):
            return self._store.read(name, max_bytes, checked)

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        """Bytes `start` to `start + size` - 1 of a file. Raises OSError, also where there are fewer; RangesIgnored."""
        with self._naming(name, "read"):
            return self._store.read_range(name, start, size)

    def names(self) -> list[str]:
        """Every file in the folder except temporary ones, sorted; empty if the folder is missing or not `listable`.

        Raises OSError.
        """
        with self._naming("", "listed"):
            return self._store.names()

    def write(self, name: str, data: pa.Buffer) -> None:
        """Writes a file atomically, and replaces an existing one. Raises OSError."""
        with self._naming(name, "written"):
            self._writable.write(name, data)

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Puts a file there unless there is one, and whether it did: of several with different data, one does.

        Raises OSError.
        """
        with self._naming(name, "written"):
            return self._writable.create(name, data)

    def remove(self, name: str) -> None:
        """Removes a file, if there is one. Raises OSError."""
        with self._naming(name, "deleted"):
            self._writable.remove(name)

    def remove_stale(self, other_hosts: bool = False) -> None:
        """Removes temporary files whose writers have ended. Raises OSError.

        other_hosts: also those of other hosts, whose processes cannot be checked from here.
        """
        with self._naming("", "listed"):
            self._writable.remove_stale(other_hosts)

    @property
    def _writable(self) -> WritableStore:
        if not isinstance(self._store, WritableStore):
            raise NcagenError(f"{self} can only be read: use a folder or a URL such as s3://bucket/name")
        return self._store

    @contextmanager
    def _naming(self, name: str, done: str) -> Iterator[None]:
        """Makes an OSError tell which file it is about; libraries of fsspec raise other errors too."""
        try:
            yield
        except NcagenError:
            raise
        except OSError as error:
            raise named(error, self.path(name)) from None
        except Exception as error:
            if isinstance(self._store, LocalStore | S3Store):  # these raise nothing else: it is a mistake of ours
                raise
            raise NcagenError(f"{self.path(name)} cannot be {done}: {one_line(error)}") from None

    def __reduce__(self):
        store = self._store
        return Folder, (store.name if isinstance(store, WritableStore) else store,)


def folder_at(place: str | os.PathLike | Folder) -> Folder:
    """The folder of a path or a URL, or the one that is given. Raises NcagenError as Folder does."""
    return place if isinstance(place, Folder) else Folder(place)
