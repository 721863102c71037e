"""Rows of automata as grids, for code that draws them. Not covered: colours, pictures and files (`ncagen.view`)."""

from dataclasses import dataclass

import numpy as np

from ncagen.sources.nca import tokens
from ncagen.sources.nca.settings import Settings


@dataclass(frozen=True)
class NcaGrids:
    """The recorded grids of rows with these settings, as `ncagen.sources.source.Grids`."""

    settings: Settings

    @property
    def states(self) -> int:
        """Number of states of a cell."""
        return self.settings.states

    @property
    def height(self) -> int:
        """Rows of cells in a grid."""
        return self.settings.height

    @property
    def width(self) -> int:
        """Columns of cells in a grid."""
        return self.settings.width

    @property
    def frames(self) -> int:
        """Number of grids in a row."""
        return self.settings.frames

    def cells(self, input_ids: np.ndarray) -> np.ndarray:
        """Converts rows to grids. input_ids: integers [row, token], well formed. Returns uint8[row, frame, y, x]."""
        return tokens.grids(self.settings, input_ids)

    def frame_name(self, frame: int) -> str:
        """Returns the step of a grid, as in "t=10", or its place in a row that a control rearranged.

        frame: the grid's index in the row.
        """
        if self.settings.rearranges:
            return f"#{frame}"
        return f"t={self.settings.warmup + self.settings.stride * frame}"
