"""Defines the score of pure noise: of grids whose cells are drawn uniformly, the most complex rows of an alphabet.

This is the only definition in the project: a plan refuses bands above it, an audit compares rows with it, and the page
of `view` computes the same in JavaScript. The samples are fixed, so every machine gets the same integers.
"""

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources.nca.settings import DELIMITERS, Patching

# At the default settings the mean ratio of these samples is 0.670; of 20,000 samples it is 0.66931 (docs/log.md).
NOISE_SAMPLES = 64


def noise_lengths(patching: Patching, scored_frames: int) -> np.ndarray:
    """Computes the gzip lengths of `scored_frames` grids of noise as patch tokens, in bytes: int32[sample].

    Cell i of sample k is (word i of purpose START_CELLS of number k * states) >> 16, under seed 0 and the pilot's
    stream. A token's cells follow one another, its lowest digit first.
    """
    tokens, digits = scored_frames * patching.patches, patching.patch**2
    numbers = np.arange(NOISE_SAMPLES, dtype=np.uint64)
    draws = philox.words(0, philox.STREAMS["pilot"], philox.START_CELLS, numbers, tokens * digits).astype(np.uint64)
    cells = (draws * np.uint64(patching.states) >> np.uint64(16)).reshape(NOISE_SAMPLES, tokens, digits)
    powers = patching.states ** np.arange(digits, dtype=np.uint64)
    narrow = patching.patch_ids + DELIMITERS <= 2**16  # the dtype of rows: another one would be compiled for this alone
    return token_gzip_lengths((cells @ powers).astype(np.uint16 if narrow else np.uint32))
