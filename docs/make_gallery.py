"""Writes the pictures of docs/gallery.md, twelve rows of each band and one that moves: python docs/make_gallery.py"""

import tempfile
from pathlib import Path

import numpy as np

from ncagen.dataset.folder import Folder
from ncagen.dataset.reader import Dataset
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.scheduler import build, threads
from ncagen.factory.settings import from_settings
from ncagen.selection import BANDS
from ncagen.view import picture
from ncagen.view.grids import drawable

PICTURES = Path(__file__).with_name("pictures")
ROWS = 12
MOVING = ("medium", 6)  # the picture at the top of the README
ORDER = {"tokens": ROWS * 1024, "validation": 0, "bands": list(BANDS)}


def write(pictures: Path) -> None:
    """Builds the twelve rows of each band and draws them."""
    pictures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        order = BuildJob(from_settings(ORDER), "parquet", Folder(Path(place) / "gallery"))
        build(order, threads(order, 1))
        for band in BANDS:
            rows = Dataset(Path(place) / "gallery", band=band)
            ids = rows.rows(np.arange(ROWS))["input_ids"]
            drawn = drawable(rows.manifest, "draw")
            picture.png(drawn, ids, pictures / f"{band}.png")
            if band == MOVING[0]:
                picture.gif(drawn, ids[MOVING[1]], pictures / "moving.gif")


if __name__ == "__main__":
    write(PICTURES)
