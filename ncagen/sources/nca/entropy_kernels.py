"""The kernels of `entropy`: the entropy of one cell's next state, compiled by numba for the steps of `cpu_kernels`.

They give the same integers as `entropy.cell_entropies`; tests/test_oracle.py compares them.
"""

import numpy as np

from ncagen.kernels import kernel
from ncagen.sources.logarithm import LN_2, LOG_ENTRIES_BITS
from ncagen.sources.nca.entropy import DISTANCE_BITS, ENTROPY_BITS, EXP_BITS, SCALE_BITS

_SCALE_BITS, _HALF = np.int64(SCALE_BITS), np.int64(2 ** (SCALE_BITS - 1))
_TWO = np.int64(2 ** (EXP_BITS + 1))
_TO_ENTROPY = np.int64(ENTROPY_BITS - DISTANCE_BITS)
_FRACTION_BITS = np.int64(EXP_BITS - LOG_ENTRIES_BITS)
_FRACTION = np.int64(2 ** (EXP_BITS - LOG_ENTRIES_BITS) - 1)
_ENTRIES = np.int64(2**LOG_ENTRIES_BITS)
_LN_2 = np.int64(LN_2)
_ONE = np.int64(1)


@kernel
def pair_entropy(distance, scale, pairs):
    """Returns the entropy of a cell whose next state is one of two: most of those that noise decides at all."""
    return np.int64(pairs[np.uint64((distance * scale + _HALF) >> _SCALE_BITS)])


@kernel
def cell_entropy(logits, states, pitch, reach, scale, exponentials, logarithms):
    """Returns the entropy of a cell's next state in units of 1/2**24 nat. logits: int32[state * pitch], the cell's
    at each multiple of `pitch`."""
    pitch = np.uint64(pitch)
    best = logits[0]
    for s in range(np.uint64(1), np.uint64(states)):
        best = max(best, logits[s * pitch])
    total = np.int64(0)
    weighted = np.int64(0)
    for s in range(np.uint64(states)):
        distance = np.int64(best) - np.int64(logits[s * pitch])
        if distance > reach:
            continue
        u = (distance * scale + _HALF) >> _SCALE_BITS
        weight = np.int64(exponentials[np.uint64(u)])
        total += weight
        weighted += weight * u
    entropy = (weighted << _TO_ENTROPY) // total
    while total >= _TWO:
        total >>= _ONE
        entropy += _LN_2
    entry = np.uint64((total >> _FRACTION_BITS) - _ENTRIES)
    low = np.int64(logarithms[entry])
    high = np.int64(logarithms[entry + np.uint64(1)])
    return entropy + low + ((high - low) * (total & _FRACTION) >> _FRACTION_BITS)
