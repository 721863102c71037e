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

import numpy as np

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
    names = neighbourhoods(grids).reshape(len(grids), -1)
    after = grids[:, 1:].reshape(len(grids), -1).astype(np.uint64)
    low = np.uint64((states - 1).bit_length())
    shift = np.uint64(names.shape[1].bit_length()) + low
    # Neighbourhood, then position, then next state: sorting groups repeats, in the order of time.
    keys = names >> shift << shift | np.arange(names.shape[1], dtype=np.uint64) << low | after
    keys.sort(axis=1)
    same = keys[:, 1:] >> shift == keys[:, :-1] >> shift
    mask = (np.uint64(1) << low) - np.uint64(1)
    agreed = same & (keys[:, 1:] & mask == keys[:, :-1] & mask)
    return same.sum(axis=1), agreed.sum(axis=1)


def pair_shares(grids: np.ndarray, states: int) -> np.ndarray:
    """Counts (neighbour's class, next class) for each neighbour, as shares of all cells.

    grids: uint8[row, frame, y, x]. Returns float32[row, neighbour, pair], 9 neighbours.
    """
    n, rows = classes(states), len(grids)
    cells = (grids % n).astype(np.int32)
    base = np.arange(rows, dtype=np.int32)[:, None, None, None] * (n * n) + cells[:, 1:]
    counts = [np.bincount((base + there * n).ravel(), minlength=rows * n * n) for there in around(cells)]
    return (np.stack(counts).reshape(9, rows, n * n) / cells[0, 1:].size).swapaxes(0, 1).astype(np.float32)


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
    n = classes(states)
    cells = (grids % n).astype(np.int32)
    found = np.zeros(cells[:, 1:].shape, np.float32)
    rows = np.arange(len(grids), dtype=np.int32)[:, None, None, None]
    for k, there in enumerate(around(cells)):
        table = bits[:, k].ravel()
        found += table[rows * (n * n) + there * n + cells[:, 1:]]
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


def alike(shares: tuple[np.ndarray, np.ndarray], bits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns pairs of rows that could share a rule: the counts of each explain the steps of the other nearly as well.

    shares, bits: of two sets of rows, as `pair_shares` and `pair_bits`. Returns int64[pair, 2], an index into each set,
    most alike first.
    """
    share, bit = ([part.reshape(len(part), -1) for part in both] for both in (shares, bits))
    own = [(s * b).sum(axis=1) for s, b in zip(share, bit, strict=True)]
    most = np.maximum(np.maximum(own[0][:, None], own[1][None]), TESTABLE_BITS)
    there, back = share[0] @ bit[1].T / most, bit[0] @ share[1].T / most
    score = np.minimum(there, back)
    pairs = np.argwhere((score > SAME_LEAST) & (np.maximum(there, back) < SAME_MOST))
    return pairs[np.argsort(-score[pairs[:, 0], pairs[:, 1]])]


def one_rule(a: np.ndarray, b: np.ndarray) -> bool:
    """Returns whether common neighbourhoods prove that two rows share a rule. a, b: uint8[frame, row, column]."""
    (names_a, after_a), (names_b, after_b) = _map(a), _map(b)
    _, i, j = np.intersect1d(names_a, names_b, assume_unique=True, return_indices=True)
    if len(i) - np.bincount(after_a[i], minlength=1).max() < COMMON:
        return False
    return float((after_a[i] == after_b[j]).mean()) >= COMMON_AGREE


def _map(grids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hashes of a row's neighbourhoods that have several states, and the state that each led to first."""
    mixed = _mixed(grids)
    names, first = np.unique(neighbourhoods(grids)[mixed], return_index=True)
    return names, grids[1:][mixed][first]


def _mixed(grids: np.ndarray) -> np.ndarray:
    """Returns bool[frame - 1, y, x], true for neighbourhoods with several states. grids: uint8[frame, y, x]."""
    low, high = np.full(grids[1:].shape, 255, np.uint8), np.zeros(grids[1:].shape, np.uint8)
    for cells in around(grids):
        np.minimum(low, cells, out=low)
        np.maximum(high, cells, out=high)
    return low != high
