"""Fetches a whole dataset from the Hub: into the library's cache, or into a folder.

A folder is filled as a build fills it: every shard is checked and gets its name whole or not at all, and the manifest
comes last, so a pull that was stopped goes on and never looks finished. What the folder has already is not fetched. The
library's own download into a folder is used, so that nothing lies on the disk twice.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pyarrow as pa

from ncagen.dataset.atomic_write import write
from ncagen.dataset.card import CARD, PICTURE
from ncagen.dataset.folder import mapped
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, File, Manifest, read_manifest
from ncagen.dataset.shard import DamagedShard
from ncagen.errors import NcagenError
from ncagen.hub.cache import FETCHES, drop_wrong, is_of, named_right, right
from ncagen.hub.folders import Cached
from ncagen.hub.remote import KIND
from ncagen.hub.retry import Patience
from ncagen.version import VERSION

Progress = Callable[[int], None]

PAPER_BYTES = 2**26  # of a card or its picture, which have some kilobytes

DOWNLOADS = ".cache/huggingface"  # where the library keeps what it is downloading into a folder


def pull(source: Cached, out: Path | None, patience: Patience, progress: Progress = lambda size: None) -> Manifest:
    """Fetches every file; into the cache alone where `out` is None. progress(bytes) as they are there and right.

    Raises NcagenError; the same call goes on.
    """
    manifest = read_manifest(source)
    if out is None:
        for path, file in manifest.files.items():
            source.read(path, file.bytes)
            progress(file.bytes)
        return manifest
    try:
        _fill(source, out, manifest, patience, progress)
    except OSError as error:
        raise _explained(out, error) from error
    return manifest


def _fill(source: Cached, out: Path, manifest: Manifest, patience: Patience, progress: Progress) -> None:
    """Brings every file to the folder. Raises OSError for what the disk says."""
    _check_folder(out, manifest)
    for path, file in manifest.files.items():
        if not _right(out / path, file):
            _fetch(source, out, path, file, patience)
        progress(file.bytes)
    card = _paper(source, out, CARD, patience)
    if f"({PICTURE})".encode() in card:
        write(out / PICTURE, pa.py_buffer(_paper(source, out, PICTURE, patience)))
    write(out / CARD, pa.py_buffer(card))
    write(out / MANIFEST, source.read(MANIFEST, MOST_BYTES))
    shutil.rmtree(out / DOWNLOADS, ignore_errors=True)
    _drop_empty((out / DOWNLOADS).parent)


def _paper(source: Cached, out: Path, name: str, patience: Patience) -> bytes:
    """A file without a hash in the manifest."""
    drop_wrong(source.name, name, source.revision, PAPER_BYTES, named_right)
    return _download(source, out, name, patience).read_bytes()


def _explained(out: Path, error: OSError) -> NcagenError:
    """One line for what the disk said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(next(path for path in (out, *out.absolute().parents) if path.exists())).free
        return NcagenError(
            f"no space left in {out}: {free / 1e6:.1f} MB are free; make room and run the same command to go on"
        )
    return NcagenError(f"{error.filename or out} cannot be written ({error.strerror or error}): use another --out")


def _check_folder(out: Path, manifest: Manifest) -> None:
    """Raises NcagenError for a folder that holds something else."""
    if (out / MANIFEST).is_file():
        there = read_manifest(out)
        if there.files == manifest.files:
            return
        raise NcagenError(f"{out} holds another dataset (sha256 {there.dataset_sha256}): use another --out")
    ours = {*manifest.files, CARD, PICTURE}
    for found in sorted(out.rglob("*")) if out.is_dir() else []:
        name = found.relative_to(out).as_posix()
        if found.is_file() and name not in ours and not name.startswith(f"{DOWNLOADS}/"):
            raise NcagenError(f"{out} holds files that are not ours ({name}): use another --out")


def _fetch(source: Cached, out: Path, path: str, file: File, patience: Patience) -> None:
    """Downloads a shard until it is right, a few times at most."""
    for _ in range(FETCHES):
        drop_wrong(source.name, path, source.revision, file.bytes, is_of(file))  # the library copies from its cache
        place = _download(source, out, path, patience)
        if _right(place, file):
            return
        place.unlink()
    raise DamagedShard(f"{source.path(path)}: its bytes do not match their hash, after {FETCHES} downloads")


def _download(source: Cached, out: Path, path: str, patience: Patience) -> Path:
    def download() -> str:
        return huggingface_hub.hf_hub_download(
            source.name,
            path,
            repo_type=KIND,
            revision=source.revision,
            local_dir=out,
            library_name="ncagen",
            library_version=VERSION,
        )

    return Path(patience.run(download))


def _right(path: Path, file: File) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    return right(mapped(path, file.bytes), file)


def _drop_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
