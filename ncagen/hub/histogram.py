"""The histogram in a card: how many rows for training have which gzip ratio. Only that column is decoded."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import Manifest
from ncagen.selection import ratio_counts
from ncagen.view.terminal import histogram


def picture(place: str | os.PathLike | Folder, manifest: Manifest) -> tuple[str, ...]:
    """A line for each two hundredths of the ratio, from the lowest to the highest that a row has."""
    folder = folder_at(place)
    paths = [manifest.path(record) for record in manifest.records if record.split == "train"]
    read = (folder.read(path, manifest.files[path].bytes, checked=True) for path in paths)
    found = [ratio_counts(_ratios(data, manifest.storage)) for data in read]
    counts = np.zeros(max(map(len, found)), np.int64)
    for some in found:
        counts[: len(some)] += some
    return tuple(histogram(counts))


def _ratios(data: pa.Buffer, storage: str) -> np.ndarray:
    """The ratio of each row: float32[row]."""
    if storage == "parquet":
        return pq.read_table(pa.BufferReader(data), columns=["gzip_ratio"])["gzip_ratio"].to_numpy()
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()["gzip_ratio"].to_numpy()
