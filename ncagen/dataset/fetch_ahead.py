"""Starts to fetch the row groups that a stream's next batches need, so that a remote store is not waited for.

A stream tells which batches it reads; this finds the later ones that must be near by then, and the row groups of their
pieces. Fetching them in the background, and waiting for those that have not arrived, is `ranges`. Nothing happens for
datasets whose files are mapped.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shuffle import Shuffle

# Row groups of each lane that are fetched ahead, and of all lanes at least.
LANE_GROUPS, LEAST_GROUPS = 1, 8


class FetchAhead:
    """The row groups that the parts of a stream keep, and those that they fetch ahead."""

    def __init__(self, parts: Sequence[Part], orders: Sequence[Shuffle]):
        """orders: of each part."""
        self._parts = {
            number: (part, order)
            for number, (part, order) in enumerate(zip(parts, orders, strict=True))
            if isinstance(part, Dataset)
        }
        self._remote = {number: pair for number, pair in self._parts.items() if not pair[0].folder.maps}

    @property
    def is_any(self) -> bool:
        """Whether a part is fetched from a remote store."""
        return bool(self._remote)

    def hold(self, world: int) -> None:
        """Has each part keep the decoded row groups that one of `world` ranks reads from at a time."""
        for part, order in self._parts.values():
            part.hold(order.open_row_groups(world))

    def later(self, division: Division, numbers: Sequence[int], step: int) -> list[int]:
        """The batches whose row groups to fetch when some are read; none where no part is remote.

        numbers: those that are read, every `step`-th. After the first read of a pass these are all that must be near,
        after a later one the last of them: the others were named before.
        """
        if not self.is_any:
            return []
        size = min(part.row_format.group_rows for part, _ in self._remote.values())
        rows = size * max(LEAST_GROUPS, LANE_GROUPS * division.lanes)
        ahead = max(len(numbers), -(-rows // (division.batch_rows * division.world * step)))
        first = 1 if numbers[0] < step else 1 + ahead - len(numbers)
        later = range(numbers[-1] + first * step, numbers[-1] + (ahead + 1) * step, step)
        return [number for number in later if division.has(number)]

    def fetch(self, part: np.ndarray, before: np.ndarray) -> None:
        """Starts to fetch the row groups of some rows. part: of each row; before: rows given before it, int64[row]."""
        for number, (dataset, order) in self._remote.items():
            for some in by_epoch(before[part == number], order.length):
                for groups in order.row_groups(*some):
                    dataset.prefetch(*groups)


def by_epoch(positions: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of positions of one epoch, int64[row], each as the epoch and the positions in it. length: of an epoch."""
    if not len(positions):
        return
    for run in np.split(positions, np.flatnonzero(np.diff(positions // length)) + 1):
        yield int(run[0] // length), run % length
