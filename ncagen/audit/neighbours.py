"""Tests the rule of a row: whether there is one, whether it is the same throughout, and whether two rows share it.

There are two views of the same steps. *Repeats*: a 3 x 3 neighbourhood that occurs twice in a row should lead to one
state (`agreement`). Complex rows seldom repeat one, so the second view is *pairs*: how often a neighbour's state and
the cell's next state occur together, for each of the nine neighbours. As in a naive Bayes classifier, the logarithms of
these counts over what chance would give, added up, are bits of evidence that one grid follows from another by the row's
rule. They are about one bit a cell for a true step, and clearly negative for a grid of another rule.

Not covered: grids more than one step apart, where more than nine cells decide. With over 16 states, pairs are counted
of the remainders by 16, which is too little evidence to call a row noise.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ncagen.audit.neighbour_kernels import (
    BLOCK,
    add_bits,
    add_products,
    count_common,
    count_pairs,
    count_repeats,
    multiply_pairs,
)

OFFSETS = [(y, x) for y in range(3) for x in range(3)]
CLASSES = 16

# A row with this many bits a cell shows its rule; rows of noise have under 0.05.
TESTABLE_BITS = 0.2
# Of 20,000 rows of the high band none has a true step under -20 % of its median; a grid of another rule has -50 %.
BREAK = -0.2
# A step is cleared by at least CLEARED cells whose mixed neighbourhood occurs elsewhere in the row, if at least this
# share of them lead to the same state there.
CLEARED, CLEARED_AGREE = 10, 0.9

# Pairs of rows of one rule score 0.2 to 1, those of different rules nearly always below 0 or far above 1.
SAME_LEAST, SAME_MOST = 0.2, 1.2
# Two rows are proved to share a rule by their common neighbourhoods: at least COMMON of them, without those of one
# state and those that lead to the commonest state (many rules lead almost everywhere to one state), and at least this
# share of all of them that leads to the same state.
COMMON, COMMON_AGREE = 20, 0.97

_HASH = np.random.Generator(np.random.PCG64(20260310)).integers(0, 2**64, (9, 256), dtype=np.uint64)


def classes(states: int) -> int:
    """Returns the number of classes of states in counts of pairs."""
    return min(states, CLASSES)


def around(grids: np.ndarray) -> Iterator[np.ndarray]:
    """Yields nine arrays: for each grid but the last, the cell above left, above, ... of every cell.

    grids: [..., frame, row, column]. Yields [..., frame - 1, row, column].
    """
    height, width = grids.shape[-2:]
    wide = np.concatenate([grids[..., -1:], grids, grids[..., :1]], axis=-1)[..., :-1, :, :]
    torus = np.concatenate([wide[..., -1:, :], wide, wide[..., :1, :]], axis=-2)
    for y, x in OFFSETS:
        yield torus[..., y : y + height, x : x + width]


def neighbourhoods(grids: np.ndarray) -> np.ndarray:
    """Hashes every cell's 3 x 3 neighbourhood on the torus, in each grid but the last.

    grids: uint8[..., frame, row, column]. Returns uint64[..., frame - 1, row, column]. Tabulation hashing: two hashes
    of a row collide once in 10**12 rows.
    """
    names = np.zeros((*grids.shape[:-3], grids.shape[-3] - 1, *grids.shape[-2:]), np.uint64)
    for table, cells in zip(_HASH, around(grids), strict=True):
        names ^= table[cells]
    return names


def agreement(grids: np.ndarray, states: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts neighbourhoods that occurred before in the row, and those that led to the same state as the last time.

    grids: uint8[row, frame, row, column]. Returns int64[row] each. Their quotient estimates the chance that two draws
    of the next state agree.
    """
    cells = grids[0, 1:].size
    shift = cells.bit_length() + (states - 1).bit_length()
    found = np.empty((len(grids), 2), np.int64)
    table = np.empty(_slots(cells), np.uint64)
    count_repeats(np.ascontiguousarray(grids), _HASH, np.uint64(shift), _wide(grids), table, found)
    return found[:, 0], found[:, 1]


def pair_shares(grids: np.ndarray, states: int) -> np.ndarray:
    """Counts (neighbour's class, next class) for each neighbour, as shares of all cells.

    grids: uint8[row, frame, y, x]. Returns float32[row, neighbour, pair], 9 neighbours.
    """
    n = classes(states)
    counts = np.zeros((9, len(grids), n * n), np.int32)
    count_pairs(_classed(grids, states), np.uint64(n), _wide(grids), counts)
    return (counts / grids[0, 1:].size).swapaxes(0, 1).astype(np.float32)


def pair_bits(shares: np.ndarray, cells: int) -> np.ndarray:
    """Returns log2 of each share over that of independent states, with one count added to both.

    shares: float32[row, neighbour, pair], as `pair_shares`. cells: how many were counted. Returns the same shape.
    """
    n = int(np.sqrt(shares.shape[2]))
    square = shares.reshape(len(shares), 9, n, n)
    chance = (square.sum(axis=3, keepdims=True) * square.sum(axis=2, keepdims=True)).reshape(shares.shape)
    return np.log2((shares + 1 / cells) / (chance + 1 / cells))


def own_bits(shares: np.ndarray, bits: np.ndarray, cells: int) -> np.ndarray:
    """Returns float[row], the bits a cell that neighbours tell of next states, without the bias of finite counts.

    shares, bits: [row, neighbour, pair]. cells: how many were counted. The bias is (k - 1)**2 / (2 N ln 2) bits for a
    table of k by k counts, N in all (Miller 1955).
    """
    n = int(np.sqrt(shares.shape[2]))
    used = (shares[:, 4].reshape(len(shares), n, n).sum(axis=1) > 0).sum(axis=1)
    return (shares * bits).sum(axis=(1, 2)) - 9 * (used - 1) ** 2 / (2 * cells * np.log(2))


def step_bits(grids: np.ndarray, bits: np.ndarray, states: int) -> np.ndarray:
    """Returns float32[row, step], the evidence in bits a cell that each grid but the first follows from the previous.

    grids: uint8[row, frame, y, x]. bits: as `pair_bits`.
    """
    found = np.empty(grids[:, 1:].shape, np.float32)
    add_bits(_classed(grids, states), np.uint64(classes(states)), np.ascontiguousarray(bits), _wide(grids), found)
    return found.mean(axis=(2, 3))


def breaks(steps: np.ndarray) -> np.ndarray:
    """Returns bool[row, step], true for steps that break the row's rule. steps: as `step_bits`.

    The first and the last step are not tested: a single grid is too little evidence, and the first step of a rule may
    differ from later ones.
    """
    usual = np.median(steps, axis=1, keepdims=True)
    broken = (usual >= TESTABLE_BITS) & (steps < BREAK * usual)
    broken[:, [0, -1]] = False
    return broken


def follows(grids: np.ndarray, step: int) -> bool:
    """Returns whether a broken step is cleared: its neighbourhoods led to the same states elsewhere in the row.

    grids: uint8[frame, row, column]. Simple rows have such steps where their motion changes.
    """
    mixed, names = _mixed(grids), neighbourhoods(grids)
    others = np.arange(len(names)) != step
    known, first = np.unique(names[others][mixed[others]], return_index=True)
    led = grids[1:][others][mixed[others]][first]
    wanted, after = names[step][mixed[step]], grids[1 + step][mixed[step]]
    at = np.searchsorted(known, wanted).clip(max=max(0, len(known) - 1))
    told = known[at] == wanted if len(known) else np.zeros(len(wanted), bool)
    return told.sum() >= CLEARED and float((led[at[told]] == after[told]).mean()) >= CLEARED_AGREE


class Others(NamedTuple):
    """Rows that others are compared with.

    shares: float32[row, value]. own: float32[row], see `_own`. bits: float32[block, value, BLOCK], the rows in blocks,
    zero beyond the last.
    """

    shares: np.ndarray
    own: np.ndarray
    bits: np.ndarray


def others(shares: np.ndarray, bits: np.ndarray) -> Others:
    """Arranges rows for `alike`. shares, bits: as `pair_shares` and `pair_bits`."""
    share, bit = _flat(shares), _flat(bits)
    blocks = -(-len(bit) // BLOCK)
    padded = np.zeros((blocks * BLOCK, bit.shape[1]), np.float32)
    padded[: len(bit)] = bit
    return Others(share, _own(share, bit), np.ascontiguousarray(padded.reshape(blocks, BLOCK, -1).swapaxes(1, 2)))


def alike(shares: np.ndarray, bits: np.ndarray, known: Others) -> np.ndarray:
    """Returns pairs of rows that could share a rule: the counts of each explain the steps of the other nearly as well.

    shares, bits: as `pair_shares` and `pair_bits`. Returns int64[pair, 2], an index of these and of the known rows,
    most alike first. One way is computed for all pairs, the other for those that it leaves, under one in a hundred.
    """
    share, bit = _flat(shares), _flat(bits)
    most = np.maximum(np.maximum(_own(share, bit)[:, None], known.own[None]), TESTABLE_BITS)
    there = np.zeros((len(share), len(known.bits), BLOCK), np.float32)
    add_products(share, known.bits, there)
    there = there.reshape(len(share), -1)[:, : len(known.own)] / most
    pairs = np.argwhere(_is_same(there))
    back = np.empty(len(pairs), np.float32)
    multiply_pairs(bit, known.shares, pairs, back)
    at = pairs[:, 0], pairs[:, 1]
    back /= most[at]
    same = _is_same(back)
    score = np.minimum(there[at], back)[same]
    return pairs[same][np.argsort(-score)]


def _is_same(scores: np.ndarray) -> np.ndarray:
    """Returns bool of the same shape, true for the scores of rows that could share a rule."""
    return (scores > SAME_LEAST) & (scores < SAME_MOST)


def _flat(counts: np.ndarray) -> np.ndarray:
    """Counts of pairs as float32[row, value], in one piece. counts: [row, neighbour, pair]."""
    return np.ascontiguousarray(counts.reshape(len(counts), -1))


def _own(share: np.ndarray, bit: np.ndarray) -> np.ndarray:
    """The bits that rows tell of their own steps: float32[row]. share, bit: as `_flat`."""
    return (share * bit).sum(axis=1)


def one_rule(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether common neighbourhoods prove that two rows share a rule. a, b: uint8[frame, row, column]."""
    slots = _slots(a[1:].size)
    names, states, marks = np.empty(slots, np.uint64), np.empty(slots, np.uint8), np.zeros(slots, np.uint8)
    led = np.zeros(256, np.int64)
    rows = np.ascontiguousarray(a), np.ascontiguousarray(b)
    common, same = count_common(*rows, _HASH, _wide(a), names, states, marks, led)
    return common - int(led.max()) >= COMMON and same / common >= COMMON_AGREE


def _wide(grids: np.ndarray) -> np.ndarray:
    """Room for a grid with a border. grids: [..., y, x]."""
    return np.empty((grids.shape[-2] + 2, grids.shape[-1] + 2), np.uint8)


def _slots(cells: int) -> int:
    """The slots of a table for so many neighbourhoods, at most half of them in use: a power of two."""
    return 2 << cells.bit_length()


def _classed(grids: np.ndarray, states: int) -> np.ndarray:
    """The classes of cells, in one piece. grids: uint8[row, frame, y, x]."""
    return np.ascontiguousarray(grids if states <= CLASSES else grids % CLASSES)


def _mixed(grids: np.ndarray) -> np.ndarray:
    """Returns bool[frame - 1, y, x], true for neighbourhoods with several states. grids: uint8[frame, y, x]."""
    low, high = np.full(grids[1:].shape, 255, np.uint8), np.zeros(grids[1:].shape, np.uint8)
    for cells in around(grids):
        np.minimum(low, cells, out=low)
        np.maximum(high, cells, out=high)
    return low != high
