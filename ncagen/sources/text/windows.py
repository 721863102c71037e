"""Orders the documents of a split and cuts them into windows, the rows that a split can have.

The split of a document follows from its digest, and its place in the split from Philox words of (seed, stream,
document). Memory: 16 bytes a document of the split, and 8 of the corpus while it is ordered. Not covered: which
candidate is which window (`source.py`).
"""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Protocol

import numpy as np

from ncagen import philox
from ncagen.sources.text.corpus import Corpus
from ncagen.sources.text.definition import ORDER

PACKED, SPLIT = "packed", "split"
SHARES = 2**16  # values of a digest's upper bits, of which each split has some
BLOCK = 2**16  # documents whose keys are computed at once


class Documents(Protocol):
    """What is read of a corpus: as in `Corpus`."""

    @property
    def tokens(self) -> np.ndarray:
        """uint16 or uint32 [token]."""

    @property
    def ends(self) -> np.ndarray:
        """int64[document]."""

    @property
    def digests(self) -> np.ndarray:
        """uint64[document]."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one split. order: int64[place], documents. starts: int64[place + 1], in tokens or rows."""

    corpus: Documents
    documents: str
    seq_len: int
    end: int
    order: np.ndarray
    starts: np.ndarray

    @property
    def count(self) -> int:
        """How many windows there are."""
        return count(self.documents, int(self.starts[-1]), self.seq_len)

    def rows(self, windows: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cuts windows. windows: int64[row], below `count`; dtype: of the tokens.

        Returns tokens [row, token], and int32[row]: how many documents have a token in it, and how many tokens are of
        documents.
        """
        from ncagen.sources.text.window_kernels import packed_rows, split_rows

        out = np.empty((len(windows), self.seq_len + 1), dtype)
        documents, content = np.empty(len(windows), np.int32), np.empty(len(windows), np.int32)
        fill = packed_rows if self.documents == PACKED else split_rows
        ends, tokens = (np.asarray(values) for values in (self.corpus.ends, self.corpus.tokens))
        fill(tokens, ends, self.order, self.starts, windows, self.seq_len, self.end, out, documents, content)
        return out, documents, content


_ORDERING = Lock()  # so that threads that begin at the same time order the documents once


def windows_of(
    corpus: Corpus, documents: str, seq_len: int, end: int, key: tuple[int, int], first: int, last: int
) -> Windows:
    """Orders and cuts the documents whose digests have upper 16 bits from `first` up to, but not including, `last`.

    documents: PACKED or SPLIT. key: seed and stream. The last few results are kept.
    """
    with _ORDERING:
        return _ordered(corpus, documents, seq_len, end, key, first, last)


def unordered(corpus: Documents, documents: str, seq_len: int, end: int) -> Windows:
    """Cuts all documents in the order of the corpus."""
    return _cut(corpus, documents, seq_len, end, np.arange(len(corpus.ends)))


def cut(
    corpus: Documents, documents: str, seq_len: int, end: int, key: tuple[int, int], first: int, last: int
) -> Windows:
    """Orders and cuts documents as `windows_of` does, and keeps nothing."""
    share = np.asarray(corpus.digests) >> np.uint64(48)
    chosen = np.flatnonzero((share >= first) & (share < last))
    order = chosen[np.argsort(order_keys(key, chosen), kind="stable")]
    return _cut(corpus, documents, seq_len, end, order)


def _cut(corpus: Documents, documents: str, seq_len: int, end: int, order: np.ndarray) -> Windows:
    sizes = sizes_of(corpus, documents, seq_len)[order]
    return Windows(corpus, documents, seq_len, end, order, np.concatenate([[0], np.cumsum(sizes)]))


_ordered = lru_cache(maxsize=4)(cut)


def sizes_of(corpus: Documents, documents: str, seq_len: int) -> np.ndarray:
    """What each document adds to its split: int64[document], tokens with the end if packed, rows if split."""
    lengths = np.diff(corpus.ends, prepend=0)
    return lengths + 1 if documents == PACKED else -(-lengths // seq_len)


def count(documents: str, size: int, seq_len: int) -> int:
    """Windows of documents whose sizes sum to `size`."""
    return max(0, (size - 1) // seq_len) if documents == PACKED else size


def size_for(documents: str, windows: int, seq_len: int) -> int:
    """The smallest sum of sizes that has so many windows."""
    if documents == PACKED:
        return windows * seq_len + 1 if windows else 0
    return windows


def order_keys(key: tuple[int, int], documents: np.ndarray) -> np.ndarray:
    """Computes the 64 bits that documents are ordered by. documents: int64[document]. Returns uint64[document]."""
    keys = np.empty(len(documents), np.uint64)
    for at in range(0, len(documents), BLOCK):
        words = philox.words(*key, ORDER, documents[at : at + BLOCK].astype(np.uint64), 4)
        keys[at : at + BLOCK] = np.ascontiguousarray(words).astype("<u2").view("<u8")[:, 0]
    return keys
