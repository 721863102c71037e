"""Opens one shard of a manifest from all of its bytes; `ranges` opens one from its footer."""

import hashlib

import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.shard import DamagedShard, Record
from ncagen.dataset.shard_file import ShardFile, check_size


def open_shard(
    folder: Folder, manifest: Manifest, record: Record, check: bool = True, trusted: bool = True
) -> ShardFile:
    """One shard, its size and, with `check`, its hash compared. Raises DamagedShard, OSError.

    trusted: whether its hash is or was compared, so that it may be a link out of the folder, and that its
    pages may have another layout than ours.
    """
    data = read_shard(folder, manifest, record, check, trusted)
    return ShardFile(data, manifest.file_format, manifest.row_format, record, trusted, checksums=not check)


def read_shard(
    folder: Folder, manifest: Manifest, record: Record, check: bool = True, trusted: bool = True
) -> pa.Buffer:
    """The bytes of a shard's file, compared as `open_shard` does. Raises DamagedShard, OSError."""
    wanted = manifest.files[manifest.path(record)]
    check_size(wanted.bytes, manifest.row_format, record)
    data = folder.read(manifest.path(record), wanted.bytes, checked=trusted)
    if data.size != wanted.bytes:
        raise DamagedShard(f"it has {data.size} bytes, not {wanted.bytes}")
    if check and hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise DamagedShard("its bytes do not match their hash")
    return data


class naming:
    """Adds the shard's path to an error, which becomes a DamagedShard."""

    def __init__(self, folder: Folder, manifest: Manifest, record: Record):
        self._path = folder.path(manifest.path(record))

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError):
            raise DamagedShard(f"{self._path}: {error.strerror or error}") from None
        if isinstance(error, DamagedShard):
            raise DamagedShard(f"{self._path}: {error}") from None
