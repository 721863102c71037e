"""Writes and reads receipts: a dataset in one small file, from which `ncagen rebuild` makes its full shards again.

A receipt is the manifest with the kept candidates of every shard, as JSON compressed by zstandard; docs/format.md has
the fields. A plain manifest.json is read as well, as a receipt without candidates: the rebuild then searches for them
again. Receipts come from untrusted sources, so every value is checked before it is used. Only numpy and pyarrow are
used; the factory makes the rows.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ncagen.dataset.atomic_write import write
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import Manifest, canonical, parse, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import SHARD_CANDIDATES, Record, one_line
from ncagen.errors import NcagenError

RECEIPT_VERSION = 1
SUFFIX = ".receipt.json.zst"

# Of the JSON text: about 30 million rows, and what a malicious file can make of it still fits into memory.
MOST_BYTES = 64 * 2**20
CHUNK = 2**20

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LEVEL = 19

Key = tuple[str, str, int]


class ReceiptError(NcagenError):
    """A receipt that cannot be read, or is not consistent with itself."""


@dataclass(frozen=True)
class Receipt:
    """A manifest and the choices behind it.

    records: every shard's, by split, band and number. gaps: by the same, int64[row], from each kept candidate to the
    next, the first from one before the shard's first; None where a plain manifest was read.
    """

    manifest: Manifest
    records: Mapping[Key, Record]
    gaps: Mapping[Key, np.ndarray] | None

    def candidates(self, record: Record) -> np.ndarray:
        """The kept candidates of a shard, in order: uint64[row]. Needs gaps."""
        assert self.gaps is not None
        return (np.cumsum(self.gaps[_key(record)]) + (record.shard * SHARD_CANDIDATES - 1)).astype(np.uint64)


def write_receipt(
    place: str | os.PathLike | Folder, path: Path, progress: Callable[[int], None] = lambda rows: None
) -> int:
    """Writes the receipt of a finished dataset, whole or not at all, and returns its size in bytes.

    progress(rows) is called for each shard that was read. Raises NcagenError for a dataset that is damaged or too
    large; for the latter as soon as it is certain, and before any shard is read where the number of rows tells.
    """
    folder = folder_at(place)
    manifest = read_manifest(folder)
    _check_room(folder, 0, manifest.rows)
    size, left = len(_text(manifest, [])) - 1, manifest.rows  # the last shard has no comma after it
    _check_room(folder, size, left)
    gaps = []
    for split, band in dict.fromkeys((record.split, record.band) for record in manifest.records):
        dataset = Dataset(folder, split, band)
        for number, record in enumerate(dataset.records):
            gaps.append(_gaps(dataset.shard(number).candidate, record))
            size, left = size + len(_compact(gaps[-1])) + 1, left - record.rows
            _check_room(folder, size, left)
            progress(record.rows)
    data = pa.Codec("zstd", compression_level=_LEVEL).compress(_text(manifest, gaps))
    write(path, data)
    return data.size


def _check_room(folder: Folder, size: int, rows: int) -> None:
    """Raises ReceiptError where so many bytes of text and the least that the rest can take are too many.

    rows: those whose gaps are not counted yet; each takes a digit and a comma at least.
    """
    if size + 2 * rows > MOST_BYTES:
        raise ReceiptError(
            f"{folder} is too large for a receipt: share its manifest.json instead, which rebuilds it too"
        )


def read_receipt(path: Path) -> Receipt:
    """A receipt, or a plain manifest.json. Raises NcagenError naming the file, in one clear line."""
    manifest, value = parse(_read(path), str(path), Folder(path.absolute().parent))
    records = {_key(record): record for record in manifest.records}
    if "receipt_version" not in value:
        return Receipt(manifest, records, None)
    version = value["receipt_version"]
    if type(version) is not int or version != RECEIPT_VERSION:
        version = one_line(Exception(version))
        raise ReceiptError(f"{path} has receipt version {version}, this ncagen reads {RECEIPT_VERSION}")
    if value.pop("receipt_sha256", None) != _sha256(value):
        raise ReceiptError(f"{path} is damaged: its hash does not match what it says")
    gaps = value.get("gaps")
    if type(gaps) is not list or len(gaps) != len(records):
        raise ReceiptError(f"{path} is damaged: its gaps are not those of its shards")
    try:
        return Receipt(manifest, records, {key: _checked(gaps[i], records[key]) for i, key in enumerate(records)})
    except ValueError as error:
        raise ReceiptError(f"{path} is damaged: {error}") from None


def _key(record: Record) -> Key:
    return record.split, record.band, record.shard


def _gaps(candidates: np.ndarray, record: Record) -> list[int]:
    """The inverse of `Receipt.candidates`. Raises ReceiptError if a file's candidates differ from its record."""
    offsets = candidates.astype(np.int64) - record.shard * SHARD_CANDIDATES
    gaps = np.diff(offsets, prepend=-1).tolist()
    try:
        _checked(gaps, record)
    except ValueError as error:
        raise ReceiptError(f"{error}: run ncagen verify on this dataset") from None
    return gaps


def _checked(gaps: list[int], record: Record) -> np.ndarray:
    """The gaps of a shard: int64[row]. Raises ValueError if they do not match its record."""
    name = f"{record.band} {record.split} shard {record.shard}"
    if not record.tried == record.rows + record.below + record.above <= SHARD_CANDIDATES:
        raise ValueError(f"the counts of {name} do not add up")
    if type(gaps) is not list or not all(type(gap) is int and gap > 0 for gap in gaps):
        raise ValueError(f"the gaps of {name} are not positive whole numbers")
    if (len(gaps), sum(gaps)) != (record.rows, record.tried):
        raise ValueError(f"{name} has {record.rows} rows of {record.tried} candidates, but its gaps do not match")
    return np.array(gaps, np.int64)


def _text(manifest: Manifest, gaps: list[list[int]]) -> bytes:
    value = manifest.to_dict() | {"receipt_version": RECEIPT_VERSION, "gaps": gaps}
    return _compact(value | {"receipt_sha256": _sha256(value)})


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _sha256(value: dict) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _read(path: Path) -> bytes:
    """The JSON text of a file, plain or compressed; never much more than a receipt may have, whatever its size."""
    text = bytearray()
    try:
        with path.open("rb") as file:
            compressed = file.peek(len(_ZSTD_MAGIC)).startswith(_ZSTD_MAGIC)
            source = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") if compressed else file
            while len(text) <= MOST_BYTES and (chunk := source.read(CHUNK)):
                text += chunk
    except (OSError, pa.ArrowException) as error:
        raise ReceiptError(f"{path} cannot be read: {getattr(error, 'strerror', None) or one_line(error)}") from None
    if len(text) > MOST_BYTES:
        raise ReceiptError(f"{path} is not a receipt: it holds more than {MOST_BYTES} bytes")
    return bytes(text)
