"""Packs what a manifest says of its shards into leaves, and reads from `index.bin` only those that are needed.

A dataset's shards are numbered in the manifest's order: by split, band and shard number. A leaf has `LEAF_SHARDS`
consecutive ones of one split and band, the last leaf there has the rest. `dataset_sha256` covers the hash of each
leaf's records, so whoever has the hashes of all leaves can prove it, and check any leaf alone. docs/format.md has the
fields.

`Records` and `Files` look like the sequence and the mapping of a manifest that lists its shards. A dataset of few files
has no index.bin; its manifest lists them, and only its hash is made of leaves. manifest.json is `manifest`'s.
"""

import hashlib
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, overload

import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.lru import LruCache
from ncagen.dataset.shard import SHARD_CANDIDATES, SPLITS, File, Record, one_line, relative_path
from ncagen.dataset.stores import RangesIgnored
from ncagen.errors import NcagenError
from ncagen.spec import BuildSpec

INDEX = "index.bin"

# So that at 400,000 files a leaf (70 kB) and all hashes (110 kB) are both small; measured by benchmarks/opening.py.
LEAF_SHARDS = 512

MAGIC = b"ncagen index v1\n"
HEAD_BYTES = len(MAGIC) + 32

# tried, below, above, content_sha256
_RECORD = struct.Struct("<QQQ32s")
# bytes, footer_bytes, sha256, footer_sha256; the footer's are zero where none is known
_FILE = struct.Struct("<QQ32s32s")

_PATH = re.compile(r"data/(?P<band>[^/]+)/(?P<split>[a-z]+)-(?P<shard>[0-9]{5,10})-of-[0-9]{5,10}\.[a-z]+")


class ManifestError(NcagenError):
    """A folder whose manifest is missing, unreadable or not consistent with itself."""


class Key(NamedTuple):
    """Which shard."""

    split: str
    band: str
    shard: int


def shard_keys(spec: BuildSpec) -> list[Key]:
    """Every shard of a dataset, in the manifest's order."""
    return [
        Key(split, band.name, shard) for split in SPLITS for band in spec.bands for shard in range(spec.shards(split))
    ]


def shard_count(spec: BuildSpec) -> int:
    """Shards of all splits and bands."""
    return len(spec.bands) * sum(spec.shards(split) for split in SPLITS)


def leaf_count(spec: BuildSpec) -> int:
    """Leaves of all splits and bands."""
    return len(spec.bands) * sum(-(-spec.shards(split) // LEAF_SHARDS) for split in SPLITS)


def part(spec: BuildSpec, split: str, band: str) -> range:
    """The numbers of the shards of a split and band; empty if there is no such part."""
    names = [known.name for known in spec.bands]
    if split not in SPLITS or band not in names:
        return range(0)
    first = len(names) * sum(spec.shards(before) for before in SPLITS[: SPLITS.index(split)])
    first += names.index(band) * spec.shards(split)
    return range(first, first + spec.shards(split))


def leaves(spec: BuildSpec) -> list[range]:
    """The numbers of each leaf's shards."""
    parts = [part(spec, split, band.name) for split in SPLITS for band in spec.bands]
    return [shards[first : first + LEAF_SHARDS] for shards in parts for first in range(0, len(shards), LEAF_SHARDS)]


def record_hashes(spec: BuildSpec, records: Sequence[Record]) -> list[str]:
    """The sha256 of the records of each leaf. records: of all shards."""
    if isinstance(records, Records):
        return records.hashes
    return [_sha256(_pack_records(records[leaf.start : leaf.stop])) for leaf in leaves(spec)]


def file_hashes(spec: BuildSpec, files: Mapping[str, File]) -> list[str]:
    """The sha256 of the files of each leaf. files: of all shards, in their order."""
    if isinstance(files, Files):
        return files.hashes
    listed = list(files.values())
    return [_sha256(_pack_files(listed[leaf.start : leaf.stop])) for leaf in leaves(spec)]


def pack(spec: BuildSpec, records: Sequence[Record], files: Mapping[str, File]) -> bytes:
    """The bytes of index.bin. records, files: of all shards, in their order."""
    listed = list(files.values())
    parts = [index_head(spec)]
    for leaf in leaves(spec):
        parts += [_pack_records(records[leaf.start : leaf.stop]), _pack_files(listed[leaf.start : leaf.stop])]
    return b"".join(parts)


def index_head(spec: BuildSpec) -> bytes:
    """The first bytes of index.bin, which say whose it is."""
    return MAGIC + bytes.fromhex(spec.sha256)


def index_bytes(spec: BuildSpec) -> int:
    """The size of index.bin."""
    return HEAD_BYTES + shard_count(spec) * (_RECORD.size + _FILE.size)


def _pack_records(records: Iterable[Record]) -> bytes:
    return b"".join(_RECORD.pack(r.tried, r.below, r.above, bytes.fromhex(r.content_sha256)) for r in records)


def _pack_files(files: Iterable[File]) -> bytes:
    return b"".join(
        _FILE.pack(f.bytes, f.footer_bytes or 0, bytes.fromhex(f.sha256), bytes.fromhex(f.footer_sha256 or ""))
        for f in files
    )


class Leaves:
    """The leaves in a folder's index.bin, each fetched when one of its shards is asked for, checked, and then kept.

    records, files: the hash of each leaf. Its methods raise ManifestError, in one line that names the file. Safe to
    use from several threads and after a fork; a pickle has no leaf in it.
    """

    def __init__(self, folder: Folder, spec: BuildSpec, file_format: str, records: Sequence[str], files: Sequence[str]):
        self.spec, self.records, self.files = spec, list(records), list(files)
        self._folder, self._file_format, self._spec_sha256 = folder, file_format, spec.sha256
        self._ranges = leaves(spec)
        self._starts = [leaf.start for leaf in self._ranges]
        self._held: LruCache[int, tuple[bytes, bytes]] = LruCache(len(self._ranges))
        self._has_ranges, self._whole = True, LruCache[str, pa.Buffer](1)

    def key(self, number: int) -> Key:
        """Which shard has a number."""
        for split in SPLITS:
            count = self.spec.shards(split)
            if number < len(self.spec.bands) * count:
                band, shard = divmod(number, count)
                return Key(split, self.spec.bands[band].name, shard)
            number -= len(self.spec.bands) * count
        raise IndexError(number)

    def number(self, path: str) -> int:
        """The number of the shard with a path. Raises KeyError for a path that the spec does not give."""
        found = _PATH.fullmatch(path)
        shards = part(self.spec, found["split"], found["band"]) if found else range(0)
        shard = int(found["shard"]) if found else 0
        if shard >= len(shards) or self.path(shards[shard]) != path:
            raise KeyError(path)
        return shards[shard]

    def path(self, number: int) -> str:
        """The path of a shard in its folder."""
        return relative_path(self.spec, self._file_format, *self.key(number))

    def record(self, number: int) -> Record:
        """The record of a shard."""
        key, leaf = self.key(number), self._leaf(number)
        data = self._data(leaf)[0]
        tried, below, above, content = _RECORD.unpack_from(data, (number - self._starts[leaf]) * _RECORD.size)
        if max(tried, below, above) > SHARD_CANDIDATES:
            raise ManifestError(
                f"{self._folder.path(INDEX)} is damaged: {tried, below, above} are not counts of candidates"
            )
        rows = self.spec.shard_rows(key.split, key.shard)
        return Record(self._spec_sha256, *key, rows, tried, below, above, content.hex())

    def file(self, number: int) -> File:
        """The file of a shard."""
        leaf = self._leaf(number)
        at = (number - self._starts[leaf]) * _FILE.size
        size, footer_bytes, sha256, footer_sha256 = _FILE.unpack_from(self._data(leaf)[1], at)
        has_footer = footer_bytes or any(footer_sha256)
        found = File(size, sha256.hex(), *((footer_bytes, footer_sha256.hex()) if has_footer else ()))
        if not found.is_valid():
            raise ManifestError(
                f"{self._folder.path(INDEX)} is damaged: {self.path(number)} has a footer of {footer_bytes} bytes"
            )
        return found

    def _leaf(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1

    def _data(self, leaf: int) -> tuple[bytes, bytes]:
        """The records and the files of a leaf, as they are packed."""
        return self._held.get(leaf, lambda: self._fetch(leaf))

    def _fetch(self, leaf: int) -> tuple[bytes, bytes]:
        shards = self._ranges[leaf]
        start = HEAD_BYTES + shards.start * (_RECORD.size + _FILE.size)
        data = self._read(start, len(shards) * (_RECORD.size + _FILE.size))
        parts = data[: len(shards) * _RECORD.size], data[len(shards) * _RECORD.size :]
        if (_sha256(parts[0]), _sha256(parts[1])) != (self.records[leaf], self.files[leaf]):
            first, last = self.key(shards.start), self.key(shards.stop - 1)
            raise ManifestError(
                f"{self._folder.path(INDEX)} is damaged, or another dataset's: {first.band} {first.split} shards"
                f" {first.shard} to {last.shard} do not match their hash"
            )
        return parts

    def _read(self, start: int, size: int) -> bytes:
        """Bytes of index.bin, copied, so that a later write to a mapped file does not change them."""
        path = self._folder.path(INDEX)
        try:
            if self._has_ranges:
                try:
                    return self._folder.read_range(INDEX, start, size).to_pybytes()
                except RangesIgnored:
                    self._has_ranges = False
            whole = self._whole.get(INDEX, lambda: self._folder.read(INDEX, index_bytes(self.spec)))
            return whole[start : start + size].to_pybytes()
        except FileNotFoundError:
            raise ManifestError(
                f"{path} is missing, without which manifest.json cannot be read: get it from where the dataset is"
                " from, or run the same build again"
            ) from None
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror or one_line(error)}") from None


class Records(Sequence[Record]):
    """Records of consecutive shards of an index. numbers: which shards."""

    def __init__(self, leaves: Leaves, numbers: range):
        self._leaves, self._numbers = leaves, numbers

    @property
    def hashes(self) -> list[str]:
        """Of the records of each leaf of the whole dataset."""
        return self._leaves.records

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at):
        if isinstance(at, slice):
            return Records(self._leaves, self._numbers[at])
        return self._leaves.record(self._numbers[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


class Files(Mapping[str, File]):
    """The files of an index by their paths, in the order of the shards."""

    def __init__(self, leaves: Leaves):
        self._leaves = leaves

    @property
    def hashes(self) -> list[str]:
        """Of the files of each leaf."""
        return self._leaves.files

    def __len__(self) -> int:
        return shard_count(self._leaves.spec)

    def __iter__(self) -> Iterator[str]:
        return map(self._leaves.path, range(len(self)))

    def __getitem__(self, path: str) -> File:
        return self._leaves.file(self._leaves.number(path))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
