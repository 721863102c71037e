"""Draws rows as pictures: PNG with one line of grids for each row, GIF that plays the grids of one row.

Pixels are indices into the palette of the states, so colours are exact and files small. Needs Pillow, the `view` extra.
Not covered: text for a terminal (`terminal`), the page for a browser (`webpage`).
"""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ncagen.hints import needed_by

with needed_by("a picture"):
    from PIL import Image

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.reader import Dataset
from ncagen.sources.source import Grids
from ncagen.view.grids import grids_of, still
from ncagen.view.palette import palette

PREVIEW_ROWS = 12
STRIP_FRAMES = 512
GAP = 1  # cells between grids, transparent in PNG
ACROSS = 9  # grids in a line, in a picture of one row
ROWS_ACROSS = 6  # rows in a line, if they are one grid each
STRIP, SINGLE = 1100, 1000  # target widths in pixels, of many rows and of one
MOVING = 360  # target side in pixels
SECONDS = 0.125  # of a grid in a GIF


def draw(folder: Folder, manifest: Manifest) -> tuple[bytes, range] | None:
    """Draws the first rows of the first split and band. Returns a PNG and the row numbers; None if rows are not grids.

    Raises DamagedShard.
    """
    drawn = grids_of(manifest)
    if drawn is None:
        return None
    dataset = Dataset(folder, manifest.first_split, manifest.spec.bands[0].name)
    rows = range(min(PREVIEW_ROWS, len(dataset)))
    file = io.BytesIO()
    png(still(drawn), dataset.rows(np.array(rows), ("input_ids",))["input_ids"], file)
    return file.getvalue(), rows


def png(drawn: Grids, input_ids: np.ndarray, file: Path | BinaryIO) -> None:
    """Writes a picture of rows, with grids from left to right.

    The grids of a single row take several lines, and so do rows of one grid each.

    Of several rows the first STRIP_FRAMES grids are drawn: viewers limit the width of a picture.
    input_ids: integers [row, token], well-formed rows.
    """
    grids = drawn.cells(input_ids)
    down, across = drawn.height + GAP, drawn.width + GAP
    if len(grids) == 1:
        scale = _scale(SINGLE, min(ACROSS, drawn.frames) * across)
        lines = [grids[0][first : first + ACROSS] for first in range(0, drawn.frames, ACROSS)]
    elif drawn.frames == 1:
        scale = _scale(STRIP, min(ROWS_ACROSS, len(grids)) * across)
        lines = [grids[first : first + ROWS_ACROSS, 0] for first in range(0, len(grids), ROWS_ACROSS)]
    else:
        lines = list(grids[:, :STRIP_FRAMES])
        scale = _scale(STRIP, len(lines[0]) * across)
    ground = drawn.states
    high, wide = down * len(lines) - GAP, across * len(lines[0]) - GAP
    cells = np.full((high, wide), ground, np.uint16)
    for y, line in enumerate(lines):
        for x, grid in enumerate(line):
            top, left = y * down, x * across
            cells[top : top + drawn.height, left : left + drawn.width] = grid
    colours = np.array([(*colour, 255) for colour in palette(drawn.states)] + [(0, 0, 0, 0)], np.uint8)
    large = cells.repeat(scale, axis=0).repeat(scale, axis=1)
    if ground < 256:
        image = Image.fromarray(large.astype(np.uint8), "P")
        image.putpalette(colours.tobytes(), "RGBA")
    else:
        image = Image.fromarray(colours[large], "RGBA")
    image.save(file, "PNG", optimize=True)


def gif(drawn: Grids, input_ids: np.ndarray, file: Path | BinaryIO) -> None:
    """Writes a picture that plays one row's grids in a loop. input_ids: integers [token], one well-formed row."""
    scale = _scale(MOVING, max(drawn.height, drawn.width))
    colours = bytes(value for colour in palette(drawn.states) for value in colour)
    frames = []
    for grid in drawn.cells(input_ids[None])[0]:
        frame = Image.fromarray(grid.repeat(scale, axis=0).repeat(scale, axis=1), "P")
        frame.putpalette(colours)
        frames.append(frame)
    first, *others = frames
    first.save(file, "GIF", save_all=True, append_images=others, duration=round(1000 * SECONDS), loop=0)


def _scale(pixels: int, cells: int) -> int:
    """Returns the pixels of a cell, so that `cells` cells take about `pixels` pixels."""
    return max(1, round(pixels / cells))
