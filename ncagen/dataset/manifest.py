"""Reads and writes the manifest. It is written last: if it exists, the dataset is complete.

It has two parts. `dataset` is a pure function of the spec and is hashed (`dataset_sha256`): equal hashes mean equal
rows, whatever the file format, the toolchain or the number of workers. `storage` describes the files of this copy: file
format, versions, and size and hash of every file. Neither contains a time, a host or a path outside the folder.

Up to `LISTED_FILES` files are listed in manifest.json. Of more it has the hashes of the leaves of `index.bin`, which
are read when they are needed (`index`), so that opening a dataset takes the same time whatever its size.

While a build runs, `building.json` holds its spec, file format and versions instead, so that the same command resumes
the build and a different one is refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from ncagen.dataset.experiment_files import no_dataset
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.index import (
    INDEX,
    Files,
    Leaves,
    ManifestError,
    Records,
    file_hashes,
    index_bytes,
    leaf_count,
    pack,
    part,
    record_hashes,
    shard_count,
    shard_keys,
)
from ncagen.dataset.shard import FORMATS, SHARD_CANDIDATES, SPLITS, File, Record, is_sha256, one_line, relative_path
from ncagen.errors import SpecError
from ncagen.row_format import Measure, RowFormat, band_measure
from ncagen.spec import BuildSpec
from ncagen.version import VERSION

MANIFEST = "manifest.json"
BUILDING = "building.json"

MANIFEST_VERSION = 3

# 1.7 million million tokens in files of the usual size. Their hashes take a megabyte of manifest.json at most.
MOST_FILES = 400_000
MOST_BYTES = 64 * 2**20

# Each takes about 640 bytes of manifest.json, and 40 microseconds to read.
LISTED_FILES = 1000

# More than anybody makes; the spec compares each with each. A name is a folder's, which no file system lets be longer.
MOST_BANDS = 4096
LONGEST_NAME = 255


@dataclass(frozen=True)
class Manifest:
    """A finished dataset. records: every shard in `shard_keys` order. files: by path within the folder, in that order.

    row_format, measures: what the spec's source says of its rows, so that they are read without the source. index: size
    and hash of index.bin where the manifest was read with one; then records and files are read from it when they are
    asked for, and both raise ManifestError where it is damaged.
    """

    spec: BuildSpec
    row_format: RowFormat
    measures: tuple[Measure, ...]
    records: Sequence[Record]
    file_format: str
    toolchain: Mapping[str, str]
    files: Mapping[str, File]
    index: File | None = field(default=None, compare=False)

    @property
    def head(self) -> dict:
        """What is said of all rows together."""
        return {
            "spec": self.spec.to_dict(),
            "spec_sha256": self.spec.sha256,
            "row_format": self.row_format.to_dict(),
            "measures": [measure.to_dict() for measure in self.measures],
        }

    @property
    def dataset(self) -> dict:
        """The identity of the rows, with every shard."""
        # Not asdict, which copies every value and takes most of the time.
        shards = [
            {name: value for name, value in vars(record).items() if name != "spec_sha256"} for record in self.records
        ]
        return self.head | {"shards": shards}

    @cached_property
    def dataset_sha256(self) -> str:
        """The identity of the rows."""
        hashed = self.head | {"shards": record_hashes(self.spec, self.records)}
        return hashlib.sha256(canonical(hashed).encode()).hexdigest()

    @property
    def measure(self) -> Measure | None:
        """What the bands select by; None if every candidate is a row."""
        return band_measure(self.measures)

    @property
    def rows(self) -> int:
        """Rows of all splits and bands."""
        return len(self.spec.bands) * sum(self.spec.rows(split) for split in SPLITS)

    @property
    def splits(self) -> list[str]:
        """The splits that have rows."""
        return [split for split in SPLITS if self.spec.rows(split)]

    @property
    def first_split(self) -> str:
        """The split that is shown where none is named: train, if it has rows."""
        return self.splits[0]

    def part(self, split: str, band: str) -> Sequence[Record]:
        """The records of a split and band, in shard order; empty if there is no such part."""
        numbers = part(self.spec, split, band)
        return self.records[numbers.start : numbers.stop]

    def path(self, record: Record) -> str:
        """The path of the record's shard in the folder."""
        return relative_path(self.spec, self.file_format, record.split, record.band, record.shard)

    def hashed_files(self) -> list[tuple[str, File]]:
        """Every file that the manifest has a hash of, by path: the shards and, if there is one, the index."""
        return [*self.files.items(), *([(INDEX, self.index)] if self.index else [])]

    def to_dict(self) -> dict:
        """Plain values, every shard and file listed."""
        files = {path: file.to_dict() for path, file in self.files.items()}
        return self._to_dict(self.dataset, {"files": files})

    def documents(self) -> dict[str, bytes]:
        """The files that describe the shards, by name, in the order in which they are written."""
        if len(self.files) <= LISTED_FILES:
            return {MANIFEST: _document(self.to_dict())}
        index = pack(self.spec, self.records, self.files)
        dataset = self.head | {"shards": record_hashes(self.spec, self.records)}
        described = File(len(index), hashlib.sha256(index).hexdigest()).to_dict()
        value = self._to_dict(dataset, {"files": file_hashes(self.spec, self.files), "index": described})
        return {INDEX: index, MANIFEST: _document(value)}

    def _to_dict(self, dataset: dict, stored: dict) -> dict:
        return {
            "manifest_version": MANIFEST_VERSION,
            "dataset": dataset,
            "dataset_sha256": self.dataset_sha256,
            "storage": {"format": self.file_format, "toolchain": dict(self.toolchain), **stored},
        }


def _document(value: dict) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def toolchain() -> dict[str, str]:
    """The versions that the bytes of a file may depend on."""
    return {"ncagen": VERSION, "pyarrow": pa.__version__}


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces, as it is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read_manifest(place: str | os.PathLike | Folder) -> Manifest:
    """The manifest of a finished dataset. Raises ManifestError with one clear line."""
    folder = folder_at(place)
    path = folder.path(MANIFEST)
    try:
        try:  # one request where there is one
            text = folder.read(MANIFEST, MOST_BYTES).to_pybytes()
        except FileNotFoundError:
            raise _missing(folder) from None
        return parse(text, path, folder)[0]
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or one_line(error)}") from None


def _missing(folder: Folder) -> ManifestError:
    """Why there is no manifest. Raises OSError."""
    if of_experiment := no_dataset(folder):
        return of_experiment
    if folder.has(BUILDING):
        return ManifestError(f"{folder} is not finished: run the same ncagen build again to complete it")
    unsure = "" if folder.listable else ", or none that these credentials may read"
    return ManifestError(f"{folder} holds no dataset: there is no {MANIFEST} in it{unsure}")


def parse(text: bytes, path: str, folder: Folder) -> tuple[Manifest, dict]:
    """The manifest in a JSON text, and the whole value for what else it holds. Raises ManifestError naming `path`.

    folder: has the index, if there is one.
    """
    try:
        value = json.loads(str(text, "utf-8"), object_pairs_hook=without_duplicates, parse_constant=_refuse_constant)
        version = value["manifest_version"]
        if type(version) is not int or version != MANIFEST_VERSION:
            version = one_line(Exception(version))
            raise ManifestError(f"{path} has version {version}, this ncagen reads {MANIFEST_VERSION}")
        manifest = _parse(value, folder)
        # As texts, because 1, 1.0 and true are equal values.
        head = {name: item for name, item in value["dataset"].items() if name != "shards"}
        same = canonical(manifest.head) == canonical(head)
        same = same and manifest.dataset_sha256 == value["dataset_sha256"]
    except RecursionError:
        raise ManifestError(f"{path} is damaged: it is nested too deeply") from None
    except KeyError as error:
        raise ManifestError(f"{path} is damaged: {one_line(error)} is missing") from None
    except (SpecError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ManifestError(f"{path} is damaged: {one_line(error)}") from None
    if not same:
        raise ManifestError(f"{path} is damaged: its hash does not match what it says")
    return manifest, value


def _parse(value: dict, folder: Folder) -> Manifest:
    """Reads the parsed JSON; every path is one that the spec itself gives, so none can lead out of the folder."""
    dataset, storage = value["dataset"], value["storage"]
    _check_bands(dataset["spec"]["bands"])
    spec = BuildSpec.from_dict(dataset["spec"])
    row_format, measures = _parse_rows(dataset, spec)
    file_format, versions = storage["format"], storage["toolchain"]
    if file_format not in FORMATS:
        raise ValueError(f"format {file_format!r} is not known")
    if type(versions) is not dict or not all(type(version) is str for version in versions.values()):
        raise ValueError(f"toolchain {versions!r} is not a version for each name")
    if "index" in storage:
        index = _parse_index(value, spec)
        leaves = Leaves(folder, spec, file_format, dataset["shards"], storage["files"])
        records = Records(leaves, range(shard_count(spec)))
        return Manifest(spec, row_format, measures, records, file_format, versions, Files(leaves), index)
    listed = _parse_records(dataset["shards"], spec)
    files = _parse_files(storage["files"])
    manifest = Manifest(spec, row_format, measures, listed, file_format, versions, files)
    if list(files) != [manifest.path(record) for record in listed]:
        raise ValueError("its files are not those of its shards")
    return manifest


def _parse_index(value: dict, spec: BuildSpec) -> File:
    """Describes index.bin. Raises ValueError for another size or number of leaves than the spec's."""
    index = File(**value["storage"]["index"])
    for hashes in (value["dataset"]["shards"], value["storage"]["files"]):
        # Counted first: a small file may name a spec of more leaves than there is memory to list.
        if type(hashes) is not list or len(hashes) != leaf_count(spec) or not all(map(is_sha256, hashes)):
            raise ValueError(f"its hashes are not those of the leaves of its spec's {INDEX}")
    if not index.is_valid() or index.footer_bytes is not None or index.bytes != index_bytes(spec):
        raise ValueError(f"its {INDEX} has not the size and hash of its spec's")
    return index


def _parse_records(shards: list[dict], spec: BuildSpec) -> tuple[Record, ...]:
    spec_sha256 = spec.sha256
    records = tuple(Record(spec_sha256=spec_sha256, **shard) for shard in shards)
    # Counted first: a small file may name a spec of more shards than there is memory to list.
    if len(records) != shard_count(spec) or [(r.split, r.band, r.shard) for r in records] != shard_keys(spec):
        raise ValueError("its shards are not those of its spec")
    for record in records:
        counts = (record.rows, record.tried, record.below, record.above)
        if not all(type(n) is int and 0 <= n <= SHARD_CANDIDATES for n in counts):
            raise ValueError(f"{counts} are not counts of rows and candidates")
        if type(record.shard) is not int or not is_sha256(record.content_sha256):
            raise ValueError(f"{record.band} {record.split} shard {record.shard} has no number and hash")
        if record.rows != (rows := spec.shard_rows(record.split, record.shard)):
            raise ValueError(f"{record.band} {record.split} shard {record.shard} has {record.rows} rows, not {rows}")
    return records


def _parse_files(listed: dict[str, dict]) -> dict[str, File]:
    files = {path: File(**file) for path, file in listed.items()}
    for path, file in files.items():
        if not file.is_valid():
            raise ValueError(f"{path} has no size and hash")
    return files


def _parse_rows(dataset: dict, spec: BuildSpec) -> tuple[RowFormat, tuple[Measure, ...]]:
    """The manifest's description of rows. Not compared with the source's; `ncagen verify` does that."""
    row_format = RowFormat.from_dict(dataset["row_format"])
    measures = tuple(Measure.from_dict(measure) for measure in dataset["measures"])
    dtypes = {column.name: column.dtype for column in row_format.facts}
    for measure in measures:
        if (dtypes.get(measure.column), dtypes.get(measure.ratio)) != ("int32", "float32"):
            raise ValueError(f"the measure {measure.column} is not a fact of its rows")
    if row_format.seq_len != spec.seq_len:
        raise ValueError(f"its rows are for {row_format.seq_len} tokens, its spec for {spec.seq_len}")
    return row_format, measures


def without_duplicates(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object; a second value for a name, which Python would let win, is an error."""
    value: dict[str, object] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"{name!r} is in it twice")
        value[name] = item
    return value


def _refuse_constant(name: str) -> None:
    """NaN and Infinity, which Python reads but JSON does not have."""
    raise ValueError(f"{name} is not a number of JSON")


def _check_bands(bands: list) -> None:
    """Limits the number of bands, since the spec compares each with each."""
    if len(bands) > MOST_BANDS:
        raise ValueError(f"it has {len(bands)} bands: a dataset has {MOST_BANDS} at most")
    for band in bands:
        if len(band["name"]) > LONGEST_NAME:
            raise ValueError(f"band {band['name']!r} has too long a name")


def build_of(spec: BuildSpec, file_format: str) -> dict:
    """The content of building.json: everything that decides the bytes of the folder."""
    return {"spec": spec.to_dict(), "format": file_format, "toolchain": toolchain()}


def differences(there: Mapping, wanted: Mapping) -> list[str]:
    """`name: there -> wanted` for every value that differs between two builds."""
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
