"""A plain reader of a finished dataset folder: rows by number, shards in order. numpy and pyarrow only.

Shuffling, resuming, mixing and remote folders are not here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ncagen.dataset import shard as files
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.dataset.shard import DamagedShard, Record, Rows
from ncagen.errors import NcagenError


class Dataset:
    """The rows of one split and band of a dataset folder.

    `dataset[i]` is a dict of one row's columns; `len(dataset)` its rows; `dataset.manifest` the receipt. A shard is
    read whole, checked against its hash, and kept until another is asked for.
    """

    def __init__(self, folder: str | Path, split: str = "train", band: str | None = None):
        """Opens a folder; `band` may be left out where there is one. Raises NcagenError."""
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        names = [b.name for b in self.manifest.spec.bands]
        if band is None and len(names) > 1:
            raise NcagenError(f"{folder} holds several bands: say which of {', '.join(names)}")
        self.split, self.band = split, band or names[0]
        self.records = [r for r in self.manifest.records if (r.split, r.band) == (split, self.band)]
        if not self.records:
            splits = ", ".join(dict.fromkeys(r.split for r in self.manifest.records))
            raise NcagenError(
                f"{folder} has no {split} rows in band {self.band}: it has {splits} in {', '.join(names)}"
            )
        self._ends = np.cumsum([r.rows for r in self.records])
        self._held: tuple[int, Rows] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} is out of range: there are {len(self)}")
        row %= len(self)
        shard = int(np.searchsorted(self._ends, row, side="right"))
        rows = self.shard(shard)
        at = row - (int(self._ends[shard]) - len(rows.candidate))
        return {name: column[at] for name, column in rows._asdict().items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[row] for row in range(len(self)))

    def shard(self, number: int) -> Rows:
        """All rows of one shard, checked. Raises DamagedShard."""
        if self._held is None or self._held[0] != number:
            self._held = number, read_shard(self.folder, self.manifest, self.records[number])
        return self._held[1]


def read_shard(folder: Path, manifest: Manifest, record: Record) -> Rows:
    """The rows of one shard of a manifest. Raises DamagedShard naming the file where they are not those."""
    path = folder / manifest.path(record)
    try:
        return rows_of(path.read_bytes(), manifest, record)
    except OSError as error:
        raise DamagedShard(f"{path}: {error.strerror}") from None
    except DamagedShard as error:
        raise DamagedShard(f"{path}: {error}") from None


def rows_of(data: bytes, manifest: Manifest, record: Record) -> Rows:
    """The rows in a file's bytes. Raises DamagedShard where they are not the shard of this record."""
    rows, found = files.from_bytes(pa.py_buffer(data), manifest.storage)
    if found != record:
        raise DamagedShard("its record is not the manifest's")
    return rows
