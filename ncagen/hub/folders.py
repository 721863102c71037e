"""A dataset on the Hub as a folder to read from, at one commit, whatever its branches do meanwhile.

`Cached` keeps files in the library's own cache, where `datasets` and everybody else finds them too, and works without a
network once they are there. It compares each file with the manifest's hash before it gives it out. `Streamed` keeps
nothing on disk.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, File, Manifest, ManifestError, parse
from ncagen.dataset.shard import DamagedShard
from ncagen.errors import NcagenError
from ncagen.hub.cache import TRIES, is_of, named_right, read
from ncagen.hub.remote import Remote
from ncagen.hub.retry import Patience


class Cached(Folder):
    """The files of a commit, in the library's cache. files: size and hash of every shard."""

    revision: str

    def __init__(self, name: str, revision: str, files: Mapping[str, File]):
        self.name, self.revision, self.files, self.local = name, revision, files, None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision[:12]}"

    def path(self, name: str) -> str:
        return f"{self}/{name}".rstrip("/")

    @property
    def title(self) -> str:
        return self.name

    @property
    def maps(self) -> bool:
        return True

    @property
    def listable(self) -> bool:
        return self._listed is not None

    def has(self, name: str) -> bool:
        return name == MANIFEST or name in self.files

    def read(self, name: str, most: int, checked: bool = False) -> pa.Buffer:
        """All bytes of a file. Raises NcagenError; DamagedShard where the Hub itself has others than the manifest."""
        if name == MANIFEST:
            return _manifest(self.name, self.revision)[1]
        return read(self.name, name, self.revision, most, is_of(self.files[name]))[1]

    def names(self) -> list[str]:
        """The files of the commit that a reader of the dataset may take for rows; what else is there is the Hub's."""
        return [name for name in self._listed or () if name == MANIFEST or name.startswith("data/")]

    @cached_property
    def _listed(self) -> list[str] | None:
        """What the Hub lists; None where it is out of reach."""
        remote, patience = Remote(self.name), Patience(self.name, self.revision, tries=TRIES)
        try:
            return sorted(patience.run(lambda: remote.files(self.revision), first=True))
        except NcagenError:
            return None

    def __reduce__(self):
        return Cached, (self.name, self.revision, self.files)


class Streamed(Folder):
    """The files of a commit, read over the network into memory."""

    def __init__(self, name: str, revision: str):
        super().__init__(f"hf://datasets/{name}@{revision}")
        self.name, self.revision = name, revision

    @property
    def title(self) -> str:
        return self.name

    def has(self, name: str) -> bool:
        return Patience(self.name, self.revision, tries=TRIES).run(lambda: self._store.has(name))

    def read(self, name: str, most: int, checked: bool = False) -> pa.Buffer:
        return Patience(self.name, self.revision, tries=TRIES).run(lambda: self._store.read(name, most))

    def __reduce__(self):
        return Streamed, (self.name, self.revision)


def cached(name: str, revision: str) -> Cached:
    """A dataset at the commit that a revision names now or, without a network, named when it was last asked for."""
    path, _, manifest = _manifest(name, revision, first=True)
    return Cached(name, path.parent.name, manifest.files)  # the cache keeps a commit's files in a folder of its name


def streamed(name: str, revision: str) -> Streamed:
    """A dataset at the commit that a revision names now."""
    remote = Remote(name)
    return Streamed(name, Patience(name, revision, tries=TRIES).run(lambda: remote.head(revision), first=True))


def _manifest(name: str, revision: str, first: bool = False) -> tuple[Path, pa.Buffer, Manifest]:
    """Where the manifest lies in the cache, its bytes and what they say. Raises NcagenError.

    No manifest has a hash for itself, so it is compared with the name that the cache gives it. What comes from the
    Hub twice in the same words is believed: there are servers whose names are not hashes of the content.
    """
    seen, found, damage = list[bytes](), list[Manifest](), list[ManifestError]()

    def is_right(path: Path, data: pa.Buffer) -> bool:
        text = data.to_pybytes()
        try:
            found.append(parse(text, f"{name}@{path.parent.name[:12]}/{MANIFEST}")[0])
        except ManifestError as error:
            damage.append(error)
            return False
        same = named_right(path, data) or text in seen
        seen.append(text)
        return same

    try:
        path, data = read(name, MANIFEST, revision, MOST_BYTES, is_right, first)
    except DamagedShard as error:
        raise damage[-1] if damage else ManifestError(f"{name}/{MANIFEST}: {error}") from None
    return path, data, found[-1]
