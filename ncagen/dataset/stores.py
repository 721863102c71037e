"""Interfaces of a store of a dataset's files, one to read from and one to write to, and what the stores share.

    local.LocalStore          a folder on this machine; its files are mapped into memory
    s3.S3Store                a folder in a bucket, through botocore
    filesystems.ArrowStore    what pyarrow reaches: hdfs://, viewfs://
    filesystems.FsspecStore   what fsspec reaches: gs://, az://, memory://, sftp://, hf://, ...

`urls.open_store` chooses one, `folder.Folder` formats their errors. Names within a store use forward slashes. A store
reads files whole or by range, and writes them whole or not at all; nothing here caches on disk or appends.
"""

import errno
import time
from abc import ABC, abstractmethod

import pyarrow as pa

# How long `create_by_looking` waits for another's write; a file of some kilobytes is written in a small part of it.
CLAIM_SECONDS = 2.0


class ReadableStore(ABC):
    """Files that can be read. name: the path or URL as the user typed it.

    Every method raises OSError, with a `strerror` where the store has one: FileNotFoundError for a missing file,
    ConnectionError if the store cannot be reached; and NcagenError for what the user has to change.
    """

    # The commit that the files are of; None for a place without commits.
    revision: str | None = None

    # Whether `read` maps a file of this machine's disk, which stays in memory only while there is room.
    maps = False

    def __init__(self, name: str):
        self.name = name

    @property
    def title(self) -> str:
        """The dataset's name in a headline."""
        return self.path("").rpartition("/")[2]

    @property
    def listable(self) -> bool:
        """Whether `names` can list files: a bucket may allow reading and writing, and forbid listing."""
        return True

    def path(self, name: str) -> str:
        """How a file is named in a message: below the URL without its options."""
        return f"{self.name.partition('?')[0].rstrip('/')}/{name}".rstrip("/")

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a file. Needs no permission to list."""

    @abstractmethod
    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        """All bytes of a file of at most `max_bytes`. checked: the caller compares them with a hash before use."""

    @abstractmethod
    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        """Bytes `start` to `start + size` - 1 of a file, in one request. Raises RangesIgnored where it sends others."""

    @abstractmethod
    def names(self) -> list[str]:
        """Every file except temporary ones, sorted; empty if the folder is missing or not listable."""


class WritableStore(ReadableStore):
    """Files that can also be written, each of them whole or not at all at any moment. Opened anew by its name."""

    @abstractmethod
    def write(self, name: str, data: pa.Buffer) -> None:
        """Writes a file, and replaces an existing one."""

    @abstractmethod
    def create(self, name: str, data: pa.Buffer) -> bool:
        """Puts a file there unless there is one, and whether it did: of several writers one does."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""

    @abstractmethod
    def remove_stale(self, other_hosts: bool) -> None:
        """Removes temporary files whose writers have ended; `other_hosts`: and those of other machines."""


def check_size(size: int, max_bytes: int) -> None:
    """Raises OSError for a file of more than `max_bytes` bytes."""
    if size > max_bytes:
        raise OSError(f"it has {size} bytes, the limit is {max_bytes}")


class RangesIgnored(OSError):
    """A server that sends all of a file where a range was requested."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EIO, "the server sends whole files, not the requested range", path)


def exactly(data: pa.Buffer, size: int, path: str) -> pa.Buffer:
    """The bytes of a file's range, if they are as many as requested. Raises OSError, RangesIgnored."""
    if data.size > size:
        raise RangesIgnored(path)
    if data.size < size:
        raise OSError(errno.EIO, f"it ends early: {data.size} of {size} bytes requested are there", path)
    return data


def create_by_looking(store: WritableStore, name: str, data: pa.Buffer) -> bool:
    """`create` for a store without conditional writes: check, write, wait, and check again.

    Of two writers that both found nothing, the last one's data stays. The other one wrote before it, waits for
    CLAIM_SECONDS and then finds other data, if less time passes between the last writer's check and the arrival of its
    write. Two writers of the same data both get True. Raises OSError.
    """
    if store.has(name):
        return False
    store.write(name, data)
    time.sleep(CLAIM_SECONDS)
    try:
        return store.read(name, data.size, checked=True).equals(data)
    except OSError:  # larger, or removed since
        return False
