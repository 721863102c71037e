"""Holds the build spec: everything that decides which rows a dataset holds, and nothing else.

A `BuildSpec` is checked once and never changes. Its canonical JSON and the sha256 of that are the dataset's identity:
two machines with the same spec make the same rows. Which source the rows come from stands in it by name, with that
source's settings as plain values, which only the source understands. How rows are stored (Parquet or Arrow), where,
and by how many workers is not part of it.

This module knows no source, score or file; what people type becomes a spec in `factory.settings`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ncagen.errors import SpecError
from ncagen.selection import Band

# A setting of a source: what JSON writes in one way only.
PLAIN = (bool, int, float, str)
MOST_SETTINGS = 256

RANGES = {
    "test": (0, 10**15),
    "tokens": (1, 10**15),
    "validation": (0, 10**15),
    "seed": (0, 2**32 - 1),
    "rows_per_shard": (1, 10**6),
    "seq_len": (64, 131072),
}

# Rows of a shard where nothing else is given, and its tokens at most: those of so many rows of 16,384.
ROWS_PER_SHARD, SHARD_TOKENS = 4096, 2**26


def default_rows_per_shard(seq_len: int) -> int:
    """Rows of a shard where nothing else is given: 4,096, and of rows of more than 16,384 tokens fewer."""
    return min(ROWS_PER_SHARD, max(1, SHARD_TOKENS // seq_len))


def check_range(name: str, value: object, least: int | None = None) -> None:
    """Raises SpecError for a setting that is no whole number in its range. least: instead of the range's."""
    first, most = RANGES[name]
    least = first if least is None else least
    if type(value) is not int:
        raise SpecError(f"{name} {value!r} is not a whole number")
    if not least <= value <= most:
        raise SpecError(f"{name} {value} is out of range: use {first} to {most}")


@dataclass(frozen=True)
class SourceSettings:
    """A source by name and version, and its settings: (name, plain value), sorted by name."""

    name: str
    version: int
    values: tuple[tuple[str, Any], ...]

    def __post_init__(self):
        if type(self.name) is not str or type(self.version) is not int:
            raise SpecError(f"source {self.name!r} of version {self.version!r} is not a name and a whole number")
        if len(self.values) > MOST_SETTINGS:
            raise SpecError(f"source {self.name} has {len(self.values)} settings: use {MOST_SETTINGS} at most")
        for name, value in self.values:
            if type(name) is not str or type(value) not in PLAIN:
                raise SpecError(f"setting {name!r} of source {self.name} is not a number, a text, true or false")
        object.__setattr__(self, "values", tuple(sorted(self.values)))  # so that equal settings are equal

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in a manifest."""
        return {"name": self.name, "version": self.version, **dict(self.values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SourceSettings":
        """The settings that `to_dict` wrote. Raises SpecError."""
        values = dict(values)
        if missing := [name for name in ("name", "version") if name not in values]:
            raise SpecError(f"the source has no {missing[0]}")
        return cls(values.pop("name"), values.pop("version"), tuple(values.items()))


@dataclass(frozen=True)
class BuildSpec:
    """What a dataset holds. tokens, validation, test: training tokens (rows of `seq_len`) of each split in each band.

    A dataset without a split `train` has a split `test`.
    """

    source: SourceSettings
    tokens: int
    bands: tuple[Band, ...]
    validation: int = 1_000_000
    seed: int = 0
    seq_len: int = 1024
    rows_per_shard: int = ROWS_PER_SHARD
    test: int = 0

    def __post_init__(self):
        for name in RANGES:
            check_range(name, getattr(self, name), least=0 if name == "tokens" and self.test else None)
        if not self.bands:
            raise SpecError("no band is given: use --band high")
        names = [band.name for band in self.bands]
        for band in self.bands:
            if (
                Band.parse(band.name, band.of) != band or not type(band.low) is type(band.high) is float
            ):  # the name is a folder's
                raise SpecError(f"band {band.name!r} does not have the limits {band.low} and {band.high}")
            if names.count(band.name) > 1:
                raise SpecError(f"band {band.name!r} is given twice")
        if any(self.shards(split) >= 2**31 for split in ("train", "validation", "test")):
            raise SpecError("this is over 2147483647 shards: use more rows_per_shard")

    def rows(self, split: str) -> int:
        """Rows of a split in each band."""
        tokens = {"train": self.tokens, "validation": self.validation, "test": self.test}[split]
        return -(-tokens // self.seq_len)

    def shards(self, split: str) -> int:
        """Shards of a split in each band."""
        return -(-self.rows(split) // self.rows_per_shard)

    def shard_rows(self, split: str, shard: int) -> int:
        """Rows of one shard: `rows_per_shard`, fewer in the last."""
        return min(self.rows_per_shard, self.rows(split) - shard * self.rows_per_shard)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in a manifest, `test` only where it has rows; `from_dict` reads them back."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "test" or self.test}
        return found | {"source": self.source.to_dict(), "bands": [band.to_dict() for band in self.bands]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BuildSpec":
        """The spec that `to_dict` wrote. Raises SpecError for a setting that is missing, unknown or out of range."""
        try:
            values = dict(values)
            known = [field.name for field in fields(cls)]
            if unknown := [name for name in values if name not in known]:
                raise SpecError(f"setting {unknown[0]!r} is not known: known are {', '.join(known)}")
            bands = tuple(Band(**band) for band in values.pop("bands"))
            return cls(source=SourceSettings.from_dict(values.pop("source")), bands=bands, **values)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise SpecError(f"the spec is incomplete: {error}") from None

    def canonical(self) -> str:
        """The JSON text that is hashed: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """The spec's identity, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
