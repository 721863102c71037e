"""Where a dataset lies: a folder of this machine, or of any file system that a URL names.

Everything a reader takes from a dataset comes through `Folder.read`. Local files are mapped into memory, not copied;
other places (`s3://`, `gs://`, `memory://`, ...) are read whole, through pyarrow where it knows the scheme and through
fsspec, if that is installed, where it does not. Nothing is cached on disk here, and nothing is written.
"""

import os
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ncagen.errors import NcagenError


class Folder:
    """A dataset's folder. `str()` of it is what the user typed; names within it use forward slashes."""

    def __init__(self, path: "str | os.PathLike | Folder"):
        """A path, a URL with a scheme, or a Folder. Raises NcagenError for a URL that nothing installed can open."""
        self._typed = str(path) if isinstance(path, Folder) else os.fspath(path)
        self.local = None if "://" in self._typed else Path(self._typed)
        if self.local is None:
            self._filesystem, self._root = _filesystem(self._typed)

    def __str__(self) -> str:
        return self._typed

    def path(self, name: str) -> str:
        """How a file of the folder is named in a message."""
        return str(self.local / name) if self.local else f"{self._typed.rstrip('/')}/{name}"

    def has(self, name: str) -> bool:
        """Whether there is such a file. Raises OSError where this cannot be told."""
        if self.local:
            return (self.local / name).is_file()
        return self._filesystem.get_file_info(f"{self._root}/{name}").type == fs.FileType.File

    def read(self, name: str) -> pa.Buffer:
        """All bytes of a file.

        Raises OSError, and NcagenError for a link that leads out of the folder: a dataset from elsewhere must not
        make its reader open other files of this machine.
        """
        if self.local is None:
            with self._filesystem.open_input_file(f"{self._root}/{name}") as file:
                return file.read_buffer()
        path = (self.local / name).resolve()
        if not path.is_relative_to(self.local.resolve()):
            raise NcagenError(f"{self.path(name)} leads out of the folder, to {path}: put the file itself there")
        if path.stat().st_size == 0:  # nothing can be mapped
            return pa.py_buffer(b"")
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()

    def __reduce__(self):
        return Folder, (self._typed,)


def _filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URL and the folder's path in it."""
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid:
        pass
    except (OSError, pa.ArrowException) as error:
        raise NcagenError(f"{url} cannot be opened: {(str(error).splitlines() or ['unknown'])[0]}") from None
    else:
        return filesystem, path.rstrip("/")
    scheme = url.split("://", 1)[0]
    try:
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(url)
    except ImportError as error:
        raise NcagenError(f"{scheme}:// needs {error.name}: pip install {error.name}") from None
    except ValueError:
        raise NcagenError(
            f"{url} has no scheme that can be read: use a folder, s3://, gs:// or one of fsspec"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path.rstrip("/")
