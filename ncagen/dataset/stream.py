"""Batches of rows in a shuffled order that can be left and taken up again anywhere. NumPy and pyarrow only.

    position of the rank's k-th row = where the stream was taken up + k * world + rank

A position is counted over all ranks, so a state means the same to any number of ranks, workers and any batch size:
rows before it were seen, rows from it on were not. Ranks are expected to take the same number of batches; then any
rank's state is the state of all. Nothing is drawn in sequence: which row stands at a position is `order`'s and
`mixture`'s pure function of seed, epoch and position.

Tensors, worker processes and collation are not here: see `adapters`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.order import ORDER_VERSION, WINDOW, Order
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import Rows
from ncagen.errors import NcagenError

STATE = ("epoch", "position", "seed", "fingerprint")
TAILS = ("drop", "repeat", "uneven")

# Rows that are gathered at a time: half a window, so that batches are cut from few large copies.
READ_ROWS = 2048

Batch = dict[str, np.ndarray]


class Stream:
    """The rows of a dataset or a mixture in batches. Every `iter()` starts where the stream was last taken up.

    `state_dict()` is what resumes after the last batch that was yielded: {epoch, position, seed, fingerprint}, and the
    commit of each part that came from the Hub, by which to open it again; the fingerprint tells whether it is the same.
    `state_after(n)` is what resumes after n batches of each rank, for loaders that read ahead.
    """

    def __init__(
        self,
        data: Dataset | Mixture,
        batch_size: int = 1,
        *,
        layout: Layout | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int | None = WINDOW,
        epochs: int | None = 1,
        rank: int = 0,
        world: int = 1,
        tail: str = "drop",
        drop_last: bool = False,
    ):
        """batch_size: sequences of a batch of one rank; a sequence is a row, or as many as the layout packs.

        epochs: how many, None for no end. seed: 0 to 2**32 - 1.
        layout: what a batch holds of its rows; without one, all columns as they are stored.
        window: row groups of 256 rows that are shuffled together, None for all of the dataset; more hold more memory.
        tail: what becomes of the last rows where ranks would get different numbers: they are left out ("drop"), filled
        up with rows from the start of the last epoch ("repeat"), or given as they are ("uneven").
        drop_last: leave out a last batch that is smaller than the others.
        Raises NcagenError.
        """
        _check(batch_size=batch_size, epochs=epochs, world=world, window=window)
        if not 0 <= rank < world:
            raise NcagenError(f"rank {rank} is out of range: with world {world} use 0 to {world - 1}")
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise NcagenError(f"seed {seed!r} is out of range: use 0 to {2**32 - 1}")
        if tail not in TAILS:
            raise NcagenError(f"tail {tail!r} is not known: use {', '.join(TAILS)}")
        self.data, self.batch_size, self.layout, self.seed = data, batch_size, layout, seed
        self.epochs, self.rank, self.world, self.tail, self.drop_last = epochs, rank, world, tail, drop_last
        self.parts = data.parts if isinstance(data, Mixture) else [data]
        if layout is not None:
            for part in self.parts:
                layout.check(part.manifest.spec)
        self._batch_rows = batch_size * (layout.pack if layout else 1)
        self.fingerprint = _fingerprint(data, self.parts, seed, shuffle, window)
        self._orders = [Order(part.group_sizes, seed, shuffle, window) for part in self.parts]
        self._first_epoch = 0
        self._taken_up = self._position = 0

    def __len__(self) -> int:
        """Batches that are left for this rank from where the stream was taken up. Raises TypeError without an end."""
        if self.epochs is None:
            raise TypeError("a stream without an end has no length")
        rows = self._rows_left()
        return rows // self._batch_rows if self.drop_last else -(-rows // self._batch_rows)

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in self.batches():
            self._position = self._after(number + 1)
            yield batch

    def batches(self, first: int = 0, step: int = 1) -> Iterator[tuple[int, Batch]]:
        """This rank's batches with their numbers, from one on; of n workers, each takes every n-th."""
        end = None if self.epochs is None else len(self)
        together = max(1, READ_ROWS // self._batch_rows) * step
        while end is None or first < end:
            numbers = range(first, first + together if end is None else min(end, first + together), step)
            rows = self._read(self.positions(numbers))
            for start, number in enumerate(numbers):
                here = slice(start * self._batch_rows, (start + 1) * self._batch_rows)
                yield number, self._laid_out({name: column[here] for name, column in rows.items()})
            first += together

    def positions(self, numbers: Sequence[int]) -> np.ndarray:
        """The positions of some of this rank's batches, counted over all epochs: int64[row].

        numbers: which batches, rising; only the last of all may be short.
        """
        starts = np.asarray(numbers, np.int64)[:, None] * self._batch_rows
        ours = (starts + np.arange(self._batch_rows)).reshape(-1)
        if self.epochs is not None:
            ours = ours[: np.searchsorted(ours, self._rows_left())]
        positions = self._taken_up + ours * self.world + self.rank
        if self.epochs is not None:  # only the tail "repeat" goes past the end
            beyond = positions >= self._end
            positions[beyond] = self._end - self._length + (positions[beyond] - self._end) % self._length
        return positions

    def take(self, positions: np.ndarray) -> Batch:
        """The rows at any positions, counted over all epochs, as a batch has them. positions: int64[row]."""
        return self._laid_out(self._read(positions))

    def state_dict(self) -> dict:
        """What resumes after the last batch that this stream yielded."""
        return self._state(self._position)

    def state_after(self, batches: int) -> dict:
        """What resumes after every rank has taken this many batches since the stream was taken up."""
        return self._state(self._after(batches))

    def load_state_dict(self, state: dict) -> None:
        """Takes the stream up at a state, whatever the ranks, workers and batches were. Raises NcagenError."""
        try:
            epoch, position, seed, fingerprint = (state[name] for name in STATE)
        except (KeyError, TypeError):
            raise NcagenError(f"the state is not a stream's: it must have {', '.join(STATE)}") from None
        if seed != self.seed:
            raise NcagenError(f"the state is of seed {seed}, this stream of seed {self.seed}: use seed={seed}")
        if fingerprint != self.fingerprint:
            raise NcagenError(
                f"the state is of another order (fingerprint {fingerprint}, here {self.fingerprint}): open the same"
                " dataset, split, band and weights with the same shuffle and window"
            )
        last = None if self.epochs is None else self._first_epoch + self.epochs
        inside = type(epoch) is type(position) is int and epoch >= 0 and 0 <= position < self._length
        if not inside or epoch < self._first_epoch or (last is not None and (epoch, position) > (last, 0)):
            raise NcagenError(
                f"the state is at epoch {epoch}, position {position}; this stream has epochs {self._first_epoch} to"
                f" {'no end' if last is None else last - 1} of {self._length} rows: use more epochs, or set_epoch first"
            )
        self._taken_up = self._position = epoch * self._length + position

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch; `epochs` are counted from there. No change where the stream is in it."""
        self._first_epoch = epoch
        if self._taken_up // self._length != epoch:
            self._taken_up = self._position = epoch * self._length

    @property
    def _length(self) -> int:
        return len(self.data)

    @property
    def _spec(self):
        return self.parts[0].manifest.spec

    @property
    def _end(self) -> int:
        """The position after the last epoch."""
        assert self.epochs is not None
        return (self._first_epoch + self.epochs) * self._length

    def _rows_left(self) -> int:
        left = self._end - self._taken_up
        if self.tail == "drop":
            return left // self.world
        if self.tail == "repeat":
            return -(-left // self.world)
        return max(0, -(-(left - self.rank) // self.world))

    def _after(self, batches: int) -> int:
        """The position after this many batches of every rank."""
        position = self._taken_up + batches * self._batch_rows * self.world
        return position if self.epochs is None or batches < len(self) else self._end

    def _state(self, position: int) -> dict:
        epoch, within = divmod(position, self._length)
        state = dict(zip(STATE, (epoch, within, self.seed, self.fingerprint), strict=True))
        revisions = [part.revision for part in self.parts]
        return state | {"revisions": revisions} if any(revisions) else state

    def _laid_out(self, rows: Batch) -> Batch:
        return self.layout(self._spec, rows["input_ids"]) if self.layout else rows

    def _read(self, positions: np.ndarray) -> Batch:
        """The rows at positions over all epochs, in their order."""
        columns = ("input_ids",) if self.layout else Rows._fields
        part, before = self._give(positions)
        if len(self.parts) == 1:
            return self.parts[0].rows(self._row_numbers(0, before), columns)
        found: Batch = {}
        for i in np.unique(part):
            here = part == i
            rows = self.parts[i].rows(self._row_numbers(int(i), before[here]), columns)
            for name, column in rows.items():
                if name not in found:
                    found[name] = np.empty((len(positions), *column.shape[1:]), column.dtype)
                found[name][here] = column
        return found

    def _give(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part at each position, and how many rows it gave before: int64[n], int64[n]."""
        if not isinstance(self.data, Mixture):
            return np.zeros(len(positions), np.int64), positions
        part, before = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        epochs = positions // self._length
        for epoch in np.unique(epochs):
            here = epochs == epoch
            part[here], before[here] = self.data.at(self.seed, int(epoch), positions[here] - epoch * self._length)
        return part, before

    def _row_numbers(self, part: int, before: np.ndarray) -> np.ndarray:
        """The row numbers of a part, by how many rows of it came before."""
        order = self._orders[part]
        rows = np.empty(len(before), np.int64)
        epochs = before // order.length
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = order.rows(int(epoch), before[here] - epoch * order.length)
        return rows


def _fingerprint(data: Dataset | Mixture, parts: list[Dataset], seed: int, shuffle: bool, window: int | None) -> str:
    """What decides which row stands at a position, in sixteen hexadecimal digits."""
    facts: dict = {"order": ORDER_VERSION, "seed": seed, "shuffle": shuffle, "window": window if shuffle else None}
    facts["parts"] = [(part.manifest.dataset_sha256, part.split, part.band) for part in parts]
    if isinstance(data, Mixture):
        facts |= {"rows": len(data), "schedule": data.schedule}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _check(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is None and name in ("epochs", "window"):
            continue
        if type(value) is not int or value < 1:
            raise NcagenError(f"{name} {value!r} is not a number that can be used: use 1 or more")
