"""Writes local files atomically: a file is under its final name complete and synced, or not at all.

A file is written under a temporary name that identifies its writer, `.NAME~HOST~PROCESS~RANDOM.tmp`, so the leftovers
of a killed process can be distinguished from a file that another process is writing. Remote files are written by the
other stores; see `stores`.
"""

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pyarrow as pa

from ncagen.dataset.shard import one_line

TRIES = 3

# The classes that callers tell apart; OSError itself becomes the one that belongs to its number.
_KINDS = (FileNotFoundError, NotADirectoryError, PermissionError, ConnectionError, TimeoutError, OSError)


def write(path: Path, data: pa.Buffer) -> None:
    """Puts a file under its final name, whole or not at all: unique temporary name, fsync, rename. Raises OSError."""
    for tries_left in reversed(range(TRIES)):
        try:
            with _temporary(path, data) as temporary:
                temporary.replace(path)
            break
        except FileNotFoundError:  # swept by a build that ended on another machine
            if not tries_left:
                raise
        except OSError as error:  # the user knows the final name
            raise OSError(error.errno, error.strerror, str(path)) from None
    sync_folder(path.parent)


def create(path: Path, data: pa.Buffer) -> bool:
    """Writes a file unless it exists; returns whether it did: of several processes, one does.

    A link fails if the name exists, and names a complete file in one step. On a file system without links the name is
    checked before a rename, so two processes at the same moment may both get True. Raises OSError.
    """
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            if path.exists():
                return False
            temporary.replace(path)
    sync_folder(path.parent)
    return True


@contextmanager
def _temporary(path: Path, data: pa.Buffer) -> Iterator[Path]:
    """A file beside `path` with these bytes on disk, which is gone afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with temporary.open("xb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:  # a full disk says nothing of the file
                raise named(error, str(path)) from None
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def named(error: OSError, path: str) -> OSError:
    """Returns the error with a `strerror` and a `filename`, which many errors of libraries lack.

    The class is kept if it is one of Python's, so that a caller can recognize temporary errors.
    """
    if error.strerror and error.filename is not None:
        return error
    said = (error.errno or errno.EIO, error.strerror or one_line(error), error.filename or path)
    return next(kind for kind in _KINDS if isinstance(error, kind))(*said)


def remove_stale(folder: Path, other_hosts: bool = False) -> None:
    """Removes temporary files whose writers have ended, in a folder and its subfolders.

    other_hosts: also those of other hosts, whose processes cannot be checked from here.
    """
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path) and (is_stale(path) or (other_hosts and is_of_other_host(path))):
            path.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """A name that no other file has, for a file of this name that this process writes."""
    return f".{name}~{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}.tmp"


def sync_folder(folder: Path) -> None:
    """Syncs a folder, so that a rename in it survives a power cut, on systems that support that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: PurePath) -> bool:
    """Whether this is the name of a file being written."""
    return path.name.startswith(".") and path.name.endswith(".tmp") and path.name.count("~") == 3


def is_of_other_host(path: PurePath) -> bool:
    """Whether a temporary file's writer is, or was, a process of another machine."""
    return path.name.split("~")[1] != socket.gethostname()


def is_stale(path: PurePath) -> bool:
    """Whether a temporary file's writer is gone: a process of this host that runs no more, or this one itself."""
    process = path.name.split("~")[2]
    if is_of_other_host(path) or not process.isdigit() or os.name != "posix":
        return False  # elsewhere signal 0 is not a question but a signal
    if int(process) == os.getpid():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
