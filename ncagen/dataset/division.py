"""Divides a span of positions among ranks and cuts it into batches. NumPy only.

    position of the rank's k-th row = start + k * world + rank

where `world` divides the number of lanes (see `shuffle`) or there are none: a rank then reads the lanes of one residue.
For any other world, that would spread a rank over all lanes. There the positions of a batch of all ranks are sorted by
the places of their lanes, each rank takes the next `batch_rows` of them, and reads them in the order of positions. A
batch that the end cuts short is divided by the formula above.

Either way the batches of number n of all ranks hold the positions from start + n * batch_rows * world on. This is
integer arithmetic alone: `shuffle` and `mixture` map a position to a row, and `passes` chooses the next span.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ncagen.dataset.shuffle import lane_places

TAILS = ("drop", "repeat", "uneven")


@dataclass(frozen=True)
class Division:
    """One rank's part of the positions from `start` to before `end`, counted over all epochs; end None: no end.

    length: positions of an epoch. rank, world: this rank's number, and how many there are. pack: rows of a sequence.
    batch_rows: rows of a batch, a multiple of `pack`. tail, drop_last: as `Stream` has them. lanes: of the order, 1 for
    none.
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
    lanes: int = 1

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
        if self.lanes > 1 and self.lanes % self.world:
            return np.concatenate([self._by_lanes(int(number)) for number in numbers])
        starts = np.asarray(numbers, np.int64)[:, None] * self.batch_rows
        return self._strided((starts + np.arange(self.batch_rows)).reshape(-1))

    def _strided(self, ours: np.ndarray) -> np.ndarray:
        """The positions of some of this rank's rows. ours: int64[row], which of them, rising."""
        if self.end is not None:
            ours = ours[: np.searchsorted(ours, self.rows)]
        positions = self.start + ours * self.world + self.rank
        if self.end is not None:  # only the tail "repeat" passes the end
            beyond = positions >= self.end
            positions[beyond] = self.end - self.length + (positions[beyond] - self.end) % self.length
        return positions

    def _by_lanes(self, number: int) -> np.ndarray:
        """The positions of a batch where `world` does not divide the lanes: int64[row]."""
        rows = self.batch_rows * self.world
        first = self.start + number * rows
        if self.end is not None and first + rows > self.end:
            return self._strided(number * self.batch_rows + np.arange(self.batch_rows))
        positions = first + np.arange(rows)
        by_lane = np.argsort(lane_places(self.lanes)[positions % self.length % self.lanes], kind="stable")
        return np.sort(positions[by_lane[self.rank * self.batch_rows : (self.rank + 1) * self.batch_rows]])

    def after(self, batches: int) -> int:
        """The position that follows when every rank has taken this many batches."""
        if self.end is not None and batches >= len(self):
            return self.end
        return self.start + batches * self.batch_rows * self.world
