"""A dataset on the Hub as a folder to read from, at one commit, whatever its branches do meanwhile.

`Cached` keeps files in the library's own cache, where `datasets` and everybody else finds them too, and works without a
network once they are there. It holds each file against the manifest's hash before it gives it out; a wrong one is
deleted and fetched again, a few times. `Streamed` keeps nothing on disk.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
import pyarrow as pa

from ncagen.dataset.folder import Folder, mapped
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, File, ManifestError, parse
from ncagen.dataset.shard import DamagedShard
from ncagen.errors import NcagenError
from ncagen.hub.patience import Patience
from ncagen.hub.remote import KIND, Remote
from ncagen.version import VERSION

FETCHES = 3  # of one file, until it is what the manifest says

# Few, because the library tries several times itself when it downloads.
TRIES = 4


class Cached(Folder):
    """The files of a commit, in the library's cache. files: size and hash of every shard."""

    revision: str

    def __init__(self, name: str, revision: str, files: Mapping[str, File]):
        self.name, self.revision, self.files, self.local = name, revision, files, None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:12]}"

    def path(self, name: str) -> str:
        return f"{self}/{name}"

    @property
    def maps(self) -> bool:
        return True

    def has(self, name: str) -> bool:
        return name == MANIFEST or name in self.files

    def read(self, name: str, most: int) -> pa.Buffer:
        """All bytes of a file. Raises NcagenError; DamagedShard where the Hub itself has others than the manifest."""
        for _ in range(FETCHES):
            path = fetch(self.name, name, self.revision)
            try:
                data = mapped(path, most)
            except FileNotFoundError:  # another reader found it wrong, and fetches it
                continue
            if name == MANIFEST or right(data, self.files[name]):
                return data
            forget(path)
        raise DamagedShard(f"its bytes do not match their hash, after {FETCHES} downloads")

    def __reduce__(self):
        return Cached, (self.name, self.revision, self.files)


class Streamed(Folder):
    """The files of a commit, read over the network into memory."""

    def __init__(self, name: str, revision: str):
        super().__init__(f"hf://datasets/{name}@{revision}")
        self.name, self.revision = name, revision

    def has(self, name: str) -> bool:
        return Patience(self.name, self.revision, tries=TRIES).run(lambda: self._store.has(name))

    def read(self, name: str, most: int) -> pa.Buffer:
        return Patience(self.name, self.revision, tries=TRIES).run(lambda: self._store.read(name, most))

    def __reduce__(self):
        return Streamed, (self.name, self.revision)


def cached(name: str, revision: str) -> Cached:
    """A dataset at the commit that a revision names now or, without a network, named when it was last asked for."""
    damage: ManifestError | None = None
    for _ in range(FETCHES):
        path = fetch(name, MANIFEST, revision, first=True)
        sha = path.parent.name  # the cache keeps a commit's files in a folder of its name
        try:
            manifest, _ = parse(mapped(path, MOST_BYTES).to_pybytes(), f"{name}@{sha[:12]}/{MANIFEST}")
            return Cached(name, sha, manifest.files)
        except ManifestError as error:
            damage = error
            forget(path)
    assert damage is not None
    raise damage


def streamed(name: str, revision: str) -> Streamed:
    """A dataset at the commit that a revision names now."""
    remote = Remote(name)
    return Streamed(name, Patience(name, revision, tries=TRIES).run(lambda: remote.head(revision), first=True))


def fetch(name: str, file: str, revision: str, first: bool = False) -> Path:
    """A file of the cache, fetched where it is not there. Raises NcagenError."""
    patience = Patience(name, revision, tries=TRIES)
    try:
        return Path(patience.run(lambda: _download(name, file, revision), first))
    except OSError as error:
        where = error.filename or huggingface_hub.constants.HF_HUB_CACHE
        raise NcagenError(
            f"{where} cannot be written ({error.strerror or error}): set HF_HUB_CACHE to a folder that can be"
        ) from None


def forget(path: Path) -> None:
    """Deletes a file of the cache: the links that lead to it, and itself."""
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE).resolve()
    while path.absolute().is_relative_to(cache):
        target = path.parent / path.readlink() if path.is_symlink() else None
        path.unlink(missing_ok=True)
        if target is None:
            return
        path = Path(os.path.normpath(target))


def _download(name: str, file: str, revision: str) -> str:
    return huggingface_hub.hf_hub_download(
        name, file, repo_type=KIND, revision=revision, library_name="ncagen", library_version=VERSION
    )


def right(data: pa.Buffer, wanted: File) -> bool:
    """Whether a file's bytes are those of a manifest."""
    return data.size == wanted.bytes and hashlib.sha256(data).hexdigest() == wanted.sha256
