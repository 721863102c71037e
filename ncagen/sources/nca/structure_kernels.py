"""The kernels of `structure`: both learners, compiled by numba. Arrays are made by `structure.right_cells`.

A table of the lookup has open addressing: keys, states and votes by entry, votes of 0 where an entry is free.
"""

import numpy as np

from ncagen.kernels import kernel

MARGIN = 4  # of 18 that one update moves; more weighs noise, less learns slowly (docs/evaluate.md)
_CROSS = (1, 3, 4, 5, 7)
_CENTRE = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HIGH = np.uint64(32)


@kernel
def _entry(keys, votes, key):
    """Returns the entry of a key, a free one if there is none."""
    mask = np.uint64(len(keys) - 1)
    at = ((key * _MIX) >> _HIGH) & mask
    while votes[at] and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return at


@kernel
def _vote(states, votes, at, state):
    """Counts a vote in an entry. An entry keeps at least one vote, so that a key that was seen stays in its table."""
    if votes[at] and states[at] == state:
        votes[at] += 1
    elif votes[at] > 1:
        votes[at] -= 1
    else:
        states[at] = state
        votes[at] = 1


@kernel
def _lookup(before, around, states, state, wide, cross, centre):
    """Predicts a cell and learns its state. Returns whether the prediction was right."""
    whole = np.uint64(0)
    some = np.uint64(0)
    for position in range(8, -1, -1):
        whole = whole * states + np.uint64(before[around[position]])
    for position in _CROSS:
        some = some * states + np.uint64(before[around[position]])
    at_whole = _entry(wide[0], wide[2], whole)
    at_cross = _entry(cross[0], cross[2], some)
    at_centre = np.uint64(before[around[_CENTRE]])
    if wide[2][at_whole]:
        predicted = wide[1][at_whole]
    elif cross[2][at_cross]:
        predicted = cross[1][at_cross]
    else:
        predicted = centre[0][at_centre]
    wide[0][at_whole] = whole
    cross[0][at_cross] = some
    _vote(wide[1], wide[2], at_whole, state)
    _vote(cross[1], cross[2], at_cross, state)
    centre[1][at_centre, state] += 1
    if centre[1][at_centre, state] > centre[1][at_centre, centre[0][at_centre]]:
        centre[0][at_centre] = state
    return predicted == state


@kernel
def _linear(before, around, states, state, weights, sums):
    """Predicts a cell and learns its state. Returns whether the prediction was right."""
    sums[:] = 0
    for position in range(np.uint64(9)):
        row = weights[position * states + np.uint64(before[around[position]])]
        for s in range(len(sums)):
            sums[s] += row[s]
    rival = np.uint64(0) if state else np.uint64(1)
    for s in range(rival + np.uint64(1), states):
        if sums[s] > sums[rival] and s != state:
            rival = np.uint64(s)
    own, other = sums[state], sums[rival]
    if other + MARGIN >= own:
        for position in range(np.uint64(9)):
            at = position * states + np.uint64(before[around[position]])
            weights[at, state] += 1
            weights[at, rival] -= 1
    return own > other or (own == other and state < rival)


@kernel
def right_cells(grids, neighbours, states, wide, cross, centre, weights, sums, right):
    """Counts in right: int64[row, learner]. grids: uint8[row, frame, cell]. neighbours: int64[cell, position]."""
    rows, frames, cells = grids.shape
    for r in range(rows):
        wide[2][:] = 0
        cross[2][:] = 0
        centre[0][:] = 0
        centre[1][:] = 0
        weights[:] = 0
        for f in range(1, frames):
            before = grids[r, f - 1]
            for c in range(cells):
                state = grids[r, f, c]
                right[r, 0] += _lookup(before, neighbours[c], states, state, wide, cross, centre)
                right[r, 1] += _linear(before, neighbours[c], states, np.uint64(state), weights, sums)
