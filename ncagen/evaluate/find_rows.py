"""Finds the rows of a dataset within sequences of token ids that a training loop made of them. NumPy only.

A row is recognized by the differences of its first tokens, so a number that was added to every id does not matter. Rows
may be cut, packed, padded, or begin anywhere in a sequence. Not found: a piece of a row without its first tokens.
"""

from dataclasses import dataclass, replace

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.numbers import shown

KEY_TOKENS = 38  # the first tokens of a row that identify it: a grid and its delimiters at the default settings
BLOCK = 4096  # rows that are read at a time
MOST_FOUND = 1024  # sequences whose rows are kept


@dataclass(frozen=True)
class Piece:
    """A row, or its beginning, within a sequence: its tokens 0 to length - 1 are at positions start to start + length.

    tokens: int64[token], all tokens of the row as stored. offset: the ids of the sequence minus the stored ones.
    """

    sequence: int
    start: int
    length: int
    tokens: np.ndarray
    offset: int


class RowFinder:
    """The rows of a dataset by hashes of their beginnings. All rows are read once, when the first are looked for."""

    def __init__(self, data: Dataset):
        check_dataset(data)
        self.data = data
        self.row_format = data.row_format
        self.key = min(KEY_TOKENS, self.row_format.row_tokens) - 1
        odd = np.random.default_rng(0).integers(0, 2**62, self.key, dtype=np.uint64)
        self._weights = odd * np.uint64(2) + np.uint64(1)
        self._hashes, self._numbers = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._indexed = False
        self._found: dict[bytes, list[Piece]] = {}

    def find(self, sequences: np.ndarray) -> list[Piece]:
        """The rows in some sequences, in order. sequences: int64[sequence, position]."""
        if sequences.shape[1] <= self.key:
            return []
        self._index()
        return [replace(piece, sequence=number) for number, ids in enumerate(sequences) for piece in self._known(ids)]

    def _known(self, ids: np.ndarray) -> list[Piece]:
        """The rows of one sequence, which are looked for once: a loop gives the same sequences many times."""
        key = ids.tobytes()
        if key not in self._found:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            self._found[key] = self._pieces(ids)
        return self._found[key]

    def _pieces(self, ids: np.ndarray) -> list[Piece]:
        """The rows of one sequence. One ends where another begins that agrees with more: both may have the same next
        token. A grid that comes again within a row looks like its beginning, and agrees with no more."""
        hashes = self._hash(np.lib.stride_tricks.sliding_window_view(np.diff(ids), self.key))
        found: list[Piece] = []
        for start in np.flatnonzero(np.isin(hashes, self._hashes)).tolist():
            end = found[-1].start + found[-1].length if found else 0
            if end == len(ids):
                break
            piece = self._longest(ids, start, hashes[start])
            if piece is None or start + piece.length <= end:
                continue
            if start < end:
                found[-1] = replace(found[-1], length=start - found[-1].start)
            found.append(piece)
        return found

    def _longest(self, sequence: np.ndarray, start: int, hashed: np.uint64) -> Piece | None:
        """The row of this hash that agrees with the most tokens from `start` on; None where only the hash agrees."""
        first, end = np.searchsorted(self._hashes, hashed, "left"), np.searchsorted(self._hashes, hashed, "right")
        rows = self._read(self._numbers[first : min(end, first + BLOCK)])
        here = sequence[start : start + rows.shape[1]]
        offsets = here[0] - rows[:, 0]
        differs = rows[:, : len(here)] + offsets[:, None] != here
        lengths = np.where(differs.any(axis=1), differs.argmax(axis=1), len(here))
        best = int(lengths.argmax())
        if lengths[best] <= self.key:
            return None
        return Piece(0, start, int(lengths[best]), rows[best], int(offsets[best]))

    def _index(self) -> None:
        if self._indexed:
            return
        parts = [np.arange(first, min(first + BLOCK, len(self.data))) for first in range(0, len(self.data), BLOCK)]
        hashes = np.concatenate([self._hash(np.diff(self._read(part)[:, : self.key + 1], axis=1)) for part in parts])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers, self._indexed = hashes[order], order, True

    def _read(self, numbers: np.ndarray) -> np.ndarray:
        """Tokens of rows: int64[row, token]."""
        return self.data.rows(numbers, ["input_ids"])["input_ids"].astype(np.int64)

    def _hash(self, differences: np.ndarray) -> np.ndarray:
        """differences: int64[..., key]. Returns uint64[...]."""
        return (differences.astype(np.uint64) * self._weights).sum(axis=-1, dtype=np.uint64)


def check_dataset(data: object) -> None:
    """Raises NcagenError unless it is one dataset, opened."""
    if not isinstance(data, Dataset):
        raise NcagenError(f"data {shown(data)} is not a dataset: use one, as in ncagen.open('data/nca-high')")


def as_sequences(input_ids: np.ndarray) -> np.ndarray:
    """Token ids as int64[sequence, position]. Raises NcagenError for what is no such array."""
    ids = np.asarray(input_ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise NcagenError(
            f"the model was given {ids.dtype} of shape {ids.shape}: use token ids, integers [sequence, position]"
        )
    return ids.astype(np.int64)
