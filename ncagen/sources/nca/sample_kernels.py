"""The kernels of `cpu` that draw rules and start cells, compiled by numba.

They allocate nothing and check nothing: `cpu` makes arrays of the right shapes. `rules` defines what they draw.
"""

import numpy as np

from ncagen import philox
from ncagen.kernels import kernel
from ncagen.philox_kernels import draw
from ncagen.sources.nca.rules import PERCEPTION_CHANNELS

_PERCEPTION, _HIDDEN, _OUTPUT = philox.PERCEPTION, philox.HIDDEN, philox.OUTPUT
_START_WEIGHTS, _START_CELLS = philox.START_WEIGHTS, philox.START_CELLS
_SIXTEEN = np.uint64(16)


@kernel
def sample_rules(seed, stream, numbers, wrap, tables, words, perception, hidden, output):
    """Draws rules into perception, hidden and output, with the shapes of `cpu._flat`. tables: int16[layer, 65536]."""
    batch, places, size = perception.shape
    size = np.uint64(size)
    around = np.uint64(PERCEPTION_CHANNELS if wrap else 0)
    inputs = size + around + around
    for b in range(batch):
        number = numbers[b]
        draw(seed, stream, _PERCEPTION, number, places * inputs, words)
        for place in range(np.uint64(places)):
            at = place * inputs
            for i in range(size):
                perception[b, place, i] = tables[0, words[at + around + i]]
            for c in range(around):  # channel 0 is state n-1 again, the last is state 0: see rules.fold_wrap
                perception[b, place, size - around + c] += tables[0, words[at + c]]
                perception[b, place, c] += tables[0, words[at + around + size + c]]
        draw(seed, stream, _HIDDEN, number, hidden.shape[1], words)
        for i in range(np.uint64(hidden.shape[1])):
            hidden[b, i] = tables[1, words[i]]
        draw(seed, stream, _OUTPUT, number, output.shape[1], words)
        for i in range(np.uint64(output.shape[1])):
            output[b, i] = tables[2, words[i]]


@kernel
def sample_starts(seed, stream, candidates, states, uniform, table, words, ends, starts):
    batch, cells = starts.shape
    for b in range(batch):
        total = np.uint64(states)
        if not uniform:
            draw(seed, stream, _START_WEIGHTS, candidates[b], states, words)
            total = np.uint64(0)
            for s in range(np.uint64(states)):
                total += np.uint64(table[words[s]])
                ends[s] = total
        draw(seed, stream, _START_CELLS, candidates[b], cells, words)
        for c in range(np.uint64(cells)):
            point = np.uint64(words[c]) * total >> _SIXTEEN
            state = point
            if not uniform:
                state = np.uint64(0)
                for s in range(np.uint64(states)):
                    state += np.uint64(point >= ends[s])
            starts[b, c] = state
