"""What a row says about its rule: whether there is one, whether it is the same throughout, and the same as another's.

Two views of the same steps. *Repeats*: a 3 x 3 neighbourhood that occurs twice in a row should lead to one state
(`agreement`). Complex rows seldom repeat one, so there is a second view, *pairs*: how often a neighbour's state and
the cell's next state occur together, for each of the nine neighbours. As in a naive Bayes classifier, the logarithms
of these counts over what chance would give, added up, are bits of evidence that one grid follows from another by the
row's own rule. They are about one bit a cell for a true step, and clearly negative where a grid of another rule stands.

Not covered: grids more than one step apart, where more than nine cells decide. With over 16 states, pairs are counted
of the remainders by 16, which says less: too little to call a row noise.
"""

from collections.abc import Iterator

import numpy as np

OFFSETS = [(y, x) for y in range(3) for x in range(3)]
CLASSES = 16

# A rule is seen in a row of this many bits a cell; rows of noise have under 0.05.
TESTABLE_BITS = 0.2
# Of the high band's rows none of 20,000 has a true step under -20 % of its median; a grid of another rule has -50 %.
BREAK = -0.2
# A step is cleared by so many cells whose mixed neighbourhood occurs elsewhere in the row, and leads there so often.
CLEARED, CLEARED_AGREE = 10, 0.9

# Pairs of rows of one rule score 0.2 to 1, those of different rules nearly always below 0 or far above 1.
SAME_LEAST, SAME_MOST = 0.2, 1.2
# The proof: common neighbourhoods, not counting those of one state alone or those that lead where most do (many rules
# send all they see to one state), and the share of all of them that leads to the same state.
COMMON, COMMON_AGREE = 20, 0.97

_HASH = np.random.Generator(np.random.PCG64(20260310)).integers(0, 2**64, (9, 256), dtype=np.uint64)


def classes(states: int) -> int:
    """States as pairs are counted."""
    return min(states, CLASSES)


def around(grids: np.ndarray) -> Iterator[np.ndarray]:
    """Each grid but the last, as the cells above left, above, ... of every cell. grids: [..., frame, row, column]."""
    height, width = grids.shape[-2:]
    wide = np.concatenate([grids[..., -1:], grids, grids[..., :1]], axis=-1)[..., :-1, :, :]
    torus = np.concatenate([wide[..., -1:, :], wide, wide[..., :1, :]], axis=-2)
    for y, x in OFFSETS:
        yield torus[..., y : y + height, x : x + width]


def neighbourhoods(grids: np.ndarray) -> np.ndarray:
    """A 64-bit name of every cell's 3 x 3 neighbourhood on the torus, in each grid but the last.

    grids: uint8[..., frame, row, column]. Tabulation hashing: two of a row's names collide once in 10**12 rows.
    """
    names = np.zeros((*grids.shape[:-3], grids.shape[-3] - 1, *grids.shape[-2:]), np.uint64)
    for table, cells in zip(_HASH, around(grids), strict=True):
        names ^= table[cells]
    return names


def agreement(grids: np.ndarray, states: int) -> tuple[np.ndarray, np.ndarray]:
    """How often a neighbourhood had occurred before in the row, and how often it led to the same state as then.

    grids: uint8[row, frame, row, column]. Returns int64[row] each. Their quotient estimates the chance that two draws
    of the next state agree.
    """
    names = neighbourhoods(grids).reshape(len(grids), -1)
    after = grids[:, 1:].reshape(len(grids), -1).astype(np.uint64)
    low = np.uint64((states - 1).bit_length())
    shift = np.uint64(names.shape[1].bit_length()) + low
    # Neighbourhood, then place, then next state: sorting brings repeats together, in the order of time.
    keys = names >> shift << shift | np.arange(names.shape[1], dtype=np.uint64) << low | after
    keys.sort(axis=1)
    same = keys[:, 1:] >> shift == keys[:, :-1] >> shift
    mask = (np.uint64(1) << low) - np.uint64(1)
    agreed = same & (keys[:, 1:] & mask == keys[:, :-1] & mask)
    return same.sum(axis=1), agreed.sum(axis=1)


def pair_shares(grids: np.ndarray, states: int) -> np.ndarray:
    """The shares of (neighbour's class, next class), for each neighbour. Returns float32[row, 9, pair]."""
    n, rows = classes(states), len(grids)
    cells = (grids % n).astype(np.int32)
    base = np.arange(rows, dtype=np.int32)[:, None, None, None] * (n * n) + cells[:, 1:]
    counts = [np.bincount((base + there * n).ravel(), minlength=rows * n * n) for there in around(cells)]
    return (np.stack(counts).reshape(9, rows, n * n) / cells[0, 1:].size).swapaxes(0, 1).astype(np.float32)


def pair_bits(shares: np.ndarray, cells: int) -> np.ndarray:
    """log2 of each share over what chance gives, with one count more in both. shares: as `pair_shares`, of `cells`."""
    n = int(np.sqrt(shares.shape[2]))
    square = shares.reshape(len(shares), 9, n, n)
    chance = (square.sum(axis=3, keepdims=True) * square.sum(axis=2, keepdims=True)).reshape(shares.shape)
    return np.log2((shares + 1 / cells) / (chance + 1 / cells))


def own_bits(shares: np.ndarray, bits: np.ndarray, cells: int) -> np.ndarray:
    """Bits a cell that a row's neighbours tell of its next states, less what chance alone would seem to. [row]

    Chance adds (k - 1)**2 / (2 N ln 2) bits for a table of k by k counts, N in all (Miller 1955).
    """
    n = int(np.sqrt(shares.shape[2]))
    used = (shares[:, 4].reshape(len(shares), n, n).sum(axis=1) > 0).sum(axis=1)
    return (shares * bits).sum(axis=(1, 2)) - 9 * (used - 1) ** 2 / (2 * cells * np.log(2))


def step_bits(grids: np.ndarray, bits: np.ndarray, states: int) -> np.ndarray:
    """The evidence, in bits a cell, that each grid but the first follows from the one before: float32[row, step]."""
    n = classes(states)
    cells = (grids % n).astype(np.int32)
    found = np.zeros(cells[:, 1:].shape, np.float32)
    rows = np.arange(len(grids), dtype=np.int32)[:, None, None, None]
    for k, there in enumerate(around(cells)):
        table = bits[:, k].ravel()
        found += table[rows * (n * n) + there * n + cells[:, 1:]]
    return found.mean(axis=(2, 3))


def breaks(steps: np.ndarray) -> np.ndarray:
    """Which steps do not follow the row's rule. steps: as of `step_bits`. Returns bool[row, step].

    The first and the last step are not judged: a single grid says too little, and a rule may start unlike it goes on.
    """
    usual = np.median(steps, axis=1, keepdims=True)
    broken = (usual >= TESTABLE_BITS) & (steps < BREAK * usual)
    broken[:, [0, -1]] = False
    return broken


def follows(grids: np.ndarray, step: int) -> bool:
    """Whether a step that looks broken is cleared: what the row knows of its neighbourhoods led to the same states.

    grids: uint8[frame, row, column]. Simple rows have such steps where they fall into another motion.
    """
    mixed, names = _mixed(grids), neighbourhoods(grids)
    others = np.arange(len(names)) != step
    known, first = np.unique(names[others][mixed[others]], return_index=True)
    led = grids[1:][others][mixed[others]][first]
    asked, after = names[step][mixed[step]], grids[1 + step][mixed[step]]
    at = np.searchsorted(known, asked).clip(max=max(0, len(known) - 1))
    told = known[at] == asked if len(known) else np.zeros(len(asked), bool)
    return told.sum() >= CLEARED and float((led[at[told]] == after[told]).mean()) >= CLEARED_AGREE


def alike(shares: tuple[np.ndarray, np.ndarray], bits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Which pairs of rows could have one rule: each row's steps are explained by the other's pairs, nearly as well.

    Both are of two sets of rows, as `pair_shares` and `pair_bits` give them. Returns the pairs' indices, int64[pair,
    2], most alike first.
    """
    share, bit = ([part.reshape(len(part), -1) for part in both] for both in (shares, bits))
    own = [(s * b).sum(axis=1) for s, b in zip(share, bit, strict=True)]
    most = np.maximum(np.maximum(own[0][:, None], own[1][None]), TESTABLE_BITS)
    there, back = share[0] @ bit[1].T / most, bit[0] @ share[1].T / most
    score = np.minimum(there, back)
    pairs = np.argwhere((score > SAME_LEAST) & (np.maximum(there, back) < SAME_MOST))
    return pairs[np.argsort(-score[pairs[:, 0], pairs[:, 1]])]


def one_rule(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether what two rows have in common shows that they have one rule. a, b: uint8[frame, row, column]."""
    (names_a, after_a), (names_b, after_b) = _map(a), _map(b)
    _, i, j = np.intersect1d(names_a, names_b, assume_unique=True, return_indices=True)
    if len(i) - np.bincount(after_a[i], minlength=1).max() < COMMON:
        return False
    return float((after_a[i] == after_b[j]).mean()) >= COMMON_AGREE


def _map(grids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row's neighbourhoods that are not all of one state, and where each led first."""
    mixed = _mixed(grids)
    names, first = np.unique(neighbourhoods(grids)[mixed], return_index=True)
    return names, grids[1:][mixed][first]


def _mixed(grids: np.ndarray) -> np.ndarray:
    """Which neighbourhoods are not all of one state. grids: uint8[frame, row, column]. bool, without the last frame."""
    low, high = np.full(grids[1:].shape, 255, np.uint8), np.zeros(grids[1:].shape, np.uint8)
    for cells in around(grids):
        np.minimum(low, cells, out=low)
        np.maximum(high, cells, out=high)
    return low != high
