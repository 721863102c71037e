"""Where a dataset lies: a folder of this machine, or of any file system that a URL names.

Everything a reader takes from a dataset comes through `Folder.read`. Local files are mapped into memory, not copied;
other places (`s3://`, `gs://`, `memory://`, ...) are read whole, through pyarrow where it knows the scheme and through
fsspec, if that is installed, where it does not. Nothing is cached on disk here, and nothing is written.
"""

import errno
import os
import stat
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ncagen.errors import NcagenError


class Folder:
    """A dataset's folder. `str()` of it is what the user typed; names within it use forward slashes.

    revision: the commit that its files are of, where it is a place that has commits.
    """

    revision: str | None = None

    def __init__(self, path: str | os.PathLike):
        """A path, or a URL with a scheme. Raises NcagenError for a URL that nothing installed can open."""
        self._typed = os.fspath(path)
        self.local: Path | None = None
        if "://" not in self._typed:
            self.local = Path(self._typed)
        else:
            self._filesystem, self._root = _filesystem(self._typed)
            if isinstance(self._filesystem, fs.LocalFileSystem):
                self.local = Path(self._root or "/")

    def __str__(self) -> str:
        return self._typed

    def path(self, name: str) -> str:
        """How a file of the folder is named in a message."""
        return str(self.local / name) if self.local else f"{self._typed.rstrip('/')}/{name}"

    @property
    def maps(self) -> bool:
        """Whether what `read` returns lies on this machine's disk, and is in memory only as long as there is room."""
        return self.local is not None

    def has(self, name: str) -> bool:
        """Whether there is such a file. Raises OSError where this cannot be told."""
        if self.local:
            return (self.local / name).is_file()
        return self._filesystem.get_file_info(f"{self._root}/{name}").type == fs.FileType.File

    def read(self, name: str, most: int) -> pa.Buffer:
        """All bytes of a file, which has `most` bytes at most.

        Raises OSError, and NcagenError for a link that leads out of the folder: a dataset from elsewhere must not
        make its reader open other files of this machine.
        """
        if self.local is None:
            try:
                with self._filesystem.open_input_file(f"{self._root}/{name}") as file:
                    _check_size(file.size(), most)
                    return file.read_buffer()
            except FileNotFoundError:  # in the words of a local one; some say the path alone
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        try:
            path = (self.local / name).resolve()
        except RuntimeError:  # what Python says of links in a circle before version 3.13
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        if not path.is_relative_to(self.local.resolve()):
            raise NcagenError(f"{self.path(name)} leads out of the folder, to {path}: put the file itself there")
        return mapped(path, most)

    def __reduce__(self):
        return Folder, (self._typed,)


def folder_at(place: str | os.PathLike | Folder) -> Folder:
    """The folder of a path or a URL, or the one that is given. Raises NcagenError as Folder does."""
    return place if isinstance(place, Folder) else Folder(place)


def mapped(path: Path, most: int) -> pa.Buffer:
    """All bytes of a local file, which has `most` bytes at most. Raises OSError."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever
        raise OSError("it is not a plain file")
    _check_size(found.st_size, most)
    if found.st_size == 0:  # nothing can be mapped
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise OSError(f"it has {size} bytes, and may have {most}")


def _filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL and the folder's path in it."""
    scheme = url.split("://", 1)[0]
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as error:
        if scheme == "file" or not isinstance(error, pa.ArrowInvalid):  # what is invalid may be a scheme of fsspec's
            raise NcagenError(f"{url} cannot be opened: {(str(error).splitlines() or ['unknown'])[0]}") from None
    else:
        return filesystem, path.rstrip("/")
    try:
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(url)
    except ImportError as error:
        module = (error.name or "").split(".")[0]
        needs = f"{module}: pip install {module}" if module else f"more than fsspec: {error}"
        raise NcagenError(f"{scheme}:// needs {needs}") from None
    except ValueError:
        raise NcagenError(
            f"{url} has no scheme that can be read: use a folder, file://, s3://, gs:// or one of fsspec"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path.rstrip("/")
