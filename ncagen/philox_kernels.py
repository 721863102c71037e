"""Draws the random words of `philox` in kernels: the same bits, for one candidate at a time, without allocating."""

import numpy as np

from ncagen import philox
from ncagen.kernels import kernel

_MULTIPLIER_0, _MULTIPLIER_1 = (np.uint64(m) for m in philox.MULTIPLIERS)
_WEYL_0, _WEYL_1 = (np.uint64(w) for w in philox.WEYL)
_ROUNDS = philox.ROUNDS
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_SIXTEEN = np.uint64(16)


@kernel
def philox_block(seed, stream, purpose, number, block, words, at):
    """Writes the eight 16-bit words of one block to words[at : at + 8]."""
    c0 = np.uint64(block)
    c1 = np.uint64(purpose)
    c2 = np.uint64(number) & _LOW
    c3 = np.uint64(number) >> _32
    k0 = np.uint64(seed)
    k1 = np.uint64(stream)
    for _ in range(_ROUNDS):
        left = c0 * _MULTIPLIER_0
        right = c2 * _MULTIPLIER_1
        c0 = (right >> _32) ^ c1 ^ k0
        c1 = right & _LOW
        c2 = (left >> _32) ^ c3 ^ k1
        c3 = left & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    at = np.uint64(at)
    words[at] = c0
    words[at + np.uint64(1)] = c0 >> _SIXTEEN
    words[at + np.uint64(2)] = c1
    words[at + np.uint64(3)] = c1 >> _SIXTEEN
    words[at + np.uint64(4)] = c2
    words[at + np.uint64(5)] = c2 >> _SIXTEEN
    words[at + np.uint64(6)] = c3
    words[at + np.uint64(7)] = c3 >> _SIXTEEN


@kernel
def draw(seed, stream, purpose, number, count, words):
    """Fills the first `count` of words: uint16[count, and up to seven more]."""
    for at in range(np.uint64(0), np.uint64(count), np.uint64(8)):
        philox_block(seed, stream, purpose, number, at >> np.uint64(3), words, at)
