"""Datasets for PyTorch: a loader whose state is exact, a stream of batches, rows by number, and rows without files.

    Loader(data, batch_size, num_workers=4)     batches in the stream's order, and a state that any other number of
                                                workers and ranks can resume
    Batches(data, batch_size)                   an IterableDataset, for a DataLoader(..., batch_size=None) of your own
    Rows(data)                                  a map-style Dataset, for samplers and for transformers' Trainer
    Generated(spec)                             an IterableDataset of rows that no file holds

Every pass over a `Loader` or over `Batches` is the next epoch, whatever the workers, their start method and whether
they are kept. Rank and world size are those of torch.distributed when a pass begins, or else those of the launcher's
RANK and WORLD_SIZE. Models, collation and moving to a device are not here.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from ncagen.adapters.examples import Examples
from ncagen.adapters.sharing import SharedMemory, ranks, refuse_accelerate, worker
from ncagen.dataset.division import Division
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.order import WINDOW
from ncagen.dataset.reader import Dataset as Tokens
from ncagen.dataset.stream import Batch, Stream
from ncagen.errors import NcagenError
from ncagen.factory.generate import as_spec, share
from ncagen.numbers import whole
from ncagen.spec import Spec

Tensors = dict[str, torch.Tensor]

NO_DATASET = (
    "a Loader gives its batches alone: to resume under transformers' Trainer, use ignore_data_skip=True and load the"
    " loader's own state"
)
OWN = ("batch_sampler", "sampler", "dataset")  # options of DataLoader that are this module's to set


class Loader:
    """Batches of int64 tensors [sequence, place] in the order of a `Stream`, through a DataLoader of its own.

    Every pass is the next epoch. `state_dict()` is what resumes after the last batch given, with any number of workers
    and ranks and any batch size; `with_states()` pairs each batch with its own. It is no DataLoader itself, so that no
    framework divides it among ranks again.
    """

    def __init__(
        self,
        data: Tokens | Mixture,
        batch_size: int,
        *,
        layout: Layout | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int | None = WINDOW,
        epochs: int | None = 1,
        rank: int | None = None,
        world: int | None = None,
        tail: str = "drop",
        drop_last: bool = False,
        num_workers: int = 0,
        **options: Any,
    ):
        """layout: `Layout()` if left out. rank, world: those of the process when a pass begins, if left out. seed to
        drop_last: those of `Stream`. num_workers, options: those of torch's DataLoader (pin_memory,
        persistent_workers, multiprocessing_context, ...).

        Raises NcagenError.
        """
        for name in OWN:
            if name in options:
                raise NcagenError(f"{name} is the loader's own: leave it out, or use Rows with a DataLoader of yours")
        if not options.get("in_order", True):
            raise NcagenError("in_order=False gives batches in an order that no state can resume: leave it out")
        self._stream = _TorchStream(
            data,
            batch_size,
            layout=layout or Layout(),
            seed=seed,
            shuffle=shuffle,
            window=window,
            epochs=epochs,
            rank=rank,
            world=world,
            tail=tail,
            drop_last=drop_last,
        )
        self._options = {"num_workers": whole("num_workers", num_workers, 0), **options}
        self._connect()

    def __len__(self) -> int:
        """Batches of a whole pass for this rank. Raises TypeError for a loader without an end."""
        return len(self._stream)

    @property
    def batches_left(self) -> int:
        """Batches of the pass in progress that were not given yet; of the next one where a state was loaded."""
        return self._stream.batches_left

    def __iter__(self) -> "LoaderIterator":
        return LoaderIterator(self)

    @property
    def sampler(self) -> "Loader":
        """Itself, since Lightning calls `loader.sampler.set_epoch` before each pass, and nothing else of it."""
        return self

    @property
    def dataset(self):
        """None: raises AttributeError, for frameworks that would read the dataset in an order of their own."""
        raise AttributeError(NO_DATASET)

    def with_states(self) -> Iterator[tuple[Tensors, dict]]:
        """A pass as pairs: a batch, and the state that resumes after it."""
        iterator = iter(self)
        for batch in iterator:
            yield batch, iterator.state_dict()

    def set_epoch(self, epoch: int) -> None:
        """Makes an epoch the next pass; a loaded state within it is kept. Raises NcagenError."""
        self._stream.set_epoch(epoch)

    def state_dict(self) -> dict:
        """What resumes after the last batch given: {epoch, position, seed, fingerprint}."""
        return self._stream.state_dict()

    def state_after(self, batches: int) -> dict:
        """What resumes after every rank has taken this many batches of the pass in progress, or else of the next."""
        return self._stream.state_after(batches)

    def load_state_dict(self, state: dict) -> None:
        """Makes what a state leaves of its pass the next one, from any number of workers or ranks.

        Raises NcagenError.
        """
        self._stream.load_state_dict(state)

    def _connect(self) -> None:
        self._requests = _Requests()
        self._loader: DataLoader = DataLoader(
            _Answers(self._stream), batch_size=None, sampler=self._requests, **self._options
        )
        self._begun = 0

    def __getstate__(self) -> dict:
        return {"_stream": self._stream, "_options": self._options}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._connect()

    def _begin(self) -> tuple[int, Division, Iterator[Tensors]]:
        """Begins the next pass: a number for it, its division, and its batches."""
        division = self._requests.division = self._stream.begin()
        self._begun += 1
        return self._begun, division, iter(self._loader)

    def _check_latest(self, number: int) -> None:
        """Raises NcagenError where the workers belong to another pass by now."""
        if self._loader.persistent_workers and self._begun != number:
            raise NcagenError("this pass ended when another began: with persistent_workers a loader has one at a time")


class LoaderIterator(Iterator[Tensors]):
    """One pass over a loader; it begins with its first batch, and its state is its own."""

    def __init__(self, loader: Loader):
        self._loader = loader
        self._division: Division | None = None
        self._batches: Iterator[Tensors] = iter(())
        self._number = self._given = 0

    def __next__(self) -> Tensors:
        if self._division is None:
            self._number, self._division, self._batches = self._loader._begin()
        self._loader._check_latest(self._number)
        batch = next(self._batches)
        self._given += 1
        self._loader._stream.note(self._division, self._given)
        return batch

    def state_dict(self) -> dict:
        """What resumes after the last batch that this iterator gave."""
        stream = self._loader._stream
        return stream.state_at(self._division.after(self._given)) if self._division else stream.state_of_next()


class Batches(IterableDataset):
    """A `Stream` as batches of int64 tensors [sequence, place]. Give its DataLoader batch_size=None.

    Every pass of that DataLoader is the next epoch; workers share one pass. `state_after(n)` resumes after the n-th
    batch that came out of it, with any number of workers and ranks and any batch size. torchdata's StatefulDataLoader
    keeps a state for each worker instead, and so resumes with as many workers as it had.
    """

    def __init__(
        self,
        data: Tokens | Mixture,
        batch_size: int,
        *,
        layout: Layout | None = None,
        rank: int | None = None,
        world: int | None = None,
        **options: Any,
    ):
        """layout: `Layout()` if left out. rank, world: those of the process when a pass begins, if left out.

        options: the others of `Stream`. Raises NcagenError.
        """
        self.stream = _TorchStream(data, batch_size, layout=layout or Layout(), rank=rank, world=world, **options)

    def __len__(self) -> int:
        """Batches of a whole pass for this rank. Raises TypeError without an end."""
        return len(self.stream)

    def __iter__(self) -> "BatchesIterator":
        return BatchesIterator(self.stream)

    def set_epoch(self, epoch: int) -> None:
        """Makes an epoch the next pass, in workers too; a loaded state within it is kept. Raises NcagenError."""
        refuse_accelerate("Batches")
        self.stream.set_epoch(epoch)

    def state_after(self, batches: int) -> dict:
        """What resumes after every rank has taken this many batches of the pass in progress, or else of the next."""
        return self.stream.state_after(batches)

    def load_state_dict(self, state: dict) -> None:
        """Makes what a state of `state_after`, `Stream` or `Loader` leaves of its pass the next one.

        Raises NcagenError.
        """
        self.stream.load_state_dict(state)


class BatchesIterator(Iterator[Tensors]):
    """One worker's part of a pass: batch `worker`, `worker + workers`, ... Its state is for the same worker."""

    def __init__(self, stream: "_TorchStream"):
        self._stream = stream
        self._worker, self._workers = worker()
        self._division: Division | None = None
        self._batches: Iterator[tuple[int, Batch]] | None = None
        self._next = self._worker

    def __next__(self) -> Tensors:
        if self._batches is None:
            refuse_accelerate("Batches")
            self._division = self._division or self._stream.begin()
            self._batches = self._stream.batches(self._division, self._next, self._workers)
        assert self._division is not None
        number, batch = next(self._batches)
        self._next = number + self._workers
        self._stream.note(self._division, number + 1)
        return _tensors(batch)

    def state_dict(self) -> dict:
        """What resumes this part of the pass."""
        if self._workers == 1 and self._division is not None:
            return self._stream.state_at(self._division.after(self._next))
        start = self._stream.next_pass.start if self._division is None else self._division.start
        part = self._part() | {"batch": self._next} if self._workers > 1 else {}
        return self._stream.state_at(start) | part

    def load_state_dict(self, state: dict) -> None:
        """Takes up a state of `state_dict`. Raises NcagenError."""
        self._batches = self._division = None
        self._next = self._worker
        if "batch" not in state:
            self._stream.load_state_dict(state)
            return
        part = self._part()
        if any(state[name] != value for name, value in part.items()):
            asked = ", ".join(f"{name} {state[name]}" for name in part)
            here = ", ".join(f"{name} {value}" for name, value in part.items())
            raise NcagenError(
                f"the state is of {asked}; this is {here}: use the same, or a state of Loader or state_after, which"
                " fits any number"
            )
        self._division = self._stream.begin_at({name: value for name, value in state.items() if name not in part})
        self._next = whole("the state's batch", state["batch"], 0)

    def _part(self) -> dict[str, int]:
        """What the numbers of batches depend on."""
        stream = self._stream
        return {
            "worker": self._worker,
            "workers": self._workers,
            "world": stream.ranks()[1],
            "batch_size": stream.batch_size,
        }


class Rows(Dataset):
    """Examples by number as int64 tensors [place]; see `Examples`. `set_epoch` reaches workers that are kept, too."""

    def __init__(self, data: Tokens | Mixture, layout: Layout | None = None, **options: Any):
        """options: those of `Examples`. Raises NcagenError."""
        self._examples = Examples(data, layout, **options)
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> Tensors:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Tensors]:
        """Several at once."""
        self._examples.set_epoch(int(self._epoch))
        return [_tensors(example) for example in self._examples.__getitems__(numbers)]

    def set_epoch(self, epoch: int) -> None:
        """Example i is the one at position i of this epoch's order from now on. Raises NcagenError."""
        self._examples.set_epoch(epoch)
        self._epoch[0] = int(epoch)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if not self._epoch.is_shared():
            self._epoch.share_memory_()


class Generated(IterableDataset):
    """Examples as int64 tensors [place] that are made where they are asked for; nothing is read or written.

    Ranks get equally many rows, and workers share those of their rank: the rows are those of a build, whatever their
    number, but for fewer than `world` at the end, and their order depends on it. Every pass gives the same rows. Needs
    ncagen[build].
    """

    def __init__(
        self,
        spec: Spec | Mapping,
        layout: Layout | None = None,
        *,
        split: str = "train",
        band: str | None = None,
        rank: int | None = None,
        world: int | None = None,
        start_shard: int = 0,
        endless: bool = False,
    ):
        """layout: `Layout()` if left out. rank, world: those of the process when a pass begins, if left out.

        spec and the others: those of `ncagen.generate`. Raises NcagenError.
        """
        self._spec = as_spec(spec, endless)
        self._share = partial(share, self._spec, split=split, band=band, start_shard=start_shard, endless=endless)
        self._layout = layout or Layout()
        self._layout.check(self._spec)
        if self._layout.pack > 1:
            raise NcagenError(f"pack {self._layout.pack} is not for single rows: leave it out, or use Loader")
        self._ranks = _Ranks(rank, world)
        self._share()  # refuses what cannot be

    def set_epoch(self, epoch: int) -> None:
        """No change: every epoch has the same rows. Raises NcagenError where Accelerate divides them once more."""
        if self._ranks()[1] > 1:
            refuse_accelerate("Generated")

    def __iter__(self) -> Iterator[Tensors]:
        rank, world = self._ranks()
        if world > 1:
            refuse_accelerate("Generated")
        number, workers = worker()
        for row in self._share(rank, world, number, workers):
            laid_out = self._layout(self._spec, row["input_ids"][None])
            yield _tensors({name: column[0] for name, column in laid_out.items()})


class _Ranks:
    """This process's rank and the number of ranks when they are asked for: given, or found.

    A worker that is not forked does not know them, so they travel with what is sent to it; they count there alone.
    """

    def __init__(self, rank: int | None, world: int | None):
        """Both or none. Raises NcagenError."""
        self._given: tuple[int, int] | None = None
        if rank is not None or world is not None:
            if rank is None or world is None:
                raise NcagenError(f"rank {rank!r} and world {world!r}: give both, or none to have torch's")
            world = whole("world", world, 1)
            self._given = whole("rank", rank, 0, world - 1), world
        self._sent: tuple[int, int] | None = None

    def __call__(self) -> tuple[int, int]:
        if self._given:
            return self._given
        return self._sent if self._sent and get_worker_info() else ranks()

    def __getstate__(self) -> dict:
        return {"_given": self._given, "_sent": self()}


class _TorchStream(Stream):
    """A stream whose rank is asked for when a pass begins, and whose workers agree on the pass."""

    def _memory(self) -> SharedMemory:
        return SharedMemory()

    def __init__(self, *arguments: Any, rank: int | None, world: int | None, **options: Any):
        """rank, world: None for those of the process when they are asked for."""
        self._late_ranks = _Ranks(rank, world)
        super().__init__(*arguments, **options)

    def ranks(self) -> tuple[int, int]:
        """This process's rank now, and how many there are."""
        return self._late_ranks()

    def begin_at(self, state: dict) -> Division:
        """Begins with what a state leaves of its pass, in each worker alike. Raises NcagenError."""
        return self.divide(self._passes.begin_at(self.position_of(state)))


class _Requests(Sampler):
    """The numbers of a pass's batches, for a DataLoader to send to its workers with what they need to read them."""

    division: Division

    def __iter__(self) -> Iterator[tuple[Division, int]]:
        division, number = self.division, 0
        while division.has(number):
            yield division, number
            number += 1


class _Answers(Dataset):
    """Batches by division and number. A worker is asked for every n-th in turn, and reads rows for several at once."""

    def __init__(self, stream: Stream):
        self._stream = stream
        self._upcoming: deque[tuple[Division, int]] = deque()
        self._batches: Iterator[Batch] = iter(())

    def __getitem__(self, request: tuple[Division, int]) -> Tensors:
        if not self._upcoming or self._upcoming[0] != request:
            division, number = request
            numbers = self._stream.ahead(division, number, worker()[1])
            self._upcoming = deque((division, number) for number in numbers)
            self._batches = self._stream.read(division, numbers)
        self._upcoming.popleft()
        return _tensors(next(self._batches))

    def __reduce__(self):
        return _Answers, (self._stream,)


def _tensors(arrays: Mapping) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
