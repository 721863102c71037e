"""Fetches a whole dataset from the Hub: into the library's cache, or into a folder.

A folder is filled as a build fills it: every shard is checked and gets its name whole or not at all, and the manifest
comes last, so a pull that was stopped goes on and never looks finished. What the folder has already is not fetched. The
library's own download into a folder is used, so that nothing lies on the disk twice.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pyarrow as pa

from ncagen.dataset.card import CARD, PICTURE
from ncagen.dataset.files import write
from ncagen.dataset.folder import mapped
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, File, Manifest, read_manifest
from ncagen.dataset.shard import DamagedShard
from ncagen.errors import NcagenError
from ncagen.hub.folders import FETCHES, Cached, right
from ncagen.hub.patience import Patience
from ncagen.hub.remote import KIND
from ncagen.version import VERSION

Progress = Callable[[int], None]

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
    _check_folder(out, manifest)
    for path, file in manifest.files.items():
        if not _right(out / path, file):
            _fetch(source, out, path, file, patience)
        progress(file.bytes)
    for name in _papers(_download(source, out, CARD, patience).read_text("utf-8")):
        write(out / name, pa.py_buffer(_download(source, out, name, patience).read_bytes()))
    write(out / MANIFEST, source.read(MANIFEST, MOST_BYTES))
    shutil.rmtree(out / DOWNLOADS, ignore_errors=True)
    _drop_empty((out / DOWNLOADS).parent)
    return manifest


def _papers(card: str) -> list[str]:
    """The card and what it shows."""
    return [PICTURE, CARD] if f"({PICTURE})" in card else [CARD]


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
