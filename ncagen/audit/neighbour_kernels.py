"""Counts of neighbourhoods in rows of grids, as compiled kernels: what `neighbours` needs for each row of an audit.

Each kernel visits the cells of every grid but the last, with the nine cells around each on the torus, in the order of
`neighbours.OFFSETS`. `wide`, uint8[y + 2, x + 2], is room for one grid with a border of the cells across its edges.
Callers make the arrays. Not covered: logarithms, means and verdicts.
"""

import numpy as np

from ncagen.kernels import inlined, kernel

_ONE = np.uint64(1)
_SIDE = np.uint64(3)
_STEP = np.int32(1)
_LANES = np.uint64(4)
BLOCK = 64
_NINE, _BLOCK = np.uint64(9), np.uint64(BLOCK)
# Multiplier of a 64-bit hash, odd: 2**64 divided by the golden ratio (Knuth, TAOCP 3, 6.4).
_SPREAD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
FREE, HELD, COMMON = np.uint8(0), np.uint8(1), np.uint8(2)  # marks of slots in `common`


@inlined
def _widen(grid, wide):
    """Copies a grid with the border that the torus gives it. grid: uint8[y, x]."""
    height, width = np.uint64(grid.shape[0]), np.uint64(grid.shape[1])
    for y in range(height):
        for x in range(width):
            wide[y + _ONE, x + _ONE] = grid[y, x]
        wide[y + _ONE, 0] = grid[y, width - _ONE]
        wide[y + _ONE, width + _ONE] = grid[y, 0]
    for x in range(width + _ONE + _ONE):
        wide[0, x] = wide[height, x]
        wide[height + _ONE, x] = wide[1, x]


@inlined
def _name(wide, y, x, hashes):
    """Returns the hash of the neighbourhood of cell y, x, as `neighbours.neighbourhoods`."""
    name = np.uint64(0)
    for dy in range(_SIDE):
        for dx in range(_SIDE):
            name ^= hashes[dy * _SIDE + dx, wide[y + dy, x + dx]]
    return name


@inlined
def _is_mixed(wide, y, x):
    """Whether the neighbourhood of cell y, x has several states."""
    differ = np.uint8(0)
    for dy in range(_SIDE):
        for dx in range(_SIDE):
            differ |= wide[y + dy, x + dx] ^ wide[y, x]
    return differ != 0


@kernel
def count_pairs(cells, classes, wide, counts):
    """Counts (neighbour, next state). cells: uint8[row, frame, y, x] below classes.

    counts: int32[neighbour, row, pair], zeros. Pair i is neighbour i // classes with next state i % classes.
    """
    rows, frames, height, width = cells.shape
    for r in range(np.uint64(rows)):
        for f in range(np.uint64(frames - 1)):
            _widen(cells[r, f], wide)
            for y in range(np.uint64(height)):
                for x in range(np.uint64(width)):
                    after = np.uint64(cells[r, f + _ONE, y, x])
                    for dy in range(_SIDE):
                        for dx in range(_SIDE):
                            pair = np.uint64(wide[y + dy, x + dx]) * classes + after
                            counts[dy * _SIDE + dx, r, pair] += _STEP


@kernel
def add_bits(cells, classes, bits, wide, found):
    """Adds up the bits of each cell's nine pairs, in the order of the neighbours.

    cells: uint8[row, frame, y, x] below classes. bits: float32[row, neighbour, pair]. found: float32[row, frame - 1, y,
    x], written.
    """
    rows, frames, height, width = cells.shape
    for r in range(np.uint64(rows)):
        for f in range(np.uint64(frames - 1)):
            _widen(cells[r, f], wide)
            for y in range(np.uint64(height)):
                for x in range(np.uint64(width)):
                    after = np.uint64(cells[r, f + _ONE, y, x])
                    total = np.float32(0)
                    for dy in range(_SIDE):
                        for dx in range(_SIDE):
                            pair = np.uint64(wide[y + dy, x + dx]) * classes + after
                            total += bits[r, dy * _SIDE + dx, pair]
                    found[r, f, y, x] = total


@kernel
def count_repeats(grids, hashes, shift, wide, table, found):
    """Counts neighbourhoods that occurred before in their row, and those that led to the same state as the last time.

    grids: uint8[row, frame, y, x]. hashes: uint64[neighbour, state]. shift: neighbourhoods are told apart by their
    hashes without this many low bits, in which a state and a mark have room. table: uint64[slot], a power of two of
    slots, more than there are cells. found: int64[row, 2], written.
    """
    mask = np.uint64(len(table) - 1)
    rows, frames, height, width = grids.shape
    for r in range(np.uint64(rows)):
        table[:] = 0
        repeats, agreed = np.int64(0), np.int64(0)
        for f in range(np.uint64(frames - 1)):
            _widen(grids[r, f], wide)
            for y in range(np.uint64(height)):
                for x in range(np.uint64(width)):
                    name = _name(wide, y, x, hashes) >> shift
                    # A slot is 0 or name, next state and a 1 as the last bit.
                    entry = name << shift | np.uint64(grids[r, f + _ONE, y, x]) << _ONE | _ONE
                    slot = name & mask
                    while table[slot] != 0 and table[slot] >> shift != name:
                        slot = slot + _ONE & mask
                    repeats += np.int64(table[slot] != 0)
                    agreed += np.int64(table[slot] == entry)
                    table[slot] = entry
        found[r, 0], found[r, 1] = repeats, agreed


@kernel
def count_common(a, b, hashes, wide, names, states, marks, led):
    """Compares two rows by the neighbourhoods of several states that both have, and the state that each led to first.

    a, b: uint8[frame, y, x]. names, states, marks: uint64, uint8, uint8 [slot], a power of two of slots, more than a
    has cells; marks are FREE. led: int64[256], zeros, gets how many of the common ones led to each state in a.
    Returns how many are common, and how many of them led to the same state.
    """
    mask = np.uint64(len(names) - 1)
    _hold(a, hashes, wide, (names, states, marks))
    common, same = np.int64(0), np.int64(0)
    frames, height, width = b.shape
    for f in range(np.uint64(frames - 1)):
        _widen(b[f], wide)
        for y in range(np.uint64(height)):
            for x in range(np.uint64(width)):
                if not _is_mixed(wide, y, x):
                    continue
                slot = _slot(names, marks, _name(wide, y, x, hashes), mask)
                if marks[slot] == HELD:
                    marks[slot] = COMMON
                    common += 1
                    led[states[slot]] += 1
                    same += np.int64(states[slot] == b[f + _ONE, y, x])
    return common, same


@inlined
def _slot(names, marks, name, mask):
    """Returns the slot of a name, or the free one where it belongs."""
    slot = name & mask
    while marks[slot] != FREE and names[slot] != name:
        slot = slot + _ONE & mask
    return slot


@kernel
def _hold(grids, hashes, wide, table):
    """Puts a row's neighbourhoods of several states into a table, each with the state that it led to first."""
    names, states, marks = table
    mask = np.uint64(len(names) - 1)
    frames, height, width = grids.shape
    for f in range(np.uint64(frames - 1)):
        _widen(grids[f], wide)
        for y in range(np.uint64(height)):
            for x in range(np.uint64(width)):
                if not _is_mixed(wide, y, x):
                    continue
                name = _name(wide, y, x, hashes)
                slot = _slot(names, marks, name, mask)
                if marks[slot] == FREE:
                    names[slot], states[slot], marks[slot] = name, grids[f + _ONE, y, x], HELD


@kernel
def add_products(left, right, found):
    """Adds the matrix product of left and right to found, each sum in the order of values: the same on every machine.

    left: float32[row, value]. right: float32[block, value, BLOCK], its columns in blocks that stay in the second-level
    cache. found: float32[row, block, BLOCK]. Nine values, a neighbour's share of them or less, are added for each time
    that a sum is read and written. BLAS takes half as long on one core, but would start threads of its own.
    """
    rows, values = left.shape
    for b in range(np.uint64(len(right))):
        for r in range(np.uint64(rows)):
            for v in range(np.uint64(0), np.uint64(values), _NINE):
                l0, l1, l2 = left[r, v], left[r, v + np.uint64(1)], left[r, v + np.uint64(2)]
                l3, l4, l5 = left[r, v + np.uint64(3)], left[r, v + np.uint64(4)], left[r, v + np.uint64(5)]
                l6, l7, l8 = left[r, v + np.uint64(6)], left[r, v + np.uint64(7)], left[r, v + np.uint64(8)]
                for c in range(_BLOCK):
                    total = found[r, b, c] + l0 * right[b, v, c]
                    total += l1 * right[b, v + np.uint64(1), c]
                    total += l2 * right[b, v + np.uint64(2), c]
                    total += l3 * right[b, v + np.uint64(3), c]
                    total += l4 * right[b, v + np.uint64(4), c]
                    total += l5 * right[b, v + np.uint64(5), c]
                    total += l6 * right[b, v + np.uint64(6), c]
                    total += l7 * right[b, v + np.uint64(7), c]
                    found[r, b, c] = total + l8 * right[b, v + np.uint64(8), c]


@kernel
def multiply_pairs(left, right, pairs, found):
    """Multiplies pairs of rows, each sum in the order of values.

    left, right: float32[row, value]. pairs: int64[pair, 2], a row of each. found: float32[pair], written.
    """
    for p in range(np.uint64(len(pairs))):
        a, b, total = np.uint64(pairs[p, 0]), np.uint64(pairs[p, 1]), np.float32(0)
        for v in range(np.uint64(left.shape[1])):
            total += left[a, v] * right[b, v]
        found[p] = total


@kernel
def count_states(cells, lanes, counts):
    """Counts each state. cells: uint8[row, cell]. lanes: int64[4, 256]. counts: int64[row, state], written.

    Four lanes, since a processor waits when it adds to the same count twice in a row.
    """
    for r in range(np.uint64(len(cells))):
        lanes[:] = 0
        for c in range(np.uint64(cells.shape[1])):
            lanes[c % _LANES, cells[r, c]] += 1
        for s in range(np.uint64(counts.shape[1])):
            counts[r, s] = lanes[0, s] + lanes[1, s] + lanes[2, s] + lanes[3, s]


@kernel
def hash_rows(rows, found):
    """Hashes rows of one length: equal rows alike, others with chance 2**-64. rows: integers [row, value].

    found: uint64[row], written. Values that differ in one place always give different hashes.
    """
    for r in range(np.uint64(len(rows))):
        name = _SPREAD
        for i in range(np.uint64(rows.shape[1])):
            name = (name ^ np.uint64(rows[r, i])) * _SPREAD
            name ^= name >> _HALF
        found[r] = name
