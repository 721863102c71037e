"""Finds digests that were seen before: an open hash table of 128 bits a digest. Kernels; callers make the arrays."""

import numpy as np

from ncagen.kernels import kernel


@kernel
def insert(table, digests, fresh):
    """Puts digests into the table and notes which were not in it.

    table: uint64[slot, 2], a power of two of slots of which one stays empty; (0, 0) is an empty slot. digests:
    uint64[digest, 2], none of them (0, 0). fresh: bool[digest], written. Returns how many were fresh.
    """
    mask = np.uint64(len(table) - 1)
    count = 0
    for i in range(len(digests)):
        high, low = digests[i, 0], digests[i, 1]
        slot = low & mask
        while True:
            if table[slot, 0] == 0 and table[slot, 1] == 0:
                table[slot, 0], table[slot, 1] = high, low
                fresh[i] = True
                count += 1
                break
            if table[slot, 0] == high and table[slot, 1] == low:
                fresh[i] = False
                break
            slot = (slot + np.uint64(1)) & mask
    return count
