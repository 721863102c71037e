"""Divides a span of positions among ranks and cuts it into batches. NumPy only.

    position of the rank's k-th row = start + k * world + rank

This is integer arithmetic alone: `shuffle` and `mixture` map a position to a row, and `passes` chooses the next span.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TAILS = ("drop", "repeat", "uneven")


@dataclass(frozen=True)
class Division:
    """One rank's part of the positions from `start` to before `end`, counted over all epochs; end None: no end.

    length: positions of an epoch. rank, world: this rank's number, and how many there are. pack: rows of a sequence.
    batch_rows: rows of a batch, a multiple of `pack`. tail, drop_last: as `Stream` has them.
    """

    start: int
    end: int | None
    length: int
    rank: int
    world: int
    batch_rows: int
    pack: int
    tail: str
    drop_last: bool

    @property
    def rows(self) -> int:
        """Rows of this rank; whole sequences only. Raises TypeError where there is no end."""
        if self.end is None:
            raise TypeError("a stream without an end has no length")
        left = self.end - self.start
        if self.tail == "repeat":
            return -(-left // (self.world * self.pack)) * self.pack
        share = left // self.world if self.tail == "drop" else max(0, -(-(left - self.rank) // self.world))
        return share - share % self.pack

    def __len__(self) -> int:
        """Batches of this rank. Raises TypeError where there is no end."""
        return self.rows // self.batch_rows if self.drop_last else -(-self.rows // self.batch_rows)

    def has(self, number: int) -> bool:
        """Whether there is a batch of this number."""
        return self.end is None or number < len(self)

    def positions(self, numbers: Sequence[int]) -> np.ndarray:
        """The positions of some batches: int64[row].

        numbers: which batches, rising; only the last of all may be short.
        """
        starts = np.asarray(numbers, np.int64)[:, None] * self.batch_rows
        ours = (starts + np.arange(self.batch_rows)).reshape(-1)
        if self.end is not None:
            ours = ours[: np.searchsorted(ours, self.rows)]
        positions = self.start + ours * self.world + self.rank
        if self.end is not None:  # only the tail "repeat" passes the end
            beyond = positions >= self.end
            positions[beyond] = self.end - self.length + (positions[beyond] - self.end) % self.length
        return positions

    def after(self, batches: int) -> int:
        """The position that follows when every rank has taken this many batches."""
        if self.end is not None and batches >= len(self):
            return self.end
        return self.start + batches * self.batch_rows * self.world
