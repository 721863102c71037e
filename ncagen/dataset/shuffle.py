"""Defines the order of rows in an epoch: a pure function of the dataset's shards, the seed and the epoch.

1. Shards are sorted by their keys (`order_keys`). So are the windows of a shard: every `window` consecutive row groups.
2. Position p of an epoch belongs to lane p mod `lanes`. The first shard is a section, all the others are a second one.
   A section's rows, in the order of 1, are cut into one span for each lane; `lane_order` puts the lanes' spans in a
   row.
   The first lane of this order reads its span forwards, the next one backwards, and so on: a row group that two spans
   share is read from both sides at the same time, and held once.
3. What lies in one span of one window is a piece: consecutive rows of a shard. The rows of a piece are sorted by their
   keys.

So the lanes advance together, each through shards of its own, and a world size that divides `lanes` has every shard
read by one rank, but for those at the borders of spans. `lane_order` keeps the lanes of a rank side by side where it
can, so that there are few such borders. A reader holds one piece for each of its lanes. The first section lets all
lanes start in the same shard, so that a first batch needs one shard and not one for each lane.

In a dataset of at most `TOGETHER` row groups each section is one piece, whose rows come in the order of their keys.

Ranks, batches and several datasets are not covered: see `division`, `stream` and `mixture`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ncagen.dataset.gather import distinct
from ncagen.dataset.lru import LruCache
from ncagen.dataset.order_keys import SHARDS, WINDOWS, by_keys, row_keys, shuffled
from ncagen.row_format import ROW_GROUP_ROWS

ORDER_VERSION = 3
WINDOW = 1  # row groups
# Divisible by 1, 2, 3, 4, 6, 8, 12, 16 and 24. A single reader holds LANES * WINDOW row groups of half a megabyte each.
LANES = 48
TOGETHER = 16  # row groups, as many as a shard of the usual size has

_HELD_EPOCHS = 2


@lru_cache
def lane_order(lanes: int) -> tuple[int, ...]:
    """The lanes in the order of their spans.

    Lanes that are equal mod p are side by side, p the smallest prime factor of `lanes`; among them those that are equal
    mod p * q, q the next factor; and so on.
    """
    if lanes == 1:
        return (0,)
    prime = next(p for p in range(2, lanes + 1) if lanes % p == 0)
    return tuple(first + prime * lane for first in range(prime) for lane in lane_order(lanes // prime))


@lru_cache
def lane_places(lanes: int) -> np.ndarray:
    """The place of each lane in `lane_order`: int64[lane], not to be written to."""
    places = np.argsort(lane_order(lanes))
    places.flags.writeable = False
    return places


@dataclass(frozen=True)
class Shards:
    """The rows of a dataset by shard and row group; rows are numbered in this order.

    rows: of each shard, int64[shard]. group_sizes: rows of each row group, int64[group], where they are not group_rows
    and a rest; groups_per_shard: how many each shard has in it, but for the last.
    """

    rows: np.ndarray
    group_sizes: np.ndarray | None = None
    groups_per_shard: int = 0
    group_rows: int = ROW_GROUP_ROWS

    def sizes(self, shard: int) -> np.ndarray:
        """Rows of each row group of a shard: int64[group]."""
        if self.group_sizes is not None:
            return self.group_sizes[shard * self.groups_per_shard : (shard + 1) * self.groups_per_shard]
        groups, rest = divmod(int(self.rows[shard]), self.group_rows)
        return np.asarray([self.group_rows] * groups + [rest] * (rest > 0), np.int64)

    @property
    def groups(self) -> int:
        """Row groups of all shards that have a row."""
        if self.group_sizes is not None:
            return int((self.group_sizes > 0).sum())
        return int((-(-self.rows // self.group_rows)).sum())


class RowGroups(NamedTuple):
    """Consecutive row groups of a shard: from `first` to before `end`."""

    shard: int
    first: int
    end: int


class Windows(NamedTuple):
    """The windows of a shard in an epoch's order, those without a row left out; int64[window] each.

    starts: how many rows of the shard come before each in this order. rows: of each. first_rows: how many rows of the
    shard are stored before it. ends: of all row groups of the shard, the number of rows up to there, int64[group].
    """

    starts: np.ndarray
    rows: np.ndarray
    first_rows: np.ndarray
    ends: np.ndarray


class Piece(NamedTuple):
    """Rows that are shuffled together: from `start` to before `end` of a section's rows; `row` is the first's number.

    groups: the row groups that hold them.
    """

    start: int
    end: int
    row: int
    groups: RowGroups


# No epoch, a piece without rows.
_NONE = -1, Piece(0, 0, 0, RowGroups(0, 0, 0)), np.empty(0, np.int64)


class Section(NamedTuple):
    """Shards whose rows are divided among all lanes.

    position: that of the first row in the epoch. shards: int64[shard], in order. starts: int64[shard], how many of the
    section's rows come before each. first, end: int64[lane], each lane's span of these rows.
    """

    position: int
    shards: np.ndarray
    starts: np.ndarray
    first: np.ndarray
    end: np.ndarray


class Shuffle:
    """Maps each position of each epoch to a row of a dataset."""

    def __init__(
        self, shards: Shards, seed: int = 0, shuffle: bool = True, window: int | None = WINDOW, lanes: int = LANES
    ):
        """window: row groups of a shard that are shuffled together, None for all of the shard."""
        self.length = int(shards.rows.sum())
        self._shards, self._seed, self._shuffle, self._window, self._lanes = shards, seed, shuffle, window, lanes
        self._first_rows = np.cumsum(shards.rows) - shards.rows
        self._is_together = shards.groups <= TOGETHER
        # Neighbours in `lane_order` run in opposite directions.
        self._forwards = lane_places(lanes) % 2 == 0
        # Positions p are divided so that a rank reads few lanes; 1 where any division is as good.
        self.lanes = lanes if shuffle and not self._is_together else 1
        self._together: LruCache[int, np.ndarray] = LruCache(_HELD_EPOCHS)
        self._sections: LruCache[int, list[Section]] = LruCache(_HELD_EPOCHS)
        self._windows: LruCache[tuple[int, int], Windows] = LruCache(3 * lanes)
        # The piece that each lane of a section is in, with its rows: (epoch, piece, int64[row]).
        self._current: dict[tuple[int, int], tuple[int, Piece, np.ndarray]] = {}

    def rows(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The row numbers at positions of an epoch. positions: int64[n], each 0 to length - 1. Returns int64[n]."""
        if not self._shuffle:
            return positions
        if self._is_together:
            return self._together.get(epoch, lambda: self._all_rows(epoch))[positions]
        found = np.empty(len(positions), np.int64)
        for number, here, lanes, offsets in self._located(epoch, positions):
            while len(here):
                known = distinct(lanes)
                which = np.searchsorted(known, lanes)
                firsts = np.zeros(len(known), np.int64)
                firsts[which[::-1]] = offsets[::-1]
                starts, lengths, rows = self._shuffled(epoch, number, known, firsts)
                at = offsets - starts[which]
                inside = (at >= 0) & (at < lengths[which])
                found[here[inside]] = rows[((np.cumsum(lengths) - lengths)[which] + at)[inside]]
                here, lanes, offsets = here[~inside], lanes[~inside], offsets[~inside]
        return found

    def row_groups(self, epoch: int, positions: np.ndarray) -> list[RowGroups]:
        """The row groups that are read for positions of an epoch, with those of the same pieces, in order of use."""
        if not self._shuffle or self._is_together:
            return self._holding(distinct(self.rows(epoch, positions)))
        found = dict[RowGroups, None]()
        for number, _, lanes, offsets in self._located(epoch, positions):
            while len(offsets):
                piece = self._piece(epoch, number, int(lanes[0]), int(offsets[0]))
                found[piece.groups] = None
                others = (lanes != lanes[0]) | (offsets < piece.start) | (offsets >= piece.end)
                lanes, offsets = lanes[others], offsets[others]
        return list(found)

    def _all_rows(self, epoch: int) -> np.ndarray:
        """All rows of a small dataset in an epoch's order: int64[row]."""
        order = self._shard_order(epoch)
        rows = [self._first_rows[shard] + np.arange(self._shards.rows[shard]) for shard in order]
        others = np.concatenate([rows[0][:0], *rows[1:]])
        (every,) = row_keys(self._seed, epoch, np.asarray([0]), np.asarray([self.length]))
        return np.concatenate([some[by_keys(every[some])] for some in (rows[0], np.sort(others))])

    def open_row_groups(self, world: int) -> int:
        """How many row groups a reader of one of `world` ranks keeps, so that each is decoded once an epoch.

        Those of the pieces of its lanes, and some of lanes that are between two pieces.
        """
        if self.lanes == 1:
            return TOGETHER
        lanes = self._lanes // world if self._lanes % world == 0 else min(self._lanes, 2 + 2 * self._lanes // world)
        groups = -(-int(self._shards.rows.max()) // self._shards.group_rows)
        return lanes * min(self._window or groups, groups) + lanes // 2 + TOGETHER

    def _located(self, epoch: int, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """For each section: its number, which positions it has, and their lanes and offsets within it: int64[n]."""
        sections = self._sections_in(epoch)
        borders = [section.position for section in sections[1:]]
        which = np.searchsorted(borders, positions, side="right")
        for number, section in enumerate(sections):
            here = np.flatnonzero(which == number)
            lanes = positions[here] % self._lanes
            done = (positions[here] - section.position) // self._lanes
            forwards = self._forwards[lanes]
            yield number, here, lanes, np.where(forwards, section.first[lanes] + done, section.end[lanes] - 1 - done)

    def _shard_order(self, epoch: int) -> np.ndarray:
        """The shards that have a row, in an epoch's order: int64[shard]."""
        return shuffled(self._seed, SHARDS, epoch, np.flatnonzero(self._shards.rows))

    def _sections_in(self, epoch: int) -> list[Section]:
        """The sections of an epoch, computed once."""
        return self._sections.get(epoch, lambda: self._sections_of(epoch))

    def _sections_of(self, epoch: int) -> list[Section]:
        order = self._shard_order(epoch)
        first = int(self._shards.rows[order[0]])
        return [self._section(0, order[:1]), self._section(first, order[1:])]

    def _section(self, position: int, shards: np.ndarray) -> Section:
        rows = self._shards.rows[shards]
        order = np.asarray(lane_order(self._lanes))
        # Of `total` positions from `position` on, how many belong to each lane.
        total, ahead = int(rows.sum()), (order - position) % self._lanes
        counts = np.maximum(0, -(-(total - ahead) // self._lanes))
        first, end = np.empty((2, self._lanes), np.int64)
        end[order] = np.cumsum(counts)
        first[order] = end[order] - counts
        return Section(position, shards, np.cumsum(rows) - rows, first, end)

    def _shuffled(self, epoch: int, number: int, lanes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, ...]:
        """The pieces of a section that offsets of different lanes lie in: int64[lane] each.

        Returns where they start, how many rows they have, and their rows in their order, one piece after the other.
        """
        places = list(zip(lanes.tolist(), offsets.tolist(), strict=True))
        held = {lane: self._current.get((number, lane)) or _NONE for lane, _ in places}
        missing = [
            (lane, self._piece(epoch, number, lane, offset))
            for lane, offset in places
            if held[lane][0] != epoch or not held[lane][1].start <= offset < held[lane][1].end
        ]
        for (lane, piece), rows in zip(missing, self._rows_of(epoch, [piece for _, piece in missing]), strict=True):
            held[lane] = self._current[number, lane] = epoch, piece, rows
        starts = np.asarray([piece.start for _, piece, _ in held.values()])
        orders = [rows for _, _, rows in held.values()]
        return starts, np.asarray([len(rows) for rows in orders]), np.concatenate(orders)

    def _rows_of(self, epoch: int, pieces: list[Piece]) -> list[np.ndarray]:
        """The rows of some pieces, each piece in the order of its keys, which are computed at once: int64[row] each."""
        if not pieces:
            return []
        firsts = np.asarray([piece.row for piece in pieces])
        ends = firsts + [piece.end - piece.start for piece in pieces]
        found = row_keys(self._seed, epoch, firsts, ends)
        return [piece.row + by_keys(some) for piece, some in zip(pieces, found, strict=True)]

    def _piece(self, epoch: int, number: int, lane: int, offset: int) -> Piece:
        section = self._sections_in(epoch)[number]
        at = int(np.searchsorted(section.starts, offset, side="right")) - 1
        shard, before = int(section.shards[at]), int(section.starts[at])
        windows = self._windows.get((epoch, shard), partial(self._windows_of, epoch, shard))
        window = int(np.searchsorted(windows.starts, offset - before, side="right")) - 1
        begin = before + int(windows.starts[window])
        start = max(begin, int(section.first[lane]))
        end = min(begin + int(windows.rows[window]), int(section.end[lane]))
        row = int(windows.first_rows[window]) + start - begin
        groups = np.searchsorted(windows.ends, [row, row + end - start - 1], side="right").tolist()
        return Piece(start, end, int(self._first_rows[shard]) + row, RowGroups(shard, groups[0], groups[1] + 1))

    def _windows_of(self, epoch: int, shard: int) -> Windows:
        ends = np.cumsum(self._shards.sizes(shard))
        last = ends[self._window - 1 :: self._window] if self._window else ends[:0]
        borders = distinct(np.asarray([0, *last, ends[-1]]))
        # A window's number is that of its first row, which does not change with the rows of other shards' windows.
        first_rows = shuffled(self._seed, WINDOWS, epoch, borders[:-1] + self._first_rows[shard])
        first_rows = first_rows - self._first_rows[shard]
        rows = borders[np.searchsorted(borders, first_rows) + 1] - first_rows
        return Windows(np.cumsum(rows) - rows, rows, first_rows, ends)

    def _holding(self, rows: np.ndarray) -> list[RowGroups]:
        """The row groups that hold some rows. rows: int64[row], rising."""
        shards = np.searchsorted(self._first_rows, rows, side="right") - 1
        found = []
        for shard in distinct(shards).tolist():
            within = rows[shards == shard] - self._first_rows[shard]
            groups = distinct(np.searchsorted(np.cumsum(self._shards.sizes(shard)), within, side="right"))
            for run in np.split(groups, np.flatnonzero(np.diff(groups) > 1) + 1):
                found.append(RowGroups(shard, int(run[0]), int(run[-1]) + 1))
        return found

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_current": {}}
