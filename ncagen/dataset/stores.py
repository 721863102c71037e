"""The file systems that are not this machine's: files are read whole, and written whole or not at all.

What is particular to S3 stands in `s3`, what a URL means in `urls`, what a folder of a dataset is in `folder`.
"""

import ctypes
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset.atomic_write import is_of_other_host, is_stale, is_temporary, temporary_name

# fsspec's names of stores in which an object appears when all of it was sent, and not before.
ATOMIC = {"abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "memory", "oss", "r2", "s3", "s3a"}


class Store:
    """A place in a file system of pyarrow's. Paths are names within it, with forward slashes.

    listable: whether `names` may look. Raises FileNotFoundError, and OSError or whatever else the file system says.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str):
        self._filesystem, self._root = filesystem, root.rstrip("/")

    @property
    def listable(self) -> bool:
        return True

    def has(self, name: str) -> bool:
        return self._filesystem.get_file_info(self._path(name)).type == fs.FileType.File

    def read(self, name: str, most: int) -> pa.Buffer:
        try:
            with self._filesystem.open_input_file(self._path(name)) as file:
                check_size(file.size(), most)
                return file.read_buffer()
        except FileNotFoundError:  # in the words of a local one; some say the path alone
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def write(self, name: str, data: pa.Buffer) -> None:
        """Under a temporary name first: what another reader sees under the final one is whole."""
        path = PurePosixPath(name)
        temporary = self._path(str(path.with_name(temporary_name(path.name))))
        self._filesystem.create_dir(str(PurePosixPath(temporary).parent), recursive=True)
        self._put(temporary, data)
        self._filesystem.move(temporary, self._path(name))

    def remove(self, name: str) -> None:
        self._filesystem.delete_file(self._path(name))

    def names(self) -> list[str]:
        """All files but temporary ones, sorted; none where there is no such place."""
        return [name for name in self._all_names() if not is_temporary(PurePosixPath(name))]

    def remove_stale(self, other_hosts: bool) -> None:
        """Removes temporary files whose writers are gone, as `atomic_write.remove_stale` does."""
        for name in self._all_names():
            path = PurePosixPath(name)
            if is_temporary(path) and (is_stale(path) or (other_hosts and is_of_other_host(path))):
                self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _all_names(self) -> list[str]:
        try:
            found = self._filesystem.get_file_info(fs.FileSelector(self._root, recursive=True))
        except FileNotFoundError:
            return []
        return sorted(info.path[len(self._root) + 1 :] for info in found if info.type == fs.FileType.File)

    def _put(self, path: str, data: pa.Buffer) -> None:
        put(self._filesystem, path, data)


class Fsspec(Store):
    """A place that is reached through fsspec. It remembers listings, and is told to forget them: others write too."""

    def __init__(self, filesystem: fs.PyFileSystem, root: str):
        super().__init__(filesystem, root)
        self._fs = filesystem.handler.fs
        protocol = self._fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)

    def has(self, name: str) -> bool:
        self._forget()
        return super().has(name)

    def read(self, name: str, most: int) -> pa.Buffer:
        self._forget()
        return super().read(name, most)

    def write(self, name: str, data: pa.Buffer) -> None:
        if self._protocols & ATOMIC:
            self._put(self._path(name), data)
        else:
            super().write(name, data)

    def remove_stale(self, other_hosts: bool) -> None:
        if not self._protocols & ATOMIC:
            super().remove_stale(other_hosts)

    def _all_names(self) -> list[str]:
        self._forget()
        return super()._all_names()

    def _put(self, path: str, data: pa.Buffer) -> None:
        self._fs.pipe_file(path, data.to_pybytes())

    def _forget(self) -> None:
        if "hf" not in self._protocols:  # the files of a commit stay as they are
            self._fs.invalidate_cache()


class Objects(Store):
    """A place in an object store that pyarrow knows: an object is there when its stream was closed, not before."""

    def write(self, name: str, data: pa.Buffer) -> None:
        self._put(self._path(name), data)

    def remove_stale(self, other_hosts: bool) -> None:
        """There are no temporary files."""


def put(filesystem: fs.FileSystem, path: str, data: pa.Buffer) -> None:
    """Writes a file to a file system of pyarrow's, all of it or, in an object store, nothing.

    A stream of pyarrow's that goes away before it is closed makes an object of what it was given so far, be it nothing.
    So there is no moment at which that could happen: it is given all at once, in a thread that no Ctrl-C reaches; what
    the network does shows in close(), which gives up for good; and if memory ends within write(), the stream is left
    where it is for ever.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_put, filesystem, path, data).result()


def _put(filesystem: fs.FileSystem, path: str, data: pa.Buffer) -> None:
    stream = filesystem.open_output_stream(path)
    try:
        stream.write(data)
    except BaseException:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
        raise
    stream.close()


def check_size(size: int, most: int) -> None:
    """Raises OSError for a file of more than `most` bytes."""
    if size > most:
        raise OSError(f"it has {size} bytes, and may have {most}")
