"""Lists the files of a push: the shards and their index, the manifest, and the card with the dataset's name.

Each file has its hash, so it can be compared with the Hub's without sending or fetching anything.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd

from ncagen.dataset import card
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import MANIFEST, MOST_BYTES, Manifest
from ncagen.errors import NcagenError
from ncagen.hub.card import CardExtras
from ncagen.hub.remote import RemoteFile


@dataclass(frozen=True)
class UploadFile:
    """A file to upload. source: the folder that has it under the same path, or its bytes. size: bytes."""

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
        """The bytes. In a local folder they may have changed; the caller compares them. Raises NcagenError."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read(self.path, self.size, checked=True).to_pybytes()
        except OSError as error:
            raise NcagenError(f"{self.source.path(self.path)} cannot be read: {error.strerror}") from None

    def addition(self) -> CommitOperationAdd:
        """The library's upload operation: from a local file if there is one, which needs less memory."""
        if isinstance(self.source, Folder) and self.source.local:
            return CommitOperationAdd(self.path, str(self.source.local / self.path))
        return CommitOperationAdd(self.path, self.content())


def shards(folder: Folder, manifest: Manifest) -> list[UploadFile]:
    """Every shard, in the manifest's order, and its index, if there is one."""
    return [UploadFile(path, folder, file.bytes, file.sha256) for path, file in manifest.hashed_files()]


def documents(folder: Folder, manifest: Manifest, name: str, extras: CardExtras) -> list[UploadFile]:
    """The card, with its picture, and the manifest, which describe the shards."""
    picture = extras.picture
    pictured = picture.rows if picture else ()
    text = card.text(manifest, extras.source, name, extras.histogram, pictured, extras.yardsticks).encode()
    pictures = [_of_bytes(card.PICTURE, picture.png)] if picture else []
    stored = folder.read(MANIFEST, MOST_BYTES).to_pybytes()
    return [*pictures, _of_bytes(card.CARD, text), _of_bytes(MANIFEST, stored)]


def groups(uploads: list[UploadFile], max_files: int, max_bytes: int) -> Iterator[list[UploadFile]]:
    """Splits uploads, in order, into groups of at most max_files and max_bytes, with one file at least."""
    group: list[UploadFile] = []
    for upload in uploads:
        if group and (len(group) == max_files or sum(p.size for p in group) + upload.size > max_bytes):
            yield group
            group = []
        group.append(upload)
    if group:
        yield group


def _of_bytes(path: str, content: bytes) -> UploadFile:
    return UploadFile(path, content, len(content), hashlib.sha256(content).hexdigest())
