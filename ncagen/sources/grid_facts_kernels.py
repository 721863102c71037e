"""The kernels of `grid_facts`: patches to cells, and all facts of a row's grids in one call, compiled by numba.

They give the same integers as `grid_facts.defined`; tests/test_facts.py compares them.
"""

import numpy as np

from ncagen.kernels import kernel
from ncagen.sources.logarithm import LN_2, LOG_ENTRIES_BITS, MANTISSA_BITS

_MANTISSA = np.int64(2**MANTISSA_BITS)
_TOP = np.int64(MANTISSA_BITS)
_FRACTION_BITS = np.int64(MANTISSA_BITS - LOG_ENTRIES_BITS)
_FRACTION = np.int64(2 ** (MANTISSA_BITS - LOG_ENTRIES_BITS) - 1)
_ENTRIES = np.int64(2**LOG_ENTRIES_BITS)
_LN_2 = np.int64(LN_2)
_ONE = np.int64(1)
PERIOD, TRANSIENT, CHANGED, STATES, LAST_STATES, ENTROPY = range(6)  # rows of `found`


@kernel
def patch_cells(patches, states, order, digits, cells):
    """Writes the cells of patches. patches: [row, frame, patch]. order: uint64[patch, digit], the cell of each digit,
    the lowest first. digits: uint8[id, digit], of ids from 0; ids above them are divided. cells: uint8[row, frame,
    cell]."""
    rows, frames, count = patches.shape
    for r in range(np.uint64(rows)):
        for f in range(np.uint64(frames)):
            for i in range(np.uint64(count)):
                rest = np.uint64(patches[r, f, i])
                if rest < len(digits):
                    for digit in range(np.uint64(order.shape[1])):
                        cells[r, f, order[i, digit]] = digits[rest, digit]
                    continue
                for digit in range(np.uint64(order.shape[1])):
                    cells[r, f, order[i, digit]] = rest % states
                    rest //= states


@kernel
def _equal(left, right):
    """Whether two grids are equal. left, right: uint8[cell]."""
    count = np.uint64(len(left))
    c = np.uint64(0)
    while c < count and left[c] == right[c]:
        c += np.uint64(1)
    return c == count


@kernel
def _period(grids):
    """Returns the period and the transient of a row. grids: uint8[frame, cell]."""
    frames = np.int64(len(grids))
    for period in range(np.int64(1), frames):
        if _equal(grids[frames - 1], grids[frames - 1 - period]):
            first = frames - 1 - period
            while first and _equal(grids[first - 1], grids[first - 1 + period]):
                first -= 1
            return period, first
    return np.int64(0), frames


@kernel
def _changed(grids):
    """Counts the cells that differ from the grid before. grids: uint8[frame, cell]."""
    changed = np.int64(0)
    for f in range(np.uint64(1), np.uint64(len(grids))):
        before, after = grids[f - np.uint64(1)], grids[f]
        some = np.int32(0)
        for c in range(np.uint64(len(after))):
            some += np.int32(before[c] != after[c])
        changed += np.int64(some)
    return changed


@kernel
def _count(cells, counts):
    """Counts each state. cells: uint8[cell]. counts: int64[lane, 256], set to the counts in lane 0.

    Four lanes, since a processor waits when it adds to the same count twice in a row.
    """
    counts[:] = 0
    whole = np.uint64(len(cells)) // np.uint64(4) * np.uint64(4)
    for c in range(np.uint64(0), whole, np.uint64(4)):
        for lane in range(np.uint64(4)):
            counts[lane, cells[c + lane]] += _ONE
    for c in range(whole, np.uint64(len(cells))):
        counts[0, cells[c]] += _ONE
    used = np.int64(0)
    for s in range(np.uint64(counts.shape[1])):
        counts[0, s] += counts[1, s] + counts[2, s] + counts[3, s]
        used += np.int64(counts[0, s] > 0)
    return used


@kernel
def _log(number, logarithms):
    """Returns the logarithm of an integer in units of 1/2**24, as `logarithm.log_integers`."""
    exponent = _TOP
    while number < _MANTISSA:
        number <<= _ONE
        exponent -= _ONE
    entry = np.uint64((number >> _FRACTION_BITS) - _ENTRIES)
    low = np.int64(logarithms[entry])
    high = np.int64(logarithms[entry + np.uint64(1)])
    return exponent * _LN_2 + low + ((high - low) * (number & _FRACTION) >> _FRACTION_BITS)


@kernel
def _entropy(counts, total, logarithms):
    """Returns the entropy of counts in units of 1/2**24 nat. counts: int64[256]. total: their sum."""
    weighted = np.int64(0)
    for s in range(np.uint64(len(counts))):
        if counts[s]:
            weighted += counts[s] * _log(counts[s], logarithms)
    return max(_log(total, logarithms) - weighted // total, np.int64(0))


@kernel
def grid_facts(grids, flat, logarithms, counts, found):
    """Writes all facts of rows. grids: uint8[row, frame, cell]. flat: the same, uint8[row, frame * cell]. counts:
    int64[4, 256]. found: int64[6, row]."""
    rows, frames, cells = grids.shape
    for r in range(np.uint64(rows)):
        found[PERIOD, r], found[TRANSIENT, r] = _period(grids[r])
        found[CHANGED, r] = _changed(grids[r])
        found[LAST_STATES, r] = _count(grids[r, frames - 1], counts)
        found[STATES, r] = _count(flat[r], counts)
        found[ENTROPY, r] = _entropy(counts[0], np.int64(frames * cells), logarithms)


@kernel
def highest_counts(cells, counts, found):
    """Writes how many cells have the most frequent state. cells: uint8[row, cell]. counts: int64[4, 256]."""
    for r in range(np.uint64(len(cells))):
        _count(cells[r], counts)
        found[r] = 0
        for s in range(np.uint64(counts.shape[1])):
            found[r] = max(found[r], counts[0, s])
