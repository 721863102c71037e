"""The library's cache, which `datasets` and everybody else write too: what is wrong in it is deleted and fetched again.

Whatever a file's fault is, it ends like this: too short, too long, changed, unreadable, a folder, a broken link. Where
the cache's own links give a file's hash, and no manifest does, they are what it is compared with.
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

from ncagen.dataset.folder import mapped
from ncagen.dataset.manifest import File
from ncagen.dataset.shard import DamagedShard
from ncagen.errors import NcagenError
from ncagen.hub.remote import KIND
from ncagen.hub.retry import Patience
from ncagen.version import VERSION

FETCHES = 3  # of one file, until it is the right one

# Few, because the library tries several times itself when it downloads.
TRIES = 4

# What says nothing about a file, but about this process.
_OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Check = Callable[[Path, pa.Buffer], bool]


def read(name: str, file: str, revision: str, most: int, check: Check, first: bool = False) -> tuple[Path, pa.Buffer]:
    """A file of a dataset: where it lies in the cache, and its bytes, `most` at most, that passed the check.

    Raises NcagenError; DamagedShard where the Hub itself sends others.
    """
    for _ in range(FETCHES):
        path = fetch(name, file, revision, first)
        data = _right(path, most, check)
        if data is not None:
            return path, data
    raise DamagedShard(f"its bytes do not match their hash, after {FETCHES} downloads")


def fetch(name: str, file: str, revision: str, first: bool = False) -> Path:
    """A file of the cache, fetched where it is not there. Nothing is checked. Raises NcagenError."""
    patience = Patience(name, revision, tries=TRIES)
    try:
        return Path(patience.run(lambda: _download(name, file, revision), first))
    except OSError as error:
        where = error.filename or huggingface_hub.constants.HF_HUB_CACHE
        raise NcagenError(
            f"{where} cannot be written ({error.strerror or error}): set HF_HUB_CACHE to a folder that can be"
        ) from None


def drop_wrong(name: str, file: str, revision: str, most: int, check: Check) -> None:
    """Deletes a file of the cache that does not pass the check: the library copies from there. Asks nobody."""
    path = huggingface_hub.try_to_load_from_cache(name, file, revision=revision, repo_type=KIND)
    if isinstance(path, str):
        _right(Path(path), most, check)


def is_of(wanted: File) -> Check:
    """The check against a manifest's size and hash."""
    return lambda path, data: right(data, wanted)


def right(data: pa.Buffer, wanted: File) -> bool:
    """Whether a file's bytes are those of a manifest."""
    return data.size == wanted.bytes and hashlib.sha256(data).hexdigest() == wanted.sha256


def named_right(path: Path, data: pa.Buffer) -> bool:
    """Whether a file's bytes are those that its link in the cache is named by; true where no link tells.

    It is named by the Hub's ETag: git's name of a small file, the SHA-256 of a large one. Other servers of the same
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


def _right(path: Path, most: int, check: Check) -> pa.Buffer | None:
    """A file's bytes if they can be had and pass the check; otherwise it is deleted."""
    there = _identity(path)
    try:
        data = mapped(path, most)
        if check(path, data):
            return data
    except OSError as error:
        if error.errno in _OUT_OF_ROOM:
            raise
    # Another reader that found it wrong may have fetched it meanwhile.
    if _identity(path) == there:
        forget(path)
    return None


def _identity(path: Path) -> tuple[int, ...]:
    """Tells a file from another that has taken its place; empty for none, or one that may not be looked at."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def forget(path: Path) -> None:
    """Deletes a file of the cache: the links that lead to it, and itself. Raises NcagenError where it may not be."""
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE).resolve()
    path, first = _placed(path), True
    # A link leads to a blob; what else it may lead to is not deleted.
    while path.is_relative_to(cache) and (first or "blobs" in (path.parent.name, path.parent.parent.name)):
        target, first = path.readlink() if path.is_symlink() else None, False
        try:
            _delete(path)
        except OSError as error:
            raise NcagenError(
                f"{path} is damaged and cannot be deleted ({error.strerror}): delete it, or set HF_HUB_CACHE to a"
                " folder that can be written"
            ) from None
        if target is None:
            return
        path = _placed(path.parent / target)


def _placed(path: Path) -> Path:
    """A path whose folder is without links; what it names itself may be one."""
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
