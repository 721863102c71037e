"""Adds to a card on the Hub what the manifest lacks: the source's description, a histogram of ratios, drawn rows."""

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import Manifest
from ncagen.row_format import SourceCard
from ncagen.selection import ratio_counts


class Picture(NamedTuple):
    """A PNG file, and the numbers of the rows in it."""

    png: bytes
    rows: range


@dataclass(frozen=True)
class CardExtras:
    """source: describes its rows. histogram: lines of text. picture: of some rows, if they can be drawn.

    yardsticks: lines with the losses of simple predictors.
    """

    source: SourceCard
    histogram: tuple[str, ...] = ()
    picture: Picture | None = None
    yardsticks: tuple[str, ...] = ()


def count_ratios(place: str | os.PathLike | Folder, manifest: Manifest) -> np.ndarray:
    """Counts the rows of the first split by ratio, as `selection.ratio_counts` does: int64[bin].

    Empty without a measure. Only that column is decoded. Raises OSError.
    """
    if manifest.measure is None:
        return np.zeros(0, np.int64)
    folder, name = folder_at(place), manifest.measure.ratio
    paths = [manifest.path(record) for record in manifest.records if record.split == manifest.first_split]
    read = (folder.read(path, manifest.files[path].bytes, checked=True) for path in paths)
    found = [ratio_counts(_column(data, manifest.file_format, name)) for data in read]
    counts = np.zeros(max(map(len, found)), np.int64)
    for some in found:
        counts[: len(some)] += some
    return counts


def _column(data: pa.Buffer, file_format: str, name: str) -> np.ndarray:
    """One column of a shard: [row]."""
    if file_format == "parquet":
        return pq.read_table(pa.BufferReader(data), columns=[name])[name].to_numpy()
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()[name].to_numpy()
