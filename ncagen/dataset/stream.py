"""Yields batches of rows in a shuffled order that can be stopped and resumed anywhere. NumPy and pyarrow only.

A position counts rows over all ranks and epochs, so a state means the same for any number of ranks and workers and any
batch size: rows before it were given, rows from it on were not. Ranks are expected to take the same number of batches;
then the state of any rank is the state of all. Nothing is drawn in sequence: `shuffle` and `mixture` compute the row at
a position from seed, epoch and position, `division` the positions of a rank, and `passes` the next pass.

Tensors, worker processes and collation are not here: see `adapters`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from ncagen.dataset.division import TAILS, Division
from ncagen.dataset.fetch_ahead import FetchAhead, by_epoch
from ncagen.dataset.formats import Formats, Part
from ncagen.dataset.gather import distinct
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.options import LAYOUT, check_data, check_layout, redirect
from ncagen.dataset.passes import Memory, Passes, Span
from ncagen.dataset.shuffle import LANES, ORDER_VERSION, WINDOW, Shuffle
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.numbers import whole
from ncagen.row_format import ROW_GROUP_ROWS

STATE = ("epoch", "position", "seed", "fingerprint")

# Rows that are gathered at a time, so that batches are cut from few large copies; of long rows fewer.
READ_ROWS = 2048

MOST_LANES = 2**16

LAST_EPOCH = 2**32 - 1  # the order's counter of epochs has 32 bits
LAST_POSITION = 2**62  # positions are int64, and a batch beyond one must be too

Batch = dict[str, np.ndarray]


class Stream:
    """Yields the rows of a dataset or a mixture in batches.

    Every `iter()` that yields a batch is the next pass, and pass n + 1 is epoch n + 1. A loaded state applies to the
    next pass alone, and the pass after it is a whole epoch. `len()` is the number of batches of a whole pass for this
    rank; `batches_left` that of the pass in progress.

    The iterator's `state_dict()` resumes after the last batch that it yielded: {epoch, position, seed, fingerprint},
    and the commit of each part from the Hub, to open it again; the fingerprint identifies the order of rows. The
    stream's `state_dict()` is that of the iterator that yielded a batch last. `state_after(n)` resumes after n batches
    of each rank, for readers that fetch batches ahead.
    """

    @redirect(LAYOUT)
    def __init__(
        self,
        data: Part | Mixture,
        batch_size: int = 1,
        *,
        layout: Layout | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int | None = WINDOW,
        lanes: int = LANES,
        epochs: int | None = 1,
        rank: int = 0,
        world: int = 1,
        tail: str = "drop",
        drop_last: bool = False,
    ):
        """batch_size: sequences of a batch of one rank; a sequence is a row, or as many as the layout packs.

        layout: what a batch holds of its rows; without one, all columns as they are stored. seed: 0 to 2**32 - 1.
        window: row groups (of 256 rows, fewer of long ones) that are shuffled together, None for all of a shard. lanes:
        how many parts of the dataset are read side by side; a multiple of `world` has each shard read by one rank. More
        of both hold more memory.
        epochs: how many a pass has, None for no end. rank, world: this process's number, and how many there are.
        tail: what becomes of the last rows of a pass where ranks would get different numbers: they are left out
        ("drop"), filled up with rows from the start of the last epoch ("repeat"), or given as they are ("uneven").
        drop_last: leave out a last batch that is smaller than the others.
        Raises NcagenError, also where a pass has no batch at all.
        """
        check_data(data)
        check_layout(layout)
        if tail not in TAILS:
            raise NcagenError(f"tail {tail!r} is not known: use {', '.join(TAILS)}")
        self.data, self.layout, self.tail, self.drop_last = data, layout, tail, drop_last
        self.batch_size = whole("batch_size", batch_size, 1)
        self.epochs = None if epochs is None else whole("epochs", epochs, 1, LAST_EPOCH)
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self.parts = data.parts if isinstance(data, Mixture) else [data]
        self._formats = Formats(self.parts, layout)
        window, lanes = None if window is None else whole("window", window, 1), whole("lanes", lanes, 1, MOST_LANES)
        self._facts = _facts(self.parts, self.seed, shuffle, window, lanes)
        self.fingerprint = self.fingerprint_at(None)
        self._orders = [Shuffle(part.shards, self.seed, shuffle, window, lanes) for part in self.parts]
        self._remote = FetchAhead(self.parts, self._orders)
        self._read_rows = READ_ROWS * min(part.row_format.group_rows for part in self.parts) // ROW_GROUP_ROWS
        self._passes = Passes(len(data), self.epochs, self._memory())
        self._given: tuple[Division, int] | None = None  # of the iterator that gave a batch last, and how many
        world = whole("world", world, 1)
        self._own_ranks = whole("rank", rank, 0, world - 1), world
        self._check_not_empty()

    def __repr__(self) -> str:
        return f"<ncagen.Stream: {self.described()}>"

    def described(self) -> str:
        """The data and the options that decide its batches, for `repr`."""
        rank, world = self.ranks()
        options: dict[str, object] = {"batch_size": self.batch_size, "layout": self.layout, "seed": self.seed}
        options |= {name: self._facts[name] for name in ("shuffle", "window", "lanes")}
        options |= {"epochs": self.epochs, "rank": rank, "world": world, "tail": self.tail}
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{self.data!r}, {listed}, drop_last={self.drop_last}"

    def __len__(self) -> int:
        """Batches of a whole pass for this rank. Raises TypeError for a stream without an end."""
        return len(self.divide(self._passes.whole()))

    @property
    def batches_left(self) -> int:
        """Batches of the pass in progress that this rank has not given yet; of the next pass where a state was loaded.

        Raises TypeError for a stream without an end.
        """
        division, given = self._given or (self.divide(self._passes.next), 0)
        return len(division) - given

    def __iter__(self) -> "StreamIterator":
        return StreamIterator(self)

    @property
    def next_pass(self) -> Span:
        """The positions of the next pass, counted over all epochs."""
        return self._passes.next

    def begin(self) -> Division:
        """Starts the next pass. Raises NcagenError if a pass has no batch."""
        self._check_not_empty()
        return self.divide(self._passes.begin())

    def batches(self, division: Division, first: int = 0, step: int = 1) -> Iterator[tuple[int, Batch]]:
        """A division's batches with their numbers, from one on; of n workers, each gives every n-th."""
        while division.has(first):
            numbers = self.ahead(division, first, step)
            yield from zip(numbers, self.read(division, numbers, step), strict=True)
            first += len(numbers) * step

    def ahead(self, division: Division, first: int, step: int) -> list[int]:
        """The numbers of the batches that are best read at once: every `step`-th from `first` on, while there are.

        One where a pass begins and rows are fetched, for which it would otherwise wait.
        """
        is_first = self._remote.is_any and first < step
        together = 1 if is_first else max(1, self._read_rows // division.batch_rows)
        end = first + together * step
        return list(range(first, end if division.end is None else min(end, len(division)), step))

    def read(self, division: Division, numbers: Sequence[int], step: int = 1) -> Iterator[Batch]:
        """Some batches of a division, in their order. numbers: every `step`-th; only the last of all may be short.

        Starts to fetch what the batches after them need, as soon as the first of them was given.
        """
        self._remote.hold(1 if isinstance(self.data, Mixture) else division.world)
        part, rows = self._read(division.positions(numbers))
        for start in range(0, len(numbers) * division.batch_rows, division.batch_rows):
            here = slice(start, start + division.batch_rows)
            yield self._formats.lay_out(part[here], {name: column[here] for name, column in rows.items()})
            if not start and (later := self._remote.later(division, numbers, step)):
                self._remote.fetch(*self._give(division.positions(later)))

    def take(self, positions: np.ndarray) -> Batch:
        """The rows at any positions, counted over all epochs, as a batch has them. positions: int64[row]."""
        return self._formats.lay_out(*self._read(positions))

    def state_dict(self) -> dict:
        """The state that resumes after the last batch that an iterator of this stream yielded, or at the next pass."""
        return self.state_in(*(self._given or (None, 0)))

    def state_in(self, division: Division | None, batches: int) -> dict:
        """The state that resumes after this many batches of a division; without one, at the next pass."""
        return self.state_at(self._passes.next.start if division is None else division.after(batches))

    def state_after(self, batches: int) -> dict:
        """The state that resumes after this many batches of each rank, of the pass in progress or else the next."""
        division = self.divide(self._passes.current or self._passes.next)
        return self.state_at(division.after(whole("batches", batches, 0)))

    def state_at(self, position: int) -> dict:
        """The state that resumes at a position counted over all epochs."""
        epoch, within = divmod(position, len(self.data))
        state = dict(zip(STATE, (epoch, within, self.seed, self.fingerprint_at(position)), strict=True))
        revisions = [part.revision for part in self.parts]
        return state | {"revisions": revisions} if any(revisions) else state

    def load_state_dict(self, state: dict) -> None:
        """Makes the rest of a state's pass the next one, for any ranks, workers and batch size. Raises NcagenError."""
        self._passes.resume(self.position_of(state))
        self._given = None

    def position_of(self, state: dict) -> int:
        """The position at which a state resumes, counted over all epochs. Raises NcagenError."""
        try:
            epoch, position, seed, fingerprint = (state[name] for name in STATE)
        except (KeyError, TypeError):
            raise NcagenError(f"the state is not a stream's: it must have {', '.join(STATE)}") from None
        if "worker" in state:
            raise NcagenError(
                f"the state is from worker {state['worker']} alone: load it into the StatefulDataLoader that made it,"
                " or use a state of Loader or state_after"
            )
        epoch = whole("the state's epoch", epoch, 0, self._last_epoch)
        position = whole("the state's position", position, 0, len(self.data) - 1)
        seed = whole("the state's seed", seed, 0, 2**32 - 1)
        if seed != self.seed:
            raise NcagenError(f"the state is of seed {seed}, this stream of seed {self.seed}: use seed={seed}")
        row = epoch * len(self.data) + position
        if fingerprint != (here := self.fingerprint_at(row)):
            later = "; later weights may change by Mixture.then" if isinstance(self.data, Mixture) else ""
            raise NcagenError(
                f"the state is of another order (fingerprint {fingerprint}, here {here}): open the same"
                f" dataset, split, band and weights with the same shuffle and window{later}"
            )
        return row

    def fingerprint_at(self, position: int | None) -> str:
        """Identifies the rows before a position, by sixteen hexadecimal digits.

        position: over all epochs; None for all rows. Only a mixture's fingerprint depends on it: its later weights may
        change.
        """
        mixture = {"mixture": self.data.identity(position)} if isinstance(self.data, Mixture) else {}
        return hashlib.sha256(json.dumps(self._facts | mixture, sort_keys=True).encode()).hexdigest()[:16]

    def set_epoch(self, epoch: int) -> None:
        """Makes the pass that starts with an epoch the next one; a loaded state within that pass is kept.

        Raises NcagenError.
        """
        self._passes.set_epoch(whole("epoch", epoch, 0, self._last_epoch))
        self._given = None

    def note(self, division: Division, given: int) -> None:
        """Remembers that an iterator has given this many batches of a division, for the stream's own state."""
        self._given = division, given

    def divide(self, span: Span, rank: int | None = None) -> Division:
        """A rank's part of a span of positions; this process's rank if left out."""
        own, world = self.ranks()
        pack = self.layout.pack if self.layout else 1
        rows = self.batch_size * pack
        lanes = 1 if isinstance(self.data, Mixture) else self._orders[0].lanes
        number = own if rank is None else rank
        return Division(*span, len(self.data), number, world, rows, pack, self.tail, self.drop_last, lanes)

    def ranks(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        return self._own_ranks

    def _memory(self) -> Memory:
        return Memory()

    def _check_not_empty(self) -> None:
        """Raises NcagenError if a pass has no batch, since a training loop would wait for one or divide by 0."""
        first = self.divide(self._passes.whole(), rank=0)  # no rank gets more
        if self.epochs is not None and not len(first):
            least = first.batch_rows if self.drop_last else first.pack
            ranks = f" for each of {first.world} ranks" if first.world > 1 else ""
            raise NcagenError(
                f"a pass of {first.end} rows holds no batch of {least}{ranks}: use a smaller pack or batch_size, fewer"
                " ranks, or tail='repeat'"
            )

    @property
    def _last_epoch(self) -> int:
        return min(LAST_EPOCH, LAST_POSITION // len(self.data)) - (self.epochs or 1)

    def _read(self, positions: np.ndarray) -> tuple[np.ndarray, Batch]:
        """The part of each row at positions over all epochs, int64[row], and the rows, in their order."""
        part, before = self._give(positions)
        numbers = [self._row_numbers(i, before[part == i]) for i in range(len(self.parts))]
        return part, self._formats.gather(part, numbers)

    def _give(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part at each position, and how many rows it gave before: int64[n], int64[n]."""
        if not isinstance(self.data, Mixture):
            return np.zeros(len(positions), np.int64), positions
        part, before = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        epochs = positions // len(self.data)
        for epoch in distinct(epochs):
            here = epochs == epoch
            part[here], before[here] = self.data.at(self.seed, int(epoch), positions[here] - epoch * len(self.data))
        return part, before

    def _row_numbers(self, part: int, before: np.ndarray) -> np.ndarray:
        """The row numbers of a part, by how many rows of it came before."""
        rows = [self._orders[part].rows(*some) for some in by_epoch(before, self._orders[part].length)]
        return np.concatenate(rows) if rows else before


class StreamIterator(Iterator[Batch]):
    """One pass over a stream, which starts with its first batch and has a separate state."""

    def __init__(self, stream: Stream):
        self._stream = stream
        self._division: Division | None = None
        self._batches: Iterator[tuple[int, Batch]] = iter(())
        self._given = 0

    def __next__(self) -> Batch:
        if self._division is None:
            self._division = self._stream.begin()
            self._batches = self._stream.batches(self._division)
        for number, batch in islice(self._batches, 1):
            self._given = number + 1
            self._stream.note(self._division, self._given)
            return batch
        raise StopIteration

    def state_dict(self) -> dict:
        """The state that resumes after the last batch that this iterator yielded."""
        return self._stream.state_in(self._division, self._given)


def _facts(parts: list[Part], seed: int, shuffle: bool, window: int | None, lanes: int) -> dict:
    """The facts that decide the order of each part."""
    facts: dict = {"order": ORDER_VERSION, "seed": seed, "shuffle": shuffle}
    facts |= {"window": window, "lanes": lanes} if shuffle else {"window": None, "lanes": None}
    facts["parts"] = [_identity(part) for part in parts]
    return facts


def _identity(part: Part) -> Sequence[str | None]:
    """The identity of a part's rows."""
    if isinstance(part, Tokens):
        return part.identity
    return part.manifest.dataset_sha256, part.split, part.band, part.selection
