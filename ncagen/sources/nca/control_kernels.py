"""The kernels of `controls`: exact uniform draws from Philox words, and permutations, for many rows in one call.

`controls` defines the results in plain Python, and makes the arrays. The argument `draws` is uint64[6]: seed, stream,
purpose and number of the blocks, the next block, and how many 16-bit words of the current one were read; `words` is
uint16[8], the current block.
"""

import numpy as np

from ncagen.kernels import kernel
from ncagen.philox_kernels import philox_block

BLOCK_WORDS = 8  # of 16 bits
DRAWS = 6

_LOW = np.uint64(0xFFFFFFFF)
_SIXTEEN, _32 = np.uint64(16), np.uint64(32)
_1, _2, _8 = np.uint64(1), np.uint64(2), np.uint64(BLOCK_WORDS)
_RANGE = np.uint64(2**32)


@kernel
def start(draws, seed, stream, purpose, number):
    """Sets draws to the first word of a number's blocks."""
    draws[0], draws[1], draws[2], draws[3] = seed, stream, purpose, number
    draws[4], draws[5] = np.uint64(0), _8


@kernel
def below(draws, words, count):
    """Draws a whole number from 0 to count - 1, all equally likely, as `controls.below`. count: uint64."""
    while True:
        if draws[5] == _8:
            philox_block(draws[0], draws[1], draws[2], draws[3], draws[4], words, 0)
            draws[4] += _1
            draws[5] = np.uint64(0)
        at = draws[5]
        draws[5] += _2
        product = (np.uint64(words[at]) | np.uint64(words[at + _1]) << _SIXTEEN) * count
        rest = product & _LOW
        if rest >= count or rest >= _RANGE % count:  # the first needs no division, and is nearly always so
            return product >> _32


@kernel
def orders(seed, stream, purpose, candidates, part, draws, words, order):
    """Permutes the places of rows within each `part` neighbouring ones, one part after another.

    candidates: uint64[row]. order: uint32[row, place], filled with the place that each is taken from.
    """
    rows, places = order.shape
    for row in range(rows):
        start(draws, seed, stream, purpose, candidates[row])
        for place in range(places):
            order[row, place] = place
        for first in range(0, places, part):
            for last in range(part - 1, 0, -1):
                other = first + np.int64(below(draws, words, np.uint64(last + 1)))
                place = order[row, first + last]
                order[row, first + last] = order[row, other]
                order[row, other] = place


@kernel
def choices(seed, stream, purpose, candidates, count, draws, words, chosen):
    """Draws numbers from 0 to count - 1. candidates: uint64[row]. chosen: uint32[row, place], filled with them."""
    rows, places = chosen.shape
    for row in range(rows):
        start(draws, seed, stream, purpose, candidates[row])
        for place in range(places):
            chosen[row, place] = below(draws, words, np.uint64(count))
