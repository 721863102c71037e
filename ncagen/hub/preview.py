"""Some rows of a dataset as a picture for its card, where Pillow, which draws it, is installed."""

import io
from typing import NamedTuple

import numpy as np

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.reader import Dataset

ROWS = 12


class Drawing(NamedTuple):
    """A PNG file, and the numbers of the rows in it."""

    png: bytes
    rows: range


def draw(folder: Folder, manifest: Manifest) -> Drawing | None:
    """The first rows for training of the first band; None without Pillow. Raises DamagedShard."""
    try:
        from ncagen.view.picture import png
    except ModuleNotFoundError:
        return None
    dataset = Dataset(folder, band=manifest.spec.bands[0].name)
    rows = range(min(ROWS, len(dataset)))
    file = io.BytesIO()
    png(manifest.spec, dataset.rows(np.array(rows), ("input_ids",))["input_ids"], file)
    return Drawing(file.getvalue(), rows)
