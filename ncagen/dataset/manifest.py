"""Reads and writes the manifest. It is written last: if it exists, the dataset is complete.

It has two parts. `dataset` is a pure function of the spec and is hashed (`dataset_sha256`): equal hashes mean equal
rows, whatever the file format, the toolchain or the number of workers. `storage` describes the files of this copy: file
format, versions, and size and hash of every file. Neither contains a time, a host or a path outside the folder.

While a build runs, `building.json` holds its spec, file format and versions instead, so that the same command resumes
the build and a different one is refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.shard import FORMATS, SHARD_CANDIDATES, Record, footer_bytes, is_sha256, one_line, relative_path
from ncagen.errors import NcagenError, SpecError
from ncagen.row_format import Measure, RowFormat, band_measure
from ncagen.spec import BuildSpec
from ncagen.version import VERSION

MANIFEST = "manifest.json"
BUILDING = "building.json"
MANIFEST_VERSION = 2
SPLITS = ("train", "validation")

# Of manifest.json, which has about 640 bytes for each file: 1.7 million million tokens in files of the usual size.
MOST_BYTES = 256 * 2**20
MOST_FILES = 400_000

# More than anybody makes; the spec compares each with each. A name is a folder's, which no file system lets be longer.
MOST_BANDS = 4096
LONGEST_NAME = 255


class ManifestError(NcagenError):
    """A folder whose manifest is missing, unreadable or not consistent with itself."""


@dataclass(frozen=True)
class File:
    """A shard's file: its size in bytes and the hash of them; size and hash of its footer, the last of these bytes.

    A file without the latter, as another program may have written it, is fetched whole.
    """

    bytes: int
    sha256: str
    footer_bytes: int | None = None
    footer_sha256: str | None = None

    @classmethod
    def of(cls, data: pa.Buffer, file_format: str) -> "File":
        """Describes a file as `shard.to_bytes` makes it."""
        size = footer_bytes(data, file_format)
        footer = hashlib.sha256(data[data.size - size :]).hexdigest()
        return cls(data.size, hashlib.sha256(data).hexdigest(), size, footer)

    def to_dict(self) -> dict:
        """Plain values, as in manifest.json: without a footer where none is known."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def is_valid(self) -> bool:
        """Whether these are sizes and hashes."""
        if type(self.bytes) is not int or self.bytes < 0 or not is_sha256(self.sha256):
            return False
        if self.footer_bytes is None and self.footer_sha256 is None:
            return True
        sized = type(self.footer_bytes) is int and 0 < self.footer_bytes <= self.bytes
        return sized and is_sha256(self.footer_sha256)


@dataclass(frozen=True)
class Manifest:
    """A finished dataset. records: every shard in `shard_keys` order. files: by path within the folder.

    row_format, measures: what the spec's source says of its rows, so that they are read without the source.
    """

    spec: BuildSpec
    row_format: RowFormat
    measures: tuple[Measure, ...]
    records: tuple[Record, ...]
    file_format: str
    toolchain: Mapping[str, str]
    files: Mapping[str, File]

    @cached_property
    def dataset(self) -> dict:
        """The hashed part: the identity of the rows."""
        spec = self.spec
        # Not asdict, which copies every value and takes most of the time that a large manifest is read in.
        shards = [
            {name: value for name, value in vars(record).items() if name != "spec_sha256"} for record in self.records
        ]
        return {
            "spec": spec.to_dict(),
            "spec_sha256": spec.sha256,
            "row_format": self.row_format.to_dict(),
            "measures": [measure.to_dict() for measure in self.measures],
            "shards": shards,
        }

    @cached_property
    def dataset_sha256(self) -> str:
        """The identity of the rows."""
        return hashlib.sha256(canonical(self.dataset).encode()).hexdigest()

    @property
    def measure(self) -> Measure | None:
        """What the bands select by; None if every candidate is a row."""
        return band_measure(self.measures)

    @property
    def rows(self) -> int:
        """Rows of all splits and bands."""
        return sum(record.rows for record in self.records)

    def part(self, split: str, band: str) -> list[Record]:
        """The records of a split and band, in shard order; empty if there is no such part."""
        return [record for record in self.records if (record.split, record.band) == (split, band)]

    def path(self, record: Record) -> str:
        """The path of the record's shard in the folder."""
        return relative_path(self.spec, self.file_format, record.split, record.band, record.shard)

    def to_dict(self) -> dict:
        """Plain values, as in manifest.json."""
        return {
            "manifest_version": MANIFEST_VERSION,
            "dataset": self.dataset,
            "dataset_sha256": self.dataset_sha256,
            "storage": {
                "format": self.file_format,
                "toolchain": dict(self.toolchain),
                "files": {path: file.to_dict() for path, file in self.files.items()},
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


def shard_keys(spec: BuildSpec) -> list[tuple[str, str, int]]:
    """Split, band and number of every shard of a dataset, in the manifest's order."""
    return [(split, band.name, shard) for split in SPLITS for band in spec.bands for shard in range(spec.shards(split))]


def read_manifest(place: str | os.PathLike | Folder) -> Manifest:
    """The manifest of a finished dataset. Raises ManifestError with one clear line."""
    folder = folder_at(place)
    path = folder.path(MANIFEST)
    try:
        try:  # one request where there is one
            text = folder.read(MANIFEST, MOST_BYTES).to_pybytes()
        except FileNotFoundError:
            raise _missing(folder) from None
        return parse(text, path)[0]
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or one_line(error)}") from None


def _missing(folder: Folder) -> ManifestError:
    """Why there is no manifest. Raises OSError."""
    if folder.has(BUILDING):
        return ManifestError(f"{folder} is not finished: run the same ncagen build again to complete it")
    unsure = "" if folder.listable else ", or none that these credentials may read"
    return ManifestError(f"{folder} holds no dataset: there is no {MANIFEST} in it{unsure}")


def parse(text: bytes, path: str) -> tuple[Manifest, dict]:
    """The manifest in a JSON text, and the whole value for what else it holds. Raises ManifestError naming `path`."""
    try:
        value = json.loads(str(text, "utf-8"), object_pairs_hook=without_duplicates, parse_constant=_refuse_constant)
        version = value["manifest_version"]
        if type(version) is not int or version != MANIFEST_VERSION:
            version = one_line(Exception(version))
            raise ManifestError(f"{path} has version {version}, this ncagen reads {MANIFEST_VERSION}")
        manifest = _parse(value)
        # As texts, because 1, 1.0 and true are equal values.
        same = canonical(manifest.dataset) == canonical(value["dataset"])
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


def _parse(value: dict) -> Manifest:
    """Reads the parsed JSON; every path is one that the spec itself gives, so none can lead out of the folder."""
    _check_bands(value["dataset"]["spec"]["bands"])
    spec = BuildSpec.from_dict(value["dataset"]["spec"])
    row_format, measures = _parse_rows(value["dataset"], spec)
    spec_sha256 = spec.sha256
    records = tuple(Record(spec_sha256=spec_sha256, **shard) for shard in value["dataset"]["shards"])
    # Counted first: a small file may name a spec of more shards than there is memory to list.
    count = len(spec.bands) * sum(spec.shards(split) for split in SPLITS)
    if len(records) != count or [(r.split, r.band, r.shard) for r in records] != shard_keys(spec):
        raise ValueError("its shards are not those of its spec")
    for record in records:
        counts = (record.rows, record.tried, record.below, record.above)
        if not all(type(n) is int and 0 <= n <= SHARD_CANDIDATES for n in counts):
            raise ValueError(f"{counts} are not counts of rows and candidates")
        if type(record.shard) is not int or not is_sha256(record.content_sha256):
            raise ValueError(f"{record.band} {record.split} shard {record.shard} has no number and hash")
        if record.rows != (rows := spec.shard_rows(record.split, record.shard)):
            raise ValueError(f"{record.band} {record.split} shard {record.shard} has {record.rows} rows, not {rows}")
    file_format = value["storage"]["format"]
    if file_format not in FORMATS:
        raise ValueError(f"format {file_format!r} is not known")
    files = {path: File(**file) for path, file in value["storage"]["files"].items()}
    for path, file in files.items():
        if not file.is_valid():
            raise ValueError(f"{path} has no size and hash")
    versions = value["storage"]["toolchain"]
    if type(versions) is not dict or not all(type(version) is str for version in versions.values()):
        raise ValueError(f"toolchain {versions!r} is not a version for each name")
    manifest = Manifest(spec, row_format, measures, records, file_format, versions, files)
    if list(files) != [manifest.path(record) for record in records]:
        raise ValueError("its files are not those of its shards")
    return manifest


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
