"""The histogram in a card: how many rows for training have which gzip ratio. Only that column is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.manifest import Manifest

BINS = 50  # of one unit of the ratio
WIDTH = 40


def picture(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """A line for each two hundredths of the ratio, from the lowest to the highest that a row has."""
    counts = np.zeros(0, np.int64)
    for record in manifest.records:
        if record.split == "train":
            found = np.bincount(_bins(folder / manifest.path(record), manifest.storage), minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
    first, most = int(np.flatnonzero(counts)[0]), counts.max()
    return tuple(f"{i / BINS:.2f} {_bar(counts[i], most):{WIDTH}} {counts[i]:,}" for i in range(first, len(counts)))


def _bins(path: Path, storage: str) -> np.ndarray:
    """The bin of each row: int64[row]. A ratio on a limit belongs above it, however it was rounded."""
    if storage == "parquet":
        column = pq.read_table(path, columns=["gzip_ratio"])["gzip_ratio"]
    else:
        with pa.memory_map(str(path)) as file:
            column = pa.ipc.open_file(file).read_all()["gzip_ratio"]
    return np.floor(column.to_numpy() * BINS + 1e-6).astype(np.int64)


def _bar(count: int, most: int) -> str:
    return "█" * max(1, round(WIDTH * count / most)) if count else ""
