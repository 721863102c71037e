"""Opens prepared corpora: tokens, document ends and digests in a folder that is named by their hash.

A corpus lies in `$NCAGEN_CORPORA/<sha256>`, or `$XDG_CACHE_HOME/ncagen/corpora/<sha256>` without that variable. The
sha256 is that of `corpus.json`, which has the sha256 of every other file, of the tokenizer file, and how many documents
were dropped; it has no path, host or time. `prepare.py` writes it. Not covered: which rows are made from it.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ncagen.errors import NcagenError

FORMAT = 1
DESCRIPTION = "corpus.json"
TOKENS, ENDS, DIGESTS = "tokens.bin", "ends.bin", "digests.bin"
FIELD = "text"  # where JSON objects and tables have their text
CHUNK = 2**22  # bytes that are hashed at once


@dataclass(frozen=True)
class Description:
    """What corpus.json holds.

    vocabulary: the tokenizer's highest id and 1. special: ids of its added tokens by their text. documents: those kept.
    duplicates: documents with the text of an earlier one, dropped. empty: documents without a token, dropped. tokens:
    of all documents, without ends. files: sha256 by name.
    """

    tokenizer_sha256: str
    vocabulary: int
    special: dict[str, int]
    documents: int
    duplicates: int
    empty: int
    tokens: int
    files: dict[str, str]
    format: int = FORMAT

    @property
    def dtype(self) -> str:
        """Of the stored tokens, little-endian."""
        return "<u2" if self.vocabulary <= 2**16 else "<u4"

    @property
    def text(self) -> str:
        """The text of corpus.json: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """The corpus' identity, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus on disk. Its arrays are mapped, not read."""

    folder: Path
    about: Description

    @property
    def sha256(self) -> str:
        """The corpus' identity, in hexadecimal."""
        return self.folder.name

    @cached_property
    def tokens(self) -> np.ndarray:
        """Tokens of all documents, one after another: uint16 or uint32 [token]."""
        return self._mapped(TOKENS, self.about.dtype, self.about.tokens)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each document ends in `tokens`: int64[document]; it begins where the one before it ends."""
        return self._mapped(ENDS, "<i8", self.about.documents)

    @cached_property
    def digests(self) -> np.ndarray:
        """The first 8 bytes of the sha256 of each document's text, as a big-endian number: uint64[document]."""
        return self._mapped(DIGESTS, "<u8", self.about.documents)

    def check(self) -> None:
        """Reads all files and compares their hashes. Raises NcagenError for a corpus that is damaged."""
        for name, sha256 in self.about.files.items():
            if _file_sha256(self.folder / name) != sha256:
                raise NcagenError(f"corpus {self.sha256} is damaged: delete {str(self.folder)!r} and prepare it again")

    def _mapped(self, name: str, dtype: str, count: int) -> np.ndarray:
        path = self.folder / name
        try:
            if path.stat().st_size == count * np.dtype(dtype).itemsize:
                return np.memmap(path, dtype, "r", shape=(count,))
        except OSError:
            pass
        raise NcagenError(f"corpus {self.sha256} is damaged: delete {str(self.folder)!r} and prepare it again")


def corpora() -> Path:
    """Returns the folder of all corpora of this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("NCAGEN_CORPORA") or cache / "ncagen" / "corpora")


def find(sha256: str) -> Corpus:
    """Opens a corpus by its hash. Raises NcagenError where it is not on this machine, or damaged."""
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise NcagenError(f"corpus {sha256!r} is not a sha256: use the 64 digits that ncagen corpus prints")
    root = corpora()
    try:
        written = (root / sha256 / DESCRIPTION).stat().st_mtime_ns
    except OSError:
        raise NcagenError(
            f"corpus {sha256} is not in {str(root)!r}: prepare it by ncagen corpus FILES --tokenizer FILE, or set"
            " NCAGEN_CORPORA to the folder that holds it"
        ) from None
    return _opened(root / sha256, written)


@lru_cache(maxsize=16)
def _opened(folder: Path, written: int) -> Corpus:
    """The corpus of a folder, once for each time that it was written."""
    text = (folder / DESCRIPTION).read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != folder.name:
        raise NcagenError(f"corpus {folder.name} is damaged: delete {str(folder)!r} and prepare it again")
    return Corpus(folder, Description(**_of_this_format(json.loads(text), folder.name)))


def _of_this_format(values: dict[str, Any], sha256: str) -> dict[str, Any]:
    if values.get("format") != FORMAT:
        raise NcagenError(
            f"corpus {sha256} has format {values.get('format')}, and this ncagen reads {FORMAT}: prepare it again"
        )
    return values


def _file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal; an empty text for one that cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file in hexadecimal. Raises NcagenError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NcagenError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
