"""Fetches a whole dataset from the Hub: into the library's cache, or into a folder.

A folder is filled as a build fills it: every shard is checked and renamed atomically, and the manifest comes last, so a
stopped pull can be resumed and never looks finished. Files already in the folder are not fetched. The library's
download into a folder is used, so that no file is on the disk twice.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pyarrow as pa

from ncagen.dataset.atomic_write import write
from ncagen.dataset.card import CARD, PICTURE
from ncagen.dataset.folder import Folder
from ncagen.dataset.index import INDEX
from ncagen.dataset.local import mapped
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, Manifest, read_manifest
from ncagen.dataset.shard import DamagedShard, File
from ncagen.errors import NcagenError
from ncagen.hub.cache import FETCHES, drop_wrong, is_of, named_right, right
from ncagen.hub.folders import Cached
from ncagen.hub.remote import KIND
from ncagen.hub.retry import RetryPolicy
from ncagen.version import VERSION

Progress = Callable[[int], None]

MAX_DOCUMENT_BYTES = 2**26  # limit of a card or its picture, which have some kilobytes

DOWNLOADS = ".cache/huggingface"  # where the library keeps what it is downloading into a folder


def pull(source: Cached, out: Path | None, retry: RetryPolicy, progress: Progress = lambda size: None) -> Manifest:
    """Fetches every file; only into the cache if `out` is None. progress(bytes) is called for each checked file.

    Returns the manifest. Raises NcagenError; after it the same call resumes.
    """
    manifest = read_manifest(Folder(source))
    if out is None:
        for path, file in manifest.hashed_files():
            source.read(path, file.bytes)
            progress(file.bytes)
        return manifest
    try:
        _fill(source, out, manifest, retry, progress)
    except OSError as error:
        raise _disk_error(out, error) from error
    return manifest


def _fill(source: Cached, out: Path, manifest: Manifest, retry: RetryPolicy, progress: Progress) -> None:
    """Fetches every missing file into the folder. Raises OSError for errors of the disk."""
    _check_folder(out, manifest)
    for path, file in manifest.hashed_files():
        if not _right(out / path, file):
            _fetch(source, out, path, file, retry)
        progress(file.bytes)
    card = _document(source, out, CARD, retry)
    if f"({PICTURE})".encode() in card:
        write(out / PICTURE, pa.py_buffer(_document(source, out, PICTURE, retry)))
    write(out / CARD, pa.py_buffer(card))
    write(out / MANIFEST, source.read(MANIFEST, MOST_BYTES))
    shutil.rmtree(out / DOWNLOADS, ignore_errors=True)
    _drop_empty((out / DOWNLOADS).parent)


def _document(source: Cached, out: Path, name: str, retry: RetryPolicy) -> bytes:
    """A file without a hash in the manifest."""
    drop_wrong(source.repo, name, source.revision, MAX_DOCUMENT_BYTES, named_right)
    return _download(source, out, name, retry).read_bytes()


def _disk_error(out: Path, error: OSError) -> NcagenError:
    """The error to raise for an error of the disk, with one line for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(next(path for path in (out, *out.absolute().parents) if path.exists())).free
        return NcagenError(
            f"no space left in {out}: {free / 1e6:.1f} MB are free; make room and run the same command to resume"
        )
    return NcagenError(f"{error.filename or out} cannot be written ({error.strerror or error}): use another --out")


def _check_folder(out: Path, manifest: Manifest) -> None:
    """Raises NcagenError if the folder holds another dataset or unrelated files."""
    if (out / MANIFEST).is_file():
        there = read_manifest(out)
        if there.files == manifest.files:
            return
        raise NcagenError(f"{out} holds another dataset (sha256 {there.dataset_sha256}): use another --out")
    ours = {*manifest.files, INDEX, CARD, PICTURE}
    for found in sorted(out.rglob("*")) if out.is_dir() else []:
        name = found.relative_to(out).as_posix()
        if found.is_file() and name not in ours and not name.startswith(f"{DOWNLOADS}/"):
            raise NcagenError(f"{out} holds unrelated files ({name}): use another --out")


def _fetch(source: Cached, out: Path, path: str, file: File, retry: RetryPolicy) -> None:
    """Downloads a shard until its bytes match their hash, FETCHES times at most."""
    for _ in range(FETCHES):
        drop_wrong(source.repo, path, source.revision, file.bytes, is_of(file))  # the library copies from its cache
        downloaded = _download(source, out, path, retry)
        if _right(downloaded, file):
            return
        downloaded.unlink()
    raise DamagedShard(f"{source.path(path)}: its bytes do not match their hash, after {FETCHES} downloads")


def _download(source: Cached, out: Path, path: str, retry: RetryPolicy) -> Path:
    def download() -> str:
        return huggingface_hub.hf_hub_download(
            source.repo,
            path,
            repo_type=KIND,
            revision=source.revision,
            local_dir=out,
            library_name="ncagen",
            library_version=VERSION,
        )

    return Path(retry.run(download))


def _right(path: Path, file: File) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    return right(mapped(path, file.bytes), file)


def _drop_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
