"""Philox4x32-10: random bits addressed by a counter, never drawn in sequence.

The generator of Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), in plain
NumPy. Integers only, so every platform and device gets the same bits; the paper's published answers are tested.
Not covered: how the bits become weights and start cells (`sources/nca/rules.py`) and noise
(`sources/nca/definition.py`).

    key     = (seed, stream)                          one stream for each split
    counter = (block, purpose, number's low word, number's high word)

A block is 128 bits, read as eight 16-bit words: the low half of its first 32-bit word, the high half, the low half
of the second, and so on.
"""

import numpy as np

STREAMS = {"train": 0, "validation": 1, "test": 2, "pilot": 3}

# The purposes of blocks. PERCEPTION, HIDDEN and OUTPUT are addressed by the rule's number, the others by the
# candidate's; step t of a trajectory (1 is the first) takes its noise from purpose NOISE + t.
PERCEPTION, HIDDEN, OUTPUT, START_WEIGHTS, START_CELLS, NOISE = 0, 1, 2, 3, 4, 16

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Computes the 128 random bits at each counter.

    counter: uint32[..., word], 4 words. key: seed and stream, each below 2**32. Returns uint32[..., word], 4 words.
    """
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(ROUNDS):
        left = c0 * np.uint64(MULTIPLIERS[0])
        right = c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (right >> _32) ^ c1 ^ np.uint64(k0),
            right & _LOW,
            (left >> _32) ^ c3 ^ np.uint64(k1),
            left & _LOW,
        )
        k0 = (k0 + WEYL[0]) & 0xFFFFFFFF
        k1 = (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def words(seed: int, stream: int, purpose: int, numbers: np.ndarray, count: int, first_block: int = 0) -> np.ndarray:
    """Computes `count` 16-bit words from block `first_block` on, for each candidate or rule number.

    seed, stream, purpose: below 2**32. numbers: uint64[batch]. Returns uint16[batch, word].
    """
    blocks = -(-count // 8)
    counter = np.empty((len(numbers), blocks, 4), np.uint32)
    counter[:, :, 0] = first_block + np.arange(blocks, dtype=np.uint32)
    counter[:, :, 1] = purpose
    counter[:, :, 2] = (numbers & _LOW)[:, None]
    counter[:, :, 3] = (numbers >> _32)[:, None]
    bits = philox(counter, (seed, stream))
    halves = np.stack([bits & np.uint32(0xFFFF), bits >> np.uint32(16)], axis=-1)
    return halves.reshape(len(numbers), blocks * 8)[:, :count].astype(np.uint16)
