"""Prepares a corpus: reads files, drops exact duplicates, tokenizes, and writes the result under its hash.

The files are read in the order given. A document whose sha256 came before is dropped, and so is one without a token.
Reading and dropping run in this thread while threads of `tokenizers` encode the batches before; what is written does
not depend on their number. Memory is flat except for the digests (`seen.py`). The folder appears complete or not at
all; a preparation that was interrupted begins again. Not covered: near duplicates, cleaning, filters.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from ncagen.errors import NcagenError
from ncagen.sources.text import corpus as corpora
from ncagen.sources.text.corpus import DESCRIPTION, DIGESTS, ENDS, FIELD, TOKENS, Corpus, Description, file_sha256
from ncagen.sources.text.files import batches, find, kind, separator_of
from ncagen.sources.text.seen import Seen, digests_of
from ncagen.sources.text.tokenizer import LoadedTokenizer, load

INPUTS = "inputs"  # the folder that knows which corpus was prepared from which files

Progress = Callable[[int], object]
"""Takes the number of characters that were read since the last call."""


def prepare(
    files: str | PathLike | Sequence[str | PathLike],
    tokenizer: str | PathLike,
    field: str = FIELD,
    separator: str | None = None,
    progress: Progress = lambda characters: None,
) -> Corpus:
    """Prepares a corpus, or finds the one that was prepared from the same bytes, and returns it.

    files: names and patterns of text, JSON Lines and Parquet files (`files.py`). tokenizer: a tokenizer.json.
    field: where JSON objects and tables have their text. separator: what lies between the documents of a text file.
    Raises NcagenError, with nothing written, for files or a tokenizer that cannot be used, and for files without text.
    """
    between, paths, loaded = separator_of(separator), find(files), load(Path(tokenizer))
    known = corpora.corpora() / INPUTS / _inputs_sha256(paths, loaded.sha256, field, between)
    if (found := _known(known)) is not None:
        return found
    with _folder() as folder:
        about = _write(folder, _Reading(paths, field, between, progress), loaded)
        (folder / DESCRIPTION).write_text(about.text, encoding="utf-8")
        _put(folder, corpora.corpora() / about.sha256)
        known.parent.mkdir(exist_ok=True)
        known.write_text(about.sha256, encoding="utf-8")
    return corpora.find(about.sha256)


def _inputs_sha256(paths: Sequence[Path], tokenizer_sha256: str, field: str, separator: bytes | None) -> str:
    """Identifies what a corpus is made of by the bytes of its files, wherever they lie."""
    between = separator and separator.hex()
    inputs = [corpora.FORMAT, tokenizer_sha256, field, between, *((*kind(path), file_sha256(path)) for path in paths)]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _known(path: Path) -> Corpus | None:
    """The corpus that a file of INPUTS names, if it is there."""
    try:
        return corpora.find(path.read_text(encoding="utf-8"))
    except (OSError, NcagenError):
        return None


def _write(folder: Path, reading: "_Reading", tokenizer: LoadedTokenizer) -> Description:
    """Writes the arrays of a corpus and returns its description."""
    about = Description(tokenizer.sha256, tokenizer.vocabulary, tokenizer.special, 0, 0, 0, 0, {})
    end = count = empty = 0
    with _Files(folder) as files:
        for tokens, lengths, digests in tokenizer.encode(reading.batches()):
            kept = lengths > 0
            files.write(TOKENS, tokens.astype(about.dtype))
            files.write(ENDS, (end + np.cumsum(lengths))[kept].astype("<i8"))
            files.write(DIGESTS, digests[kept].astype("<u8"))
            end, count, empty = end + int(lengths.sum()), count + int(kept.sum()), empty + int((~kept).sum())
    if not end:
        raise NcagenError(f"{reading.names} no text")
    return replace(
        about,
        documents=count,
        duplicates=reading.duplicates,
        empty=empty + reading.empty,
        tokens=end,
        files=files.sha256,
    )


class _Reading:
    """Reads documents and drops empty ones and duplicates, which it counts."""

    def __init__(self, paths: Sequence[Path], field: str, separator: bytes | None, progress: Progress):
        self._paths, self._field, self._separator, self._progress = paths, field, separator, progress
        self.duplicates = self.empty = 0

    @property
    def names(self) -> str:
        """Names the files in an error, with the verb."""
        return f"the {len(self._paths)} files have" if len(self._paths) > 1 else f"{str(self._paths[0])!r} has"

    def batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields texts that did not come before and their digests, uint64[text]."""
        seen = Seen()
        for found in batches(self._paths, self._field, self._separator):
            texts = [text for text in found if text]
            self._progress(sum(map(len, texts)))
            digests = digests_of(texts)
            fresh = seen.add(digests)
            self.empty += len(found) - len(texts)
            self.duplicates += int((~fresh).sum())
            if fresh.any():
                yield [text for text, new in zip(texts, fresh, strict=True) if new], digests[fresh, 0]


class _Files:
    """The files of a corpus while they are written, and their hashes."""

    def __init__(self, folder: Path):
        self._files = {name: (folder / name).open("xb") for name in (TOKENS, ENDS, DIGESTS)}
        self._hashes = {name: hashlib.sha256() for name in self._files}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            if error[0] is None:
                file.flush()
                os.fsync(file.fileno())
            file.close()

    def write(self, name: str, values: np.ndarray) -> None:
        """Appends an array to a file."""
        data = values.tobytes()
        self._hashes[name].update(data)
        self._files[name].write(data)

    @property
    def sha256(self) -> dict[str, str]:
        """The hashes of all files by name, in hexadecimal."""
        return {name: found.hexdigest() for name, found in self._hashes.items()}


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder among the corpora, which is gone afterwards unless it was renamed; sweeps those of ended writers."""
    root = corpora.corpora()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root.glob(f".{socket.gethostname()}~*~*.tmp"))
        folder = Path(tempfile.mkdtemp(".tmp", f".{socket.gethostname()}~{os.getpid()}~", root))
    except OSError as error:
        raise NcagenError(f"corpora cannot be written to {str(root)!r}: {error.strerror}") from None
    try:
        yield folder
    except OSError as error:
        raise NcagenError(f"corpora cannot be written to {str(root)!r}: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folders: Iterable[Path]) -> None:
    """Removes what writers of this host left that run no more."""
    for folder in folders:
        process = folder.name.split("~")[1]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _put(folder: Path, place: Path) -> None:
    """Gives a folder its final name, unless an equal one has it."""
    folder.chmod(0o755)  # mkdtemp's is for its owner alone
    try:
        folder.rename(place)
    except OSError:
        if not (place / DESCRIPTION).is_file():
            raise
