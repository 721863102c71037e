"""Recognises documents that were seen before by the sha256 of their text. Memory: 32 to 64 bytes a document."""

import hashlib
from collections.abc import Sequence

import numpy as np

FIRST_SLOTS = 2**16


def digests_of(texts: Sequence[str]) -> np.ndarray:
    """Returns the first 16 bytes of the sha256 of each text's UTF-8 bytes: uint64[text, 2], big-endian numbers."""
    joined = b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(len(texts), 2)


class Seen:
    """The digests of all documents so far."""

    def __init__(self, slots: int = FIRST_SLOTS):
        self._table = np.zeros((slots, 2), np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Takes note of digests. digests: uint64[text, 2]. Returns bool[text], true where one comes first."""
        from ncagen.sources.text.digest_kernels import insert

        fresh = np.zeros(len(digests), np.bool_)
        while 2 * (self._count + len(digests)) > len(self._table):
            self._grow()
        self._count += int(insert(self._table, digests, fresh))
        return fresh

    def _grow(self) -> None:
        """Doubles the table."""
        from ncagen.sources.text.digest_kernels import insert

        held = self._table[self._table.any(axis=1)]
        self._table = np.zeros((2 * len(self._table), 2), np.uint64)
        insert(self._table, held, np.zeros(len(held), np.bool_))
