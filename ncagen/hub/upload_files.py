"""The files of a push: the shards as they lie in their folder, the manifest, and the card with the dataset's name.

A piece knows its hash, so that what the Hub has can be compared without sending or fetching anything.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd

from ncagen.dataset import card
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, Manifest
from ncagen.errors import NcagenError
from ncagen.hub.preview import Drawing
from ncagen.hub.remote import RemoteFile


@dataclass(frozen=True)
class Piece:
    """A file to be. source: the folder that it lies in under the same path, or its bytes."""

    path: str
    source: Folder | bytes
    size: int
    sha256: str

    def same(self, there: RemoteFile | None) -> bool:
        """Whether the Hub's file has these bytes."""
        if there is None or there.size != self.size:
            return False
        return there.sha256 == self.sha256 if there.sha256 else there.oid == self.oid

    @property
    def oid(self) -> str:
        """Git's name of the content, which the Hub gives for small files."""
        content = self.content()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def content(self) -> bytes:
        """The bytes. Of a folder of this machine they may have changed; a caller compares. Raises NcagenError."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read(self.path, self.size, checked=True).to_pybytes()
        except OSError as error:
            raise NcagenError(f"{self.source.path(self.path)} cannot be read: {error.strerror}") from None

    def addition(self) -> CommitOperationAdd:
        """What the library sends: from a file where there is one, so that it is not in memory as a whole."""
        if isinstance(self.source, Folder) and self.source.local:
            return CommitOperationAdd(self.path, str(self.source.local / self.path))
        return CommitOperationAdd(self.path, self.content())


def shards(folder: Folder, manifest: Manifest) -> list[Piece]:
    """Every shard, in the manifest's order."""
    return [Piece(path, folder, file.bytes, file.sha256) for path, file in manifest.files.items()]


def papers(folder: Folder, manifest: Manifest, name: str, picture: list[str], drawing: Drawing | None) -> list[Piece]:
    """The card, with its drawing, and the manifest, which say what the shards are. picture: lines of a histogram."""
    text = card.text(manifest, name, picture, drawing.rows if drawing else ()).encode()
    drawn = [_of_bytes(card.PICTURE, drawing.png)] if drawing else []
    said = folder.read(MANIFEST, MOST_BYTES).to_pybytes()
    return [*drawn, _of_bytes(card.CARD, text), _of_bytes(MANIFEST, said)]


def groups(pieces: list[Piece], most: int, most_bytes: int) -> Iterator[list[Piece]]:
    """The pieces in their order, at most so many and so many bytes at a time, one at least."""
    group: list[Piece] = []
    for piece in pieces:
        if group and (len(group) == most or sum(p.size for p in group) + piece.size > most_bytes):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _of_bytes(path: str, content: bytes) -> Piece:
    return Piece(path, content, len(content), hashlib.sha256(content).hexdigest())
