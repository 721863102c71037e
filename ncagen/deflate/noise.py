"""Defines the score of pure noise: of tokens drawn uniformly, the most complex rows of an alphabet.

This is the only definition in the project: a plan refuses bands above it, a normalised band is a share of it, an audit
compares rows with it, and the page of `view` computes the same in JavaScript. The samples are fixed, so every machine
gets the same integers.
"""

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths

# At the default settings of the NCA the mean ratio of these samples is 0.670; of 20,000 it is 0.66931 (docs/log.md).
NOISE_SAMPLES = 64
NARROW = 256  # a digit of up to this many values is drawn from one 16-bit word, a larger one from two
PURPOSE = philox.START_CELLS


def noise_lengths(base: int, digits: int, tokens: int, dtype: str) -> np.ndarray:
    """Computes the gzip lengths of `tokens` tokens of noise as little-endian int32, in bytes: int32[sample].

    A token has `digits` digits below `base`, the lowest first: the cells of a patch, or one digit where a token is
    drawn as a whole. dtype: uint16 or uint32, that of the rows, so that no other one is compiled. Digit i of sample k
    is (word i of number k) * base >> 16 under seed 0 and the pilot's stream; for a base over NARROW
    (word 2i + 2**16 * word 2i+1) * base >> 32.
    """
    numbers = np.arange(NOISE_SAMPLES, dtype=np.uint64)
    wide = base > NARROW
    words = philox.words(0, philox.STREAMS["pilot"], PURPOSE, numbers, tokens * digits * (1 + wide)).astype(np.uint64)
    if wide:
        words = words[:, ::2] | words[:, 1::2] << np.uint64(16)
    drawn = words * np.uint64(base) >> np.uint64(32 if wide else 16)
    powers = base ** np.arange(digits, dtype=np.uint64)
    return token_gzip_lengths((drawn.reshape(NOISE_SAMPLES, tokens, digits) @ powers).astype(dtype))
