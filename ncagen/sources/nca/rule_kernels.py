"""Copies the weights of one rule to the layouts that the vector kernels read, compiled by numba.

Not covered: the steps (`cpu_kernels`). Layouts: `simd`.
"""

import numpy as np

from ncagen.kernels import inlined
from ncagen.sources.nca import simd
from ncagen.sources.nca.rules import HIDDEN_UNITS, LIFT, MOST_UNIT, NEIGHBOURS, PERCEPTION_CHANNELS
from ncagen.sources.nca.simd import CHANNELS, DIGITS
from ncagen.sources.nca.vectors import COPIED, COPIES, ENTRIES, PARTS

IN_REGISTERS = PARTS > 0
MOST = PARTS * ENTRIES  # states of a table in registers
_SIXTEEN = np.uint64(16)
_ONE = np.uint64(1)


@inlined
def _load_tables(perception, b, states, work):
    """Copies the perception of rule b to tables, laid out as in `simd.perceive`.

    It goes through padded: int16[state, channel], which has all states of a table.
    """
    entries = np.uint64(ENTRIES if states <= ENTRIES else 2 * ENTRIES)
    channels = np.uint64(PERCEPTION_CHANNELS)
    size = entries * np.uint64(DIGITS)
    for place in range(np.uint64(NEIGHBOURS)):
        for i in range(states * channels):
            work.padded[i] = perception[b, place, i]
        for c in range(channels):
            at = (c // np.uint64(CHANNELS) * np.uint64(NEIGHBOURS) + place) * np.uint64(CHANNELS)
            at = (at + c % np.uint64(CHANNELS)) * size
            for s in range(entries):
                work.tables[at + s] = work.padded[s * channels + c]
            if DIGITS == 2:
                for s in range(entries):
                    work.tables[at + entries + s] = work.padded[s * channels + c] >> 8


@inlined
def _pack_rule(perception, b, states, packed):
    """Copies the perception of rule b to the layout of `_perceive`."""
    states = np.uint64(states)
    for place in range(np.uint64(NEIGHBOURS)):
        for s in range(states):
            lanes = np.uint64(0)
            for c in range(np.uint64(PERCEPTION_CHANNELS)):
                weight = perception[b, place, s * np.uint64(PERCEPTION_CHANNELS) + c]
                lanes |= np.uint64(weight + LIFT) << (_SIXTEEN * c)
            packed[place * states + s] = lanes


@inlined
def _relative_weights(output, b, bias, differences):
    """Copies rule b's weights of the output layer, those of state 0 subtracted: one logit less to compute.

    Returns 1, or 0 where a difference of logits might not fit 32 bits, and the weights are copied as they are.
    """
    most = np.int64(0)
    for s in range(np.uint64(HIDDEN_UNITS), np.uint64(len(differences)), np.uint64(HIDDEN_UNITS)):
        total = np.int32(0)
        for i in range(np.uint64(HIDDEN_UNITS)):
            difference = np.int32(output[b, s + i]) - np.int32(output[b, i])
            differences[s + i] = difference
            total += abs(difference)
        most = max(most, np.int64(total))
    if most * MOST_UNIT + abs(np.int64(bias)) < 2**31:
        return np.uint64(1)
    for i in range(np.uint64(len(differences))):
        differences[i] = output[b, i]
    return np.uint64(0)


@inlined
def load_rule(rules, b, states, bias, work):
    """Copies the weights of rule b to `work`. Returns 1 where those of the output layer are relative, or 0."""
    perception, hidden, output = rules
    if states <= MOST:
        _load_tables(perception, b, states, work)
    else:
        _pack_rule(perception, b, states, work.packed)
    if COPIES == 1:
        for i in range(np.uint64(len(work.hidden))):
            work.hidden[i] = hidden[b, i]
    else:
        simd.spread(hidden[b], np.uint64(hidden.shape[1]), work.hidden)
    relative = _relative_weights(output, b, bias, work.output)
    if states <= COPIED:
        simd.spread(work.pairs, np.uint64(len(work.pairs)), work.copies)
    return relative
