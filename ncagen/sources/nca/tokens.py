"""Converts grids to patch tokens and back.

A patch is a square of cells, read row by row as the digits of a number in base `states`, lowest digit first; for
2 x 2 patches the cells a b / c d are a + n*b + n**2*c + n**3*d. The patches of a grid are listed row by row
between two delimiters, start-of-grid (id n**4 for such patches) and end-of-grid (the next id). Not covered: padding,
labels, attention masks.
"""

import numpy as np

from ncagen.sources.nca.settings import Patching, Settings


def patch_tokens(settings: Settings, grids: np.ndarray) -> np.ndarray:
    """Converts grids to patches, without delimiters.

    grids: uint8[..., row, column]. Returns uint16 or uint32 [..., patch].
    """
    patch = settings.patch
    high, wide = settings.height // patch, settings.width // patch
    cells = grids.reshape(*grids.shape[:-2], high, patch, wide, patch)
    cells = np.moveaxis(cells, -3, -2).reshape(*grids.shape[:-2], settings.patches, patch * patch)
    digits = settings.states ** np.arange(patch * patch, dtype=np.int64)
    return (cells @ digits).astype(settings.token_dtype)


def rows(settings: Settings, patches: np.ndarray) -> np.ndarray:
    """Puts the patches of each grid between delimiters.

    patches: uint16 or uint32 [batch, frame, patch]. Returns the same dtype [batch, token], frames * tokens_per_grid
    tokens in each row.
    """
    batch, frames, _ = patches.shape
    out = np.empty((batch, frames, settings.tokens_per_grid), patches.dtype)
    out[..., 0] = settings.patch_ids
    out[..., 1:-1] = patches
    out[..., -1] = settings.patch_ids + 1
    return out.reshape(batch, frames * settings.tokens_per_grid)


def well_formed(settings: Settings, tokens: np.ndarray) -> np.ndarray:
    """Returns bool[batch], true for rows of whole grids, each between delimiters. tokens: integers [batch, token]."""
    grids = tokens.reshape(len(tokens), -1, settings.tokens_per_grid)
    return (
        (grids[..., 0] == settings.patch_ids).all(axis=1)
        & (grids[..., -1] == settings.patch_ids + 1).all(axis=1)
        & (grids[..., 1:-1] < settings.patch_ids).all(axis=(1, 2))
    )


def grids(settings: Settings, tokens: np.ndarray) -> np.ndarray:
    """Converts well-formed rows to grids.

    tokens: integers [batch, token], tokens_per_grid for each frame. Returns uint8[batch, frame, row, column].
    """
    return patch_grids(settings, tokens.reshape(len(tokens), -1, settings.tokens_per_grid)[..., 1:-1])


def patch_grids(patching: Patching, patches: np.ndarray) -> np.ndarray:
    """Converts patches to cells. patches: integers [batch, frame, patch]. Returns uint8[batch, frame, row, column]."""
    states, patch = patching.states, patching.patch
    high, wide = patching.height // patch, patching.width // patch
    digits = patches[..., None].astype(np.int64) // states ** np.arange(patch * patch, dtype=np.int64) % states
    cells = digits.astype(np.uint8).reshape(*patches.shape[:2], high, wide, patch, patch)
    return np.moveaxis(cells, -3, -2).reshape(*patches.shape[:2], patching.height, patching.width)
