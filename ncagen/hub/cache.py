"""Checks files of the library's cache; faulty ones are deleted and fetched again.

Other programs, such as `datasets`, write this cache too. All faults are handled alike: too short, too long, changed,
unreadable, a folder, a broken link. For a file without a hash in the manifest, the hash in the cache's link is used,
where there is one.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pyarrow as pa

from ncagen.dataset.local import mapped
from ncagen.dataset.shard import DamagedShard, File
from ncagen.errors import NcagenError
from ncagen.hub.remote import KIND
from ncagen.hub.retry import RetryPolicy
from ncagen.version import VERSION

FETCHES = 3  # of one file, until its bytes match their hash

# Few, because the library tries several times itself when it downloads.
TRIES = 4

# Errors that are about this process, not about a file.
_OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Check = Callable[[Path, pa.Buffer], bool]


def read(
    name: str, file: str, revision: str, max_bytes: int, check: Check, first: bool = False
) -> tuple[Path, pa.Buffer]:
    """Reads a file of a dataset: its path in the cache, and its bytes, which passed the check; `max_bytes` at most.

    first: see `RetryPolicy.run`. Raises NcagenError; DamagedShard if the Hub sends other bytes.
    """
    for _ in range(FETCHES):
        path = fetch(name, file, revision, first)
        data = _right(path, max_bytes, check)
        if data is not None:
            return path, data
    raise DamagedShard(f"its bytes do not match their hash, after {FETCHES} downloads")


def fetch(name: str, file: str, revision: str, first: bool = False) -> Path:
    """The path of a file in the cache, fetched if it is missing. Its bytes are not checked. Raises NcagenError."""
    retry = RetryPolicy(name, revision, tries=TRIES)
    try:
        return Path(retry.run(lambda: _download(name, file, revision), first))
    except OSError as error:
        where = error.filename or huggingface_hub.constants.HF_HUB_CACHE
        raise NcagenError(
            f"{where} cannot be written ({error.strerror or error}): set HF_HUB_CACHE to a writable folder"
        ) from None


def drop_wrong(name: str, file: str, revision: str, max_bytes: int, check: Check) -> None:
    """Deletes a file of the cache that fails the check, since the library copies from there. Makes no request."""
    path = huggingface_hub.try_to_load_from_cache(name, file, revision=revision, repo_type=KIND)
    if isinstance(path, str):
        _right(Path(path), max_bytes, check)


def is_of(wanted: File) -> Check:
    """A check against a manifest's size and hash."""
    return lambda path, data: right(data, wanted)


def right(data: pa.Buffer, wanted: File) -> bool:
    """Whether a file's bytes have the size and hash of a manifest."""
    return data.size == wanted.bytes and hashlib.sha256(data).hexdigest() == wanted.sha256


def named_right(path: Path, data: pa.Buffer) -> bool:
    """Whether a file's bytes match the hash that its link in the cache is named by; true without such a link.

    The name is the Hub's ETag: git's name of a small file, the SHA-256 of a large one. Other servers of the same
    protocol give a plain SHA-1.
    """
    name = path.readlink().name if path.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{64}", name):
        return hashlib.sha256(data).hexdigest() == name
    if re.fullmatch("[0-9a-f]{40}", name):
        git = hashlib.sha1(b"blob %d\0" % data.size)
        git.update(data)
        return name in (git.hexdigest(), hashlib.sha1(data).hexdigest())
    return True


def _right(path: Path, max_bytes: int, check: Check) -> pa.Buffer | None:
    """A file's bytes if they can be read and pass the check; otherwise None, and the file is deleted."""
    there = _identity(path)
    try:
        data = mapped(path, max_bytes)
        if check(path, data):
            return data
    except OSError as error:
        if error.errno in _OUT_OF_ROOM:
            raise
    # Another reader may have found the fault and fetched the file again meanwhile.
    if _identity(path) == there:
        forget(path)
    return None


def _identity(path: Path) -> tuple[int, ...]:
    """Identifies a file, to notice its replacement; empty for a missing or unreadable one."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def forget(path: Path) -> None:
    """Deletes a file of the cache and the links to it. Raises NcagenError if that is not permitted."""
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE).resolve()
    path, first = _placed(path), True
    # A link points to a blob; any other target is not deleted.
    while path.is_relative_to(cache) and (first or "blobs" in (path.parent.name, path.parent.parent.name)):
        target, first = path.readlink() if path.is_symlink() else None, False
        try:
            _delete(path)
        except OSError as error:
            raise NcagenError(
                f"{path} is damaged and cannot be deleted ({error.strerror}): delete it, or set HF_HUB_CACHE to a"
                " writable folder"
            ) from None
        if target is None:
            return
        path = _placed(path.parent / target)


def _placed(path: Path) -> Path:
    """The path with its folder's links resolved; the last part may be a link."""
    path = Path(os.path.normpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _download(name: str, file: str, revision: str) -> str:
    return huggingface_hub.hf_hub_download(
        name, file, repo_type=KIND, revision=revision, library_name="ncagen", library_version=VERSION
    )
