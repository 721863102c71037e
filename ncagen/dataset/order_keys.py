"""Random keys that numbers are sorted by, addressed by seed, epoch and number, so that nothing is drawn in sequence.

    key(number, epoch) = the first 64 bits of Philox at counter (0, epoch, number), key (seed, stream)
    row_key(row, epoch) = 32-bit word row mod 4 of Philox at counter (0, epoch, row div 4), key (seed, ROWS)

Where keys are equal, the lower number comes first. What is sorted by them is not here: see `shuffle` and `mixture`.
"""

import numpy as np

from ncagen.philox import philox

# Streams of Philox beyond those of the splits (philox.py).
SHARDS, ROWS, SLOTS, WINDOWS = 16, 17, 18, 19

_PLACE = np.uint64(2**32 - 1)


def words(seed: int, stream: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """Random 32-bit words, addressed by number and epoch. numbers: int64[n]. Returns uint32[n, word], four words."""
    counter = np.zeros((len(numbers), 4), np.uint32)
    counter[:, 1] = epoch
    counter[:, 2] = numbers & 0xFFFFFFFF
    counter[:, 3] = numbers >> 32
    return philox(counter, (seed, stream))


def keys(seed: int, stream: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """Random 64-bit numbers, addressed by number and epoch. numbers: int64[n]. Returns uint64[n]."""
    bits = words(seed, stream, epoch, numbers).astype(np.uint64)
    return bits[:, 0] | bits[:, 1] << np.uint64(32)


def row_keys(seed: int, epoch: int, firsts: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    """The keys of runs of rows, each from `first` to before `end`: uint32[row] each. firsts, ends: int64[run]."""
    blocks = [np.arange(first // 4, (end + 3) // 4) for first, end in zip(firsts, ends, strict=True)]
    found = words(seed, ROWS, epoch, np.concatenate(blocks))
    parts = np.split(found, np.cumsum([len(some) for some in blocks])[:-1])
    return [part.reshape(-1)[first % 4 :][: end - first] for part, first, end in zip(parts, firsts, ends, strict=True)]


def by_keys(keys: np.ndarray) -> np.ndarray:
    """The places of keys in their order, of equal ones in their own: int64[row]. keys: uint32[row]."""
    # Sorting numbers is some times faster than np.argsort.
    return (np.sort(keys.astype(np.uint64) << np.uint64(32) | np.arange(len(keys), dtype=np.uint64)) & _PLACE).view(
        np.int64
    )


def shuffled(seed: int, stream: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """The numbers in the order of their keys; equal keys keep their order. numbers: int64[n], and so returned."""
    return numbers[np.argsort(keys(seed, stream, epoch, numbers), kind="stable")]
