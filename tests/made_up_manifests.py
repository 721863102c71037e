"""Manifests of shards that nobody made, and the refusal of one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import spec_of

from ncagen.dataset.index import shard_keys
from ncagen.dataset.manifest import Manifest, ManifestError
from ncagen.dataset.shard import File, Record, relative_path
from ncagen.sources import source_of
from ncagen.spec import BuildSpec


def refusal(call: Callable[[], object]) -> str:
    """The line of the ManifestError that a call raises."""
    with pytest.raises(ManifestError) as caught:
        call()
    return str(caught.value)


def described(data: bytes) -> File:
    """Size and hash of a file."""
    return File(len(data), hashlib.sha256(data).hexdigest())


def write(folder: Path, manifest: Manifest) -> None:
    """Writes what describes the shards."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in manifest.documents().items():
        (folder / name).write_bytes(data)


def made_up(spec: BuildSpec, file_format: str = "parquet") -> Manifest:
    """A manifest of shards that nobody made; some of their files have no footer."""
    records, files = [], {}
    for number, key in enumerate(shard_keys(spec)):
        digest, rows = hashlib.sha256(str(number).encode()).hexdigest(), spec.shard_rows(key.split, key.shard)
        records.append(Record(spec.sha256, *key, rows, rows + 2 * number, number, number, digest))
        footer = (number + 1, digest) if number % 3 else ()
        files[relative_path(spec, file_format, *key)] = File(10**6 + number, digest, *footer)
    source = source_of(spec)
    return Manifest(spec, source.row_format, source.measures, records, file_format, {"pyarrow": "0"}, files)


def many(shards: int = 1300, **changes) -> BuildSpec:
    """A spec of so many training shards, and as many as a third for validation, in each of two bands."""
    return spec_of(tokens=shards * 1024, validation=shards // 3 * 1024, rows_per_shard=1, **changes)
