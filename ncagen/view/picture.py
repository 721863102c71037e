"""Rows as pictures: PNG with one line of grids for each row, GIF with one row's grids one after the other.

Pixels are indices into the palette of the states, so colours are exact and files small. Needs Pillow, the `view` extra.
What a terminal shows is `terminal`'s job, what a browser shows `webpage`'s.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ncagen.sources.nca import tokens
from ncagen.spec import Spec
from ncagen.view.palette import palette

GAP = 1  # cells between grids, transparent in PNG
ACROSS = 9  # grids in a line of a picture of one row
STRIP, SINGLE = 1100, 1000  # widths in pixels to come near, of many rows and of one
MOVING = 360  # side in pixels to come near
SECONDS = 0.125  # of a grid in a GIF


def png(spec: Spec, input_ids: np.ndarray, file: Path | BinaryIO) -> None:
    """Writes a picture of rows, their grids from left to right; a single row's grids are cut into several lines.

    input_ids: [row, token], well-formed rows.
    """
    grids = tokens.grids(spec, input_ids)
    if len(grids) == 1:
        scale = _scale(SINGLE, min(ACROSS, spec.frames) * (spec.grid + GAP))
        lines = [grids[0][first : first + ACROSS] for first in range(0, spec.frames, ACROSS)]
    else:
        scale = _scale(STRIP, spec.frames * (spec.grid + GAP))
        lines = list(grids)
    ground = spec.states
    high, wide = (spec.grid + GAP) * len(lines) - GAP, (spec.grid + GAP) * len(lines[0]) - GAP
    cells = np.full((high, wide), ground, np.uint16)
    for y, line in enumerate(lines):
        for x, grid in enumerate(line):
            top, left = y * (spec.grid + GAP), x * (spec.grid + GAP)
            cells[top : top + spec.grid, left : left + spec.grid] = grid
    colours = np.array([(*colour, 255) for colour in palette(spec.states)] + [(0, 0, 0, 0)], np.uint8)
    large = cells.repeat(scale, axis=0).repeat(scale, axis=1)
    if ground < 256:
        image = Image.fromarray(large.astype(np.uint8), "P")
        image.putpalette(colours.tobytes(), "RGBA")
    else:
        image = Image.fromarray(colours[large], "RGBA")
    image.save(file, "PNG", optimize=True)


def gif(spec: Spec, input_ids: np.ndarray, file: Path | BinaryIO) -> None:
    """Writes a picture that plays one row's grids for ever. input_ids: [token], one well-formed row."""
    scale = _scale(MOVING, spec.grid)
    colours = bytes(value for colour in palette(spec.states) for value in colour)
    frames = []
    for grid in tokens.grids(spec, input_ids[None])[0]:
        frame = Image.fromarray(grid.repeat(scale, axis=0).repeat(scale, axis=1), "P")
        frame.putpalette(colours)
        frames.append(frame)
    first, *others = frames
    first.save(file, "GIF", save_all=True, append_images=others, duration=round(1000 * SECONDS), loop=0)


def _scale(pixels: int, cells: int) -> int:
    """Pixels of a cell, so that so many cells come near to so many pixels."""
    return max(1, round(pixels / cells))
