"""Finds out whether a dataset's rows can be drawn as grids, and how.

Grids of a single line of cells, as those of elementary rules, are drawn as one picture with time downwards.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.dataset.manifest import Manifest
from ncagen.errors import NcagenError
from ncagen.sources import source_of
from ncagen.sources.source import Grids

MOVING_LINES = 32  # of a picture that moves


@dataclass(frozen=True)
class Lines:
    """Grids of one line of cells as `Grids` of `height` lines, time downwards; each begins one line after the last."""

    lines: Grids
    height: int

    @property
    def states(self) -> int:
        """Number of states of a cell."""
        return self.lines.states

    @property
    def width(self) -> int:
        """Columns of cells in a grid."""
        return self.lines.width

    @property
    def frames(self) -> int:
        """Number of grids in a row."""
        return self.lines.frames - self.height + 1

    def cells(self, input_ids: np.ndarray) -> np.ndarray:
        """Converts rows to grids. input_ids: integers [row, token]. Returns uint8[row, frame, y, x], cell states."""
        lines = self.lines.cells(input_ids)[:, :, 0]
        return np.stack([lines[:, first : first + self.height] for first in range(self.frames)], axis=1)

    def frame_name(self, frame: int) -> str:
        """Returns the first and the last step, as in "t=10 to t=40". frame: the grid's index."""
        last = frame + self.height - 1
        return f"{self.lines.frame_name(frame)} to {self.lines.frame_name(last)}"


def still(grids: Grids) -> Grids:
    """Returns the grids as they are drawn side by side: lines of cells as one picture."""
    return grids if grids.height > 1 else Lines(grids, grids.frames)


def moving(grids: Grids) -> Grids:
    """Returns the grids as they are played: lines of cells move upwards."""
    return grids if grids.height > 1 else Lines(grids, min(MOVING_LINES, grids.frames // 2 + 1))


def grids_of(manifest: Manifest) -> Grids | None:
    """Returns the grids of a dataset's rows; None if rows are not grids. Raises SpecError for an unknown source."""
    return source_of(manifest.spec).grids()


def drawable(manifest: Manifest, use: str) -> Grids:
    """Returns the grids of a dataset's rows. use: a verb for the error message, as in "play".

    Raises NcagenError if rows are not grids, SpecError for an unknown source.
    """
    found = grids_of(manifest)
    if found is None:
        raise NcagenError(f"rows of source {manifest.spec.source.name} are not grids: there is nothing to {use}")
    return found
