"""A dataset on the Hub as a store to read from, at one commit, even if its branches move meanwhile.

`Cached` stores files in the library's cache, which `datasets` and other programs share, and works offline once they are
there. It compares each file with the manifest's hash before it returns it. `Streamed` stores nothing on disk.
"""

from functools import cached_property
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.index import INDEX
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, ManifestError, parse
from ncagen.dataset.shard import DamagedShard, File
from ncagen.dataset.stores import ReadableStore, exactly
from ncagen.dataset.urls import open_store
from ncagen.errors import NcagenError
from ncagen.hub.cache import TRIES, is_of, named_right, read
from ncagen.hub.remote import Remote
from ncagen.hub.retry import RetryPolicy


class Cached(ReadableStore):
    """The files of a commit, in the library's cache. text: its manifest.json, which was checked."""

    revision: str
    maps = True

    def __init__(self, repo: str, revision: str, text: bytes):
        super().__init__(f"{repo}@{revision[:12]}")
        self.repo, self.revision, self._text = repo, revision, text
        self.manifest = parse(text, self.path(MANIFEST), Folder(self))[0]

    @property
    def title(self) -> str:
        return self.repo

    @property
    def listable(self) -> bool:
        return self._listed is not None

    def has(self, name: str) -> bool:
        return name == MANIFEST or name in self._described or name in self.manifest.files

    def read(self, name: str, max_bytes: int, checked: bool = False) -> pa.Buffer:
        """All bytes of a file. Raises NcagenError; DamagedShard if the Hub's bytes are not the manifest's."""
        if name == MANIFEST:
            return _read_manifest(self.repo, self.revision)[1]
        wanted = self._described.get(name) or self.manifest.files[name]
        return read(self.repo, name, self.revision, max_bytes, is_of(wanted))[1]

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        whole = self._index if name == INDEX else self.read(name, MOST_BYTES)
        return exactly(whole[start : start + size], size, self.path(name))

    def names(self) -> list[str]:
        """The manifest, its index and the files under data/, which a reader may take for rows; others are left out."""
        return [name for name in self._listed or () if name in (MANIFEST, INDEX) or name.startswith("data/")]

    @property
    def _described(self) -> dict[str, File]:
        """The index, if there is one."""
        return {INDEX: self.manifest.index} if self.manifest.index else {}

    @cached_property
    def _index(self) -> pa.Buffer:
        """The index, which many ranges are read of, compared with its hash once."""
        return self.read(INDEX, MOST_BYTES)

    @cached_property
    def _listed(self) -> list[str] | None:
        """The commit's files; None if the Hub cannot be reached."""
        remote, retry = Remote(self.repo), RetryPolicy(self.repo, self.revision, tries=TRIES)
        try:
            return sorted(retry.run(lambda: remote.files(self.revision), first=True))
        except NcagenError:
            return None

    def __reduce__(self):
        return Cached, (self.repo, self.revision, self._text)


class Streamed(ReadableStore):
    """The files of a commit, read over the network into memory."""

    revision: str

    def __init__(self, repo: str, revision: str):
        self._store = open_store(f"hf://datasets/{repo}@{revision}")
        super().__init__(self._store.name)
        self.repo, self.revision = repo, revision

    @property
    def title(self) -> str:
        return self.repo

    def has(self, name: str) -> bool:
        return self._retry().run(lambda: self._store.has(name))

    def read(self, name: str, max_bytes: int, checked: bool = False) -> pa.Buffer:
        return self._retry().run(lambda: self._store.read(name, max_bytes, checked))

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        remote = Remote(self.repo)
        data = self._retry().run(lambda: remote.read_range(name, self.revision, start, size))
        return exactly(pa.py_buffer(data), size, self.path(name))

    def names(self) -> list[str]:
        return self._store.names()

    def _retry(self) -> RetryPolicy:
        return RetryPolicy(self.repo, self.revision, tries=TRIES)

    def __reduce__(self):
        return Streamed, (self.repo, self.revision)


def cached(name: str, revision: str) -> Cached:
    """A dataset at a revision's current commit or, without a network, its last known one. Raises NcagenError."""
    path, text = _read_manifest(name, revision, first=True)
    return Cached(name, path.parent.name, text.to_pybytes())  # the cache keeps a commit's files in a folder of its name


def streamed(name: str, revision: str) -> Streamed:
    """A dataset at a revision's current commit. Raises NcagenError."""
    remote = Remote(name)
    return Streamed(name, RetryPolicy(name, revision, tries=TRIES).run(lambda: remote.head(revision), first=True))


def _read_manifest(name: str, revision: str, first: bool = False) -> tuple[Path, pa.Buffer]:
    """The manifest's path in the cache and its bytes. Raises NcagenError.

    A manifest has no hash of itself, so it is compared with its name in the cache. Bytes that the Hub sends twice are
    accepted, because some servers use names that are not hashes of the content.
    """
    seen, damage = list[bytes](), list[ManifestError]()

    def is_right(path: Path, data: pa.Buffer) -> bool:
        text = data.to_pybytes()
        try:
            parse(text, f"{name}@{path.parent.name[:12]}/{MANIFEST}", Folder(path.parent))
        except ManifestError as error:
            damage.append(error)
            return False
        same = named_right(path, data) or text in seen
        seen.append(text)
        return same

    try:
        return read(name, MANIFEST, revision, MOST_BYTES, is_right, first)
    except DamagedShard as error:
        raise damage[-1] if damage else ManifestError(f"{name}/{MANIFEST}: {error}") from None
