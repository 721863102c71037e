"""The manifest: the receipt of a finished dataset, written last, so that its existence means done.

It has two parts. `dataset` is a pure function of the spec and is hashed (`dataset_sha256`): equal hashes are equal
rows, whatever the format, the toolchain or the number of workers. `storage` says how these rows lie on this disk:
format, versions, and size and hash of every file. Neither knows a time, a host or a path outside the folder.

While a build runs, `building.json` holds its spec, format and versions instead, so that the same command continues
and another is refused.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.shard import FORMATS, Record, relative_path, write
from ncagen.errors import NcagenError
from ncagen.spec import Spec, SpecError
from ncagen.version import VERSION

MANIFEST = "manifest.json"
BUILDING = "building.json"
MANIFEST_VERSION = 1
SPLITS = ("train", "validation")


class ManifestError(NcagenError):
    """A folder whose manifest is missing, unreadable or not consistent with itself."""


@dataclass(frozen=True)
class File:
    """A shard's file: its size in bytes and the hash of them."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A finished dataset. records: every shard in `shard_keys` order. files: by path within the folder."""

    spec: Spec
    records: tuple[Record, ...]
    storage: str
    toolchain: Mapping[str, str]
    files: Mapping[str, File]

    @property
    def dataset(self) -> dict:
        """The hashed part: what the rows are."""
        spec = self.spec
        shards = []
        for record in self.records:
            shard = asdict(record)
            del shard["spec_sha256"]
            shards.append(shard)
        return {
            "spec": spec.to_dict(),
            "spec_sha256": spec.sha256,
            "vocabulary": spec.vocabulary,
            "token_dtype": spec.token_dtype,
            "row_tokens": spec.row_tokens,
            "tokens_per_grid": spec.tokens_per_grid,
            "scored_bytes": spec.scored_bytes,
            "shards": shards,
        }

    @property
    def dataset_sha256(self) -> str:
        """The identity of the rows."""
        return hashlib.sha256(canonical(self.dataset).encode()).hexdigest()

    def path(self, record: Record) -> str:
        """Where the record's shard lies in the folder."""
        return relative_path(self.spec, self.storage, record.split, record.band, record.shard)

    def to_dict(self) -> dict:
        """Plain values, as they stand in manifest.json."""
        return {
            "manifest_version": MANIFEST_VERSION,
            "dataset": self.dataset,
            "dataset_sha256": self.dataset_sha256,
            "storage": {
                "format": self.storage,
                "toolchain": dict(self.toolchain),
                "files": {path: asdict(file) for path, file in self.files.items()},
            },
        }

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def toolchain() -> dict[str, str]:
    """The versions that the bytes of a file may depend on."""
    return {"ncagen": VERSION, "pyarrow": pa.__version__}


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces, as it is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def shard_keys(spec: Spec) -> list[tuple[str, str, int]]:
    """Split, band and number of every shard of a dataset, in the manifest's order."""
    return [(split, band.name, shard) for split in SPLITS for band in spec.bands for shard in range(spec.shards(split))]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json, whole or not at all, then ends the build in progress."""
    write(folder / MANIFEST, pa.py_buffer(manifest.to_json().encode()))
    (folder / BUILDING).unlink(missing_ok=True)


def read_manifest(place: str | os.PathLike | Folder) -> Manifest:
    """The manifest of a finished dataset. Raises ManifestError with one clear line."""
    folder = Folder(place)
    path = folder.path(MANIFEST)
    try:
        if not folder.has(MANIFEST):
            if folder.has(BUILDING):
                raise ManifestError(f"{folder} is not finished: run the same ncagen build again to complete it")
            raise ManifestError(f"{folder} holds no dataset: there is no {MANIFEST} in it")
        return parse(folder.read(MANIFEST).to_pybytes(), path)[0]
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from None


def parse(text: bytes, path: str) -> tuple[Manifest, dict]:
    """The manifest in a JSON text, and the whole value for what else it holds. Raises ManifestError naming `path`."""
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
        if value["manifest_version"] != MANIFEST_VERSION:
            raise ManifestError(f"{path} has version {value['manifest_version']}, this ncagen reads {MANIFEST_VERSION}")
        manifest = _parse(value)
    except SpecError as error:
        raise ManifestError(f"{path} is damaged: {error}") from None
    except RecursionError:
        raise ManifestError(f"{path} is damaged: it is nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} is damaged: {error}") from None
    if manifest.dataset != value["dataset"] or manifest.dataset_sha256 != value["dataset_sha256"]:
        raise ManifestError(f"{path} is damaged: its hash does not match what it says")
    return manifest, value


def _parse(value: dict) -> Manifest:
    """Reads the parsed JSON; every path is one that the spec itself gives, so none can lead out of the folder."""
    spec = Spec.from_dict(value["dataset"]["spec"])
    records = tuple(Record(spec_sha256=spec.sha256, **shard) for shard in value["dataset"]["shards"])
    if [(r.split, r.band, r.shard) for r in records] != shard_keys(spec):
        raise ValueError("its shards are not those of its spec")
    for record in records:
        counts = (record.rows, record.tried, record.below, record.above)
        if not all(type(n) is int and n >= 0 for n in counts):
            raise ValueError(f"{counts} are not counts of rows and candidates")
        if record.rows != (rows := spec.shard_rows(record.split, record.shard)):
            raise ValueError(f"{record.band} {record.split} shard {record.shard} has {record.rows} rows, not {rows}")
    storage = value["storage"]["format"]
    if storage not in FORMATS:
        raise ValueError(f"format {storage!r} is not known")
    files = {path: File(**file) for path, file in value["storage"]["files"].items()}
    for path, file in files.items():
        if type(file.bytes) is not int or not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise ValueError(f"{path} has no size and hash")
    manifest = Manifest(spec, records, storage, value["storage"]["toolchain"], files)
    if list(files) != [manifest.path(record) for record in records]:
        raise ValueError("its files are not those of its shards")
    return manifest


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object; a second value for a name, which Python would let win, is an error."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return value


def order_of(spec: Spec, storage: str) -> dict:
    """What building.json holds: all that decides the bytes of the folder."""
    return {"spec": spec.to_dict(), "format": storage, "toolchain": toolchain()}


def differences(there: Mapping, wanted: Mapping) -> list[str]:
    """`name: there -> wanted` for every value that differs between two orders."""
    found = []
    for name in sorted(there.keys() | wanted.keys()):
        a, b = there.get(name), wanted.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b)
        elif a != b:
            found.append(f"{name}: {_brief(a)} -> {_brief(b)}")
    return found


def _brief(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, Mapping) for v in value):
        return "+".join(str(v["name"]) for v in value)
    return str(value)
