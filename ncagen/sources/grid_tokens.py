"""Converts grids to patch tokens and back; `PatchGrids` gives rows as grids to code that draws them.

A patch is a rectangle of cells, read row by row as the digits of a number in base `states`, lowest digit first; for
2 x 2 patches the cells a b / c d are a + n*b + n**2*c + n**3*d. The patches of a grid are listed row by row
between two delimiters, start-of-grid (id n**4 for such patches) and end-of-grid (the next id). Not covered: padding,
labels, attention masks, colours and pictures (`ncagen.view`).
"""

from dataclasses import dataclass

import numpy as np

from ncagen.sources.patches import GridRows, Patching


@dataclass(frozen=True)
class PatchGrids:
    """The recorded grids of rows, as `ncagen.sources.source.Grids`. shape: sizes of the rows."""

    shape: GridRows

    @property
    def states(self) -> int:
        """Number of states of a cell."""
        return self.shape.states

    @property
    def height(self) -> int:
        """Rows of cells in a grid."""
        return self.shape.height

    @property
    def width(self) -> int:
        """Columns of cells in a grid."""
        return self.shape.width

    @property
    def frames(self) -> int:
        """Number of grids in a row."""
        return self.shape.frames

    def cells(self, input_ids: np.ndarray) -> np.ndarray:
        """Converts rows to grids. input_ids: integers [row, token], well formed. Returns uint8[row, frame, y, x]."""
        return grids(self.shape, input_ids)

    def frame_name(self, frame: int) -> str:
        """Returns the step of a grid, as in "t=10", or its place in a row whose grids are not in the order of steps.

        frame: the grid's index in the row.
        """
        if not self.shape.in_order:
            return f"#{frame}"
        return f"t={self.shape.warmup + self.shape.stride * frame}"


def patch_tokens(shape: GridRows, grids: np.ndarray) -> np.ndarray:
    """Converts grids to patches, without delimiters.

    grids: uint8[..., row, column]. Returns uint16 or uint32 [..., patch].
    """
    high, wide = shape.height // shape.patch_height, shape.width // shape.patch
    cells = grids.reshape(*grids.shape[:-2], high, shape.patch_height, wide, shape.patch)
    cells = np.moveaxis(cells, -3, -2).reshape(*grids.shape[:-2], shape.patches, shape.patch_cells)
    digits = shape.states ** np.arange(shape.patch_cells, dtype=np.int64)
    return (cells @ digits).astype(shape.token_dtype)


def rows(shape: GridRows, *parts: np.ndarray) -> np.ndarray:
    """Puts the patches of each grid between delimiters.

    parts: uint16 or uint32 [batch, frame, patch], the frames of each after those of the one before. Returns the same
    dtype [batch, token], tokens_per_grid for each frame.
    """
    batch, frames = len(parts[0]), sum(part.shape[1] for part in parts)
    out = np.empty((batch, frames, shape.tokens_per_grid), parts[0].dtype)
    out[..., 0] = shape.patch_ids
    first = 0
    for part in parts:
        out[:, first : first + part.shape[1], 1:-1] = part
        first += part.shape[1]
    out[..., -1] = shape.patch_ids + 1
    return out.reshape(batch, frames * shape.tokens_per_grid)


def well_formed(shape: GridRows, tokens: np.ndarray) -> np.ndarray:
    """Returns bool[batch], true for rows of whole grids, each between delimiters. tokens: integers [batch, token]."""
    grids = _by_grid(shape, tokens)
    return (
        (grids[..., 0] == shape.patch_ids).all(axis=1)
        & (grids[..., -1] == shape.patch_ids + 1).all(axis=1)
        & (grids[..., 1:-1] < shape.patch_ids).all(axis=(1, 2))
    )


def patches_of(shape: GridRows, tokens: np.ndarray) -> np.ndarray:
    """Takes the patches of whole rows. tokens: [batch, token] of any dtype. Returns it as [batch, frame, patch]."""
    return _by_grid(shape, tokens)[..., 1:-1]


def grids(shape: GridRows, tokens: np.ndarray) -> np.ndarray:
    """Converts well-formed rows to grids.

    tokens: integers [batch, token], tokens_per_grid for each frame. Returns uint8[batch, frame, row, column].
    """
    return patch_grids(shape, patches_of(shape, tokens))


def patch_grids(shape: Patching, patches: np.ndarray) -> np.ndarray:
    """Converts patches to cells. patches: integers [batch, frame, patch]. Returns uint8[batch, frame, row, column]."""
    states, deep, wide = shape.states, shape.patch_height, shape.patch
    digits = patches[..., None].astype(np.int64) // states ** np.arange(deep * wide, dtype=np.int64) % states
    cells = digits.astype(np.uint8).reshape(*patches.shape[:2], shape.height // deep, shape.width // wide, deep, wide)
    return np.moveaxis(cells, -3, -2).reshape(*patches.shape[:2], shape.height, shape.width)


def _by_grid(shape: GridRows, tokens: np.ndarray) -> np.ndarray:
    """Cuts rows, also none, into grids: [batch, frame, token]. tokens: [batch, token]."""
    return tokens.reshape(len(tokens), tokens.shape[1] // shape.tokens_per_grid, shape.tokens_per_grid)
