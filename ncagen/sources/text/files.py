"""Reads documents from local files: plain text, JSON Lines and Parquet, also compressed by gzip or zstd.

The kind of a file is that of its name: .jsonl, .ndjson and .json hold one JSON object a line, .parquet a table, and any
other name UTF-8 text, byte for byte: one document, or several with a separator between. `.gz` and `.zst` behind a name
are decompressed. Documents come in the order of the files and of their lines. Not covered: file lists from other places
than disks, JSON that is one array.
"""

import glob
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.errors import NcagenError

LINES = (".jsonl", ".ndjson", ".json")
PARQUET = ".parquet"
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
PARQUET_ROWS = 1024  # of a Parquet file at once
BATCH_CHARACTERS, BATCH_DOCUMENTS = 2**20, 2**12  # a batch ends with the document that fills it


def find(files: str | PathLike | Sequence[str | PathLike]) -> list[Path]:
    """Lists the files of names and patterns, in the order given; those of a pattern by name.

    files: one or more names; a text may hold several, with commas between. Raises NcagenError for none, a name without
    a file, and a pattern that fits none.
    """
    names = [files] if isinstance(files, str | PathLike) else list(files)
    given = [part for name in names for part in (name.split(",") if isinstance(name, str) else [str(name)]) if part]
    if not given:
        raise NcagenError("no files are given: name text, JSON Lines or Parquet files, as in 'a.txt,b/*.jsonl'")
    return [path for name in given for path in _fitting(name.strip())]


def separator_of(text: str | None) -> bytes | None:
    r"""Returns a separator as a user types it, with \n and \t for a newline and a tab, as bytes. Raises NcagenError."""
    if text == "":
        raise NcagenError("the separator is empty: leave it out where each file is one document")
    return None if text is None else text.replace("\\n", "\n").replace("\\t", "\t").encode()


def batches(paths: Iterable[Path], field: str, separator: bytes | None = None) -> Iterator[list[str]]:
    """Yields the texts of all documents in lists of about a megabyte; empty ones where a field is null.

    field, separator, errors: as for `documents`.
    """
    texts: list[str] = []
    size = 0
    for path in paths:
        for text in documents(path, field, separator):
            texts.append(text or "")
            size += len(texts[-1])
            if size >= BATCH_CHARACTERS or len(texts) >= BATCH_DOCUMENTS:
                yield texts
                texts, size = [], 0
    if texts:
        yield texts


def documents(path: Path, field: str, separator: bytes | None = None) -> Iterator[str | None]:
    """Yields the text of each document of a file; None where a field is null.

    field: the key of a JSON object or the column of a table that holds the text. separator: what lies between the
    documents of a text file; None where it is one.
    Raises NcagenError for a file that cannot be read, has no such field, or holds something else than its name says.
    """
    try:
        if kind(path)[0] == PARQUET:
            yield from _parquet(path, field)
        elif kind(path)[0] in LINES:
            yield from _lines(path, field)
        else:
            yield from _texts(path, separator)
    except (OSError, pa.ArrowException) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise NcagenError(f"file {str(path)!r} cannot be read: {said}") from None


def opened(path: Path) -> io.BufferedReader:
    """Opens a file to read its decompressed bytes. Raises OSError."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    if compression is None:
        return path.open("rb")
    return io.BufferedReader(pa.CompressedInputStream(path.open("rb"), compression), 2**20)


def _fitting(name: str) -> list[Path]:
    if Path(name).is_file():  # also where its name looks like a pattern
        return [Path(name)]
    if not glob.has_magic(name):
        why = "it is a folder: name its files, as in " + repr(f"{name.rstrip('/')}/*.jsonl")
        raise NcagenError(f"file {name!r} cannot be read: {why if Path(name).is_dir() else 'there is no such file'}")
    names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute patterns
    found = [Path(name) for name in names if Path(name).is_file()]
    if not found:
        raise NcagenError(f"no file fits {name!r}")
    return found


def kind(path: Path) -> tuple[str, str]:
    """Returns the suffixes of a file's name that say how it is read: of its kind, and of its compression or empty."""
    packed = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    plain = path.with_suffix("").suffix if packed else path.suffix
    return plain.lower() if plain.lower() in (*LINES, PARQUET) else "", packed


def _texts(path: Path, separator: bytes | None) -> Iterator[str]:
    begin = 0
    with opened(path) as file:
        for data in [file.read()] if separator is None else _pieces(file, separator):
            yield _decoded(data, f"file {str(path)!r}", begin)
            begin += len(data) + len(separator or b"")


def _pieces(file: io.BufferedReader, separator: bytes) -> Iterator[bytes]:
    """What lies between separators; no more of the file is held than one piece and a megabyte."""
    buffer, seen = bytearray(), 0
    while chunk := file.read(2**20):
        buffer += chunk
        start, at = 0, buffer.find(separator, max(0, seen - len(separator) + 1))
        while at >= 0:
            yield bytes(buffer[start:at])
            start = at + len(separator)
            at = buffer.find(separator, start)
        del buffer[:start]
        seen = len(buffer)
    yield bytes(buffer)


def _decoded(data: bytes, name: str, begin: int = 0) -> str:
    """Text from UTF-8. begin: where the data begins in what the error names."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        at = error.start
        raise NcagenError(f"{name} is not UTF-8 text: byte {begin + at} is 0x{data[at]:02x}") from None


def _lines(path: Path, field: str) -> Iterator[str | None]:
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _field(line, field, f"file {str(path)!r}, line {number}")


def _field(line: bytes, field: str, name: str) -> str | None:
    try:
        values = json.loads(_decoded(line, name))
    except (ValueError, RecursionError):
        raise NcagenError(f"{name}: this is not JSON; use a file with one JSON object a line") from None
    if not isinstance(values, dict):
        raise NcagenError(f"{name}: this is not a JSON object; use a file with one JSON object a line")
    if field not in values:
        raise NcagenError(f"{name} has no field {field!r}: it has {', '.join(values) or 'none'}; use --field")
    return _checked(values[field], field, name)


def _checked(text: object, field: str, name: str) -> str | None:
    """The text, if it is one that UTF-8 can hold; JSON can write halves of a character, which it cannot."""
    if text is not None and not isinstance(text, str):
        raise NcagenError(f"{name}: field {field!r} is not a text; use --field with the name of one")
    try:
        if text and not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise NcagenError(
            f"{name}: field {field!r} has half of a character (a lone surrogate), which UTF-8 cannot hold"
        ) from None
    return text


def _parquet(path: Path, field: str) -> Iterator[str | None]:
    name = f"file {str(path)!r}"
    if path.suffix.lower() != PARQUET:
        raise NcagenError(f"{name} is a compressed Parquet file: decompress it, its pages are compressed already")
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if field not in names:
            raise NcagenError(f"{name} has no field {field!r}: it has {', '.join(names) or 'none'}; use --field")
        if not _holds_text(file.schema_arrow.field(field).type):
            raise NcagenError(f"{name}: field {field!r} is not a text; use --field with the name of one")
        for batch in file.iter_batches(PARQUET_ROWS, columns=[field]):
            yield from batch.column(0).to_pylist()


def _holds_text(column: pa.DataType) -> bool:
    values = column.value_type if pa.types.is_dictionary(column) else column
    return pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values)
