"""The histogram in a card: how many rows for training have which gzip ratio. Only that column is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.complexity.bands import ratio_counts
from ncagen.dataset.manifest import Manifest
from ncagen.view.terminal import histogram


def picture(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """A line for each two hundredths of the ratio, from the lowest to the highest that a row has."""
    paths = [folder / manifest.path(record) for record in manifest.records if record.split == "train"]
    found = [ratio_counts(_ratios(path, manifest.storage)) for path in paths]
    counts = np.zeros(max(map(len, found)), np.int64)
    for some in found:
        counts[: len(some)] += some
    return tuple(histogram(counts))


def _ratios(path: Path, storage: str) -> np.ndarray:
    """The ratio of each row: float32[row]."""
    if storage == "parquet":
        return pq.read_table(path, columns=["gzip_ratio"])["gzip_ratio"].to_numpy()
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()["gzip_ratio"].to_numpy()
