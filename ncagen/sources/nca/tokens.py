"""Grids to patch tokens and back.

A patch is a square of cells, read row by row as the digits of a number in base `states`, lowest digit first; for
2 x 2 patches the cells a b / c d are a + n*b + n**2*c + n**3*d. The patches of a grid stand row by row between the
two delimiters, start-of-grid (id n**4 for such patches) and end-of-grid (the next id). Plain NumPy; no padding, no
labels, no attention masks.
"""

import numpy as np

from ncagen.spec import Patching, Spec


def patch_tokens(spec: Spec, grids: np.ndarray) -> np.ndarray:
    """The patches of each grid, without delimiters.

    grids: uint8[..., row, column]. Returns uint16 or uint32 [..., patch].
    """
    side, patch = spec.grid // spec.patch, spec.patch
    cells = grids.reshape(*grids.shape[:-2], side, patch, side, patch)
    cells = np.moveaxis(cells, -3, -2).reshape(*grids.shape[:-2], spec.patches, patch * patch)
    digits = spec.states ** np.arange(patch * patch, dtype=np.int64)
    return (cells @ digits).astype(spec.token_dtype)


def rows(spec: Spec, patches: np.ndarray) -> np.ndarray:
    """Token rows, each grid's patches between its delimiters.

    patches: [batch, frame, patch]. Returns the same dtype [batch, frames * tokens_per_grid].
    """
    batch, frames, _ = patches.shape
    out = np.empty((batch, frames, spec.tokens_per_grid), patches.dtype)
    out[..., 0] = spec.patch_ids
    out[..., 1:-1] = patches
    out[..., -1] = spec.patch_ids + 1
    return out.reshape(batch, frames * spec.tokens_per_grid)


def well_formed(spec: Spec, tokens: np.ndarray) -> np.ndarray:
    """Whether each row is whole grids: delimiters where they belong and nowhere else. tokens: [batch, token]."""
    grids = tokens.reshape(len(tokens), -1, spec.tokens_per_grid)
    return (
        (grids[..., 0] == spec.patch_ids).all(axis=1)
        & (grids[..., -1] == spec.patch_ids + 1).all(axis=1)
        & (grids[..., 1:-1] < spec.patch_ids).all(axis=(1, 2))
    )


def grids(spec: Spec, tokens: np.ndarray) -> np.ndarray:
    """The grids that well-formed rows came from.

    tokens: [batch, frames * tokens_per_grid]. Returns uint8[batch, frame, row, column].
    """
    return patch_grids(spec, tokens.reshape(len(tokens), -1, spec.tokens_per_grid)[..., 1:-1])


def patch_grids(patching: Patching, patches: np.ndarray) -> np.ndarray:
    """The cells of patches. patches: [batch, frame, patch]. Returns uint8[batch, frame, row, column]."""
    states, side, patch = patching.states, patching.grid // patching.patch, patching.patch
    digits = patches[..., None].astype(np.int64) // states ** np.arange(patch * patch, dtype=np.int64) % states
    cells = digits.astype(np.uint8).reshape(*patches.shape[:2], side, side, patch, patch)
    return np.moveaxis(cells, -3, -2).reshape(*patches.shape[:2], patching.grid, patching.grid)
