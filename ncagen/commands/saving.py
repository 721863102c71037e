"""Writes a page or picture to the file that the user named, whole or not at all."""

import errno
import os
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.atomic_write import write
from ncagen.errors import NcagenError


def save(path: Path, data: bytes) -> None:
    """Writes a file, in place of one that may be there. Raises NcagenError where there is no such folder; OSError."""
    if not path.absolute().parent.is_dir():
        raise NcagenError(f"{path}: {os.strerror(errno.ENOENT)}")
    write(path, pa.py_buffer(data))
