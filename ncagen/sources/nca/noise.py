"""Computes what grids of pure noise score: `deflate.noise` for patches of cells."""

import numpy as np

from ncagen.deflate import noise
from ncagen.sources.patches import DELIMITERS, Patching


def noise_lengths(patching: Patching, scored_frames: int) -> np.ndarray:
    """Computes the gzip lengths of `scored_frames` grids of uniform cells as patch tokens, in bytes: int32[sample]."""
    narrow = patching.patch_ids + DELIMITERS <= 2**16
    tokens = scored_frames * patching.patches
    return noise.noise_lengths(patching.states, patching.patch_cells, tokens, "uint16" if narrow else "uint32")
