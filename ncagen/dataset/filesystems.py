"""Stores on top of a file system of pyarrow or fsspec.

Where a file system shows a file before it is complete, the file is written under a temporary name and renamed. Object
stores need no temporary name: an object appears once all of it has arrived.
"""

import errno
import os
from contextlib import suppress
from inspect import signature
from pathlib import PurePosixPath

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset.atomic_write import is_of_other_host, is_stale, is_temporary, temporary_name
from ncagen.dataset.stores import WritableStore, check_size, create_by_looking, exactly

# fsspec's names of object stores.
ATOMIC = {"abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "memory", "oss", "r2", "s3", "s3a"}


class ArrowStore(WritableStore):
    """A folder in one of pyarrow's file systems. url: what the user typed. root: its path in that file system."""

    def __init__(self, url: str, filesystem: fs.FileSystem, root: str):
        super().__init__(url)
        self._filesystem, self._root = filesystem, root.rstrip("/")

    def has(self, name: str) -> bool:
        return self._filesystem.get_file_info(self._key(name)).type == fs.FileType.File

    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        try:
            with self._filesystem.open_input_file(self._key(name)) as file:
                check_size(file.size(), max_bytes)
                return file.read_buffer()
        except FileNotFoundError:  # some give the path alone as the reason
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        try:
            with self._filesystem.open_input_file(self._key(name)) as file:
                return exactly(pa.py_buffer(file.read_at(size, start)), size, self.path(name))
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def names(self) -> list[str]:
        return [name for name in self._all_names() if not is_temporary(PurePosixPath(name))]

    def write(self, name: str, data: pa.Buffer) -> None:
        path = PurePosixPath(name)
        temporary = self._key(str(path.with_name(temporary_name(path.name))))
        self._filesystem.create_dir(str(PurePosixPath(temporary).parent), recursive=True)
        self._put(temporary, data)
        self._filesystem.move(temporary, self._key(name))

    def create(self, name: str, data: pa.Buffer) -> bool:
        return create_by_looking(self, name, data)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(self._key(name))

    def remove_stale(self, other_hosts: bool) -> None:
        for name in self._all_names():
            path = PurePosixPath(name)
            if is_temporary(path) and (is_stale(path) or (other_hosts and is_of_other_host(path))):
                self.remove(name)

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _all_names(self) -> list[str]:
        try:
            found = self._filesystem.get_file_info(fs.FileSelector(self._root, recursive=True))
        except FileNotFoundError:
            return []
        return sorted(info.path[len(self._root) + 1 :] for info in found if info.type == fs.FileType.File)

    def _put(self, key: str, data: pa.Buffer) -> None:
        with self._filesystem.open_output_stream(key) as stream:
            stream.write(data)


class FsspecStore(ArrowStore):
    """A folder that is reached through fsspec.

    fsspec caches listings, which are invalidated here, because other processes write too. Its libraries may raise
    errors that are not an OSError.
    """

    def __init__(self, url: str, filesystem: fs.PyFileSystem, root: str):
        super().__init__(url, filesystem, root)
        self._fs = filesystem.handler.fs
        protocol = self._fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_atomic = bool(self._protocols & ATOMIC)

    def has(self, name: str) -> bool:
        self._forget()
        return super().has(name)

    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        self._forget()
        return super().read(name, max_bytes, checked)

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        """One request where the library has one for a range; a file that is opened reads no more than that."""
        key, end = self._key(name), start + size
        try:
            if self._fs.async_impl:
                found = self._fs.cat_file(key, start=start, end=end)
            else:  # with `size` most libraries need not look for the file first
                with self._fs.open(key, "rb", cache_type="none", size=end) as file:
                    file.seek(start)
                    found = file.read(size)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        return exactly(pa.py_buffer(found), size, self.path(name))

    def write(self, name: str, data: pa.Buffer) -> None:
        if self._is_atomic:
            self._put(self._key(name), data)
        else:
            super().write(name, data)

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Writes on a condition where the library offers that: newer ones of object stores do."""
        if not self._is_atomic or "mode" not in signature(self._fs.pipe_file).parameters:
            return super().create(name, data)
        try:
            self._fs.pipe_file(self._key(name), data.to_pybytes(), mode="create")
        except FileExistsError:
            return False
        return True

    def remove_stale(self, other_hosts: bool) -> None:
        if not self._is_atomic:
            super().remove_stale(other_hosts)

    def _all_names(self) -> list[str]:
        self._forget()
        return super()._all_names()

    def _put(self, key: str, data: pa.Buffer) -> None:
        self._fs.pipe_file(key, data.to_pybytes())

    def _forget(self) -> None:
        if "hf" not in self._protocols:  # the files of a commit do not change
            self._fs.invalidate_cache()
