"""Datasets for PyTorch: a stream of batches, rows by number, and a loader whose state is exact.

    Loader(data, batch_size, num_workers=4)     batches in the stream's order, and a state that any other number of
                                                workers and ranks can take up
    Batches(data, batch_size)                   an IterableDataset, for a DataLoader(..., batch_size=None) of your own
    Rows(data)                                  a map-style Dataset, for samplers and for transformers' Trainer
    Generated(spec)                             an IterableDataset of rows that no file holds

Workers take every n-th batch, so a DataLoader puts out the same batches in the same order for any number of them,
forked or spawned. Under torch.distributed the rank and the world size are taken from it. Models, collation and moving
to a device are not here.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from ncagen.adapters.examples import Examples
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.reader import Dataset as Tokens
from ncagen.dataset.stream import Stream
from ncagen.errors import NcagenError
from ncagen.factory.generate import as_spec, generate
from ncagen.spec import Spec

Tensors = dict[str, torch.Tensor]

_STREAM_OPTIONS = set(inspect.getfullargspec(Stream.__init__).kwonlyargs)


class Batches(IterableDataset):
    """A `Stream` as batches of int64 tensors [sequence, place]. Give its DataLoader batch_size=None.

    `state_after(n)` resumes after the n-th batch that came out of a DataLoader, with any number of workers, ranks and
    any batch size. `state_dict` is for torchdata's StatefulDataLoader, which keeps one for each worker and so resumes
    with as many workers as it had; for another number, use `Loader` or `state_after`.
    """

    def __init__(self, data: Tokens | Mixture, batch_size: int, *, layout: Layout | None = None, **options):
        """layout: `Layout()` if left out. options: those of `Stream`. Raises NcagenError."""
        rank, world = _rank()
        options = {"rank": rank, "world": world, **options}
        self.stream = Stream(data, batch_size, layout=layout or Layout(), **options)
        self._first: int | None = None  # batch to start with, where a worker's state says so
        self._next: int | None = None  # batch that comes next, in this process

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[Tensors]:
        worker, workers = _worker()
        self._next, self._first = worker if self._first is None else self._first, None
        for number, batch in self.stream.batches(self._next, workers):
            self._next = number + workers
            yield _tensors(batch)

    def set_epoch(self, epoch: int) -> None:
        """As `Stream.set_epoch`; workers that are kept between epochs do not hear of it, so use `epochs=` there."""
        self.stream.set_epoch(epoch)

    def state_after(self, batches: int) -> dict:
        """What resumes after this many batches of every rank."""
        return self.stream.state_after(batches)

    def state_dict(self) -> dict:
        """What resumes this process's part: a stream's state and, of a worker, its place among the workers."""
        worker, workers = _worker()
        number = next(n for n in (self._next, self._first, worker) if n is not None)
        if workers == 1:
            return self.stream.state_after(number)
        return self.stream.state_after(0) | {"worker": worker, "workers": workers, "batch": number}

    def load_state_dict(self, state: dict) -> None:
        """Takes up a state of `state_after`, `Loader` or `state_dict`. Raises NcagenError."""
        worker, workers = _worker()
        if "worker" in state and (state["worker"], state["workers"]) != (worker, workers):
            raise NcagenError(
                f"the state is of worker {state['worker']} of {state['workers']}, this is worker {worker} of {workers}:"
                " use as many workers, or resume with Loader or state_after, which any number can take up"
            )
        self.stream.load_state_dict(state)
        self._first, self._next = state.get("batch"), None


class Loader:
    """A DataLoader over `Batches` that knows which batches came out of it."""

    def __init__(self, data: Tokens | Mixture, batch_size: int, *, layout: Layout | None = None, **options):
        """options: those of `Stream`, and those of torch's DataLoader (num_workers, pin_memory, ...)."""
        mine = {name: options.pop(name) for name in _STREAM_OPTIONS & options.keys()}
        self.dataset = Batches(data, batch_size, layout=layout, **mine)
        self._loader: DataLoader = DataLoader(self.dataset, batch_size=None, **options)
        self._given = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Tensors]:
        self._given = 0
        for batch in self._loader:
            self._given += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch, if the loader is not in it."""
        self.dataset.set_epoch(epoch)

    def state_dict(self) -> dict:
        """What resumes after the last batch given: {epoch, position, seed, fingerprint}."""
        return self.dataset.state_after(self._given)

    def load_state_dict(self, state: dict) -> None:
        """Takes the loader up at a state, from any number of workers or ranks. Raises NcagenError."""
        self.dataset.load_state_dict(state)
        self._given = 0


class Rows(Dataset):
    """Examples by number as int64 tensors [place]; see `Examples`."""

    def __init__(self, data: Tokens | Mixture, layout: Layout | None = None, **options):
        """options: those of `Examples`."""
        self._examples = Examples(data, layout, **options)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> Tensors:
        return _tensors(self._examples[number])

    def __getitems__(self, numbers: Sequence[int]) -> list[Tensors]:
        """Several at once."""
        return [_tensors(example) for example in self._examples.__getitems__(numbers)]


class Generated(IterableDataset):
    """Examples as int64 tensors [place] that are made where they are asked for; nothing is read or written.

    Every worker of every rank makes shards of its own: the rows are those of a build, whatever their number, and their
    order is not. Needs ncagen[build].
    """

    def __init__(self, spec: Spec | Mapping, layout: Layout | None = None, **options):
        """spec and options: those of `ncagen.generate`; layout: `Layout()` if left out. Raises NcagenError."""
        self._spec, self._options = as_spec(spec, options.get("endless", False)), options
        self._layout = layout or Layout()
        self._layout.check(self._spec)

    def __iter__(self) -> Iterator[Tensors]:
        worker, workers = _worker()
        rank, world = _rank()
        rows = generate(self._spec, rank=rank * workers + worker, world=world * workers, **self._options)
        for row in rows:
            laid_out = self._layout(self._spec, row["input_ids"][None])
            yield _tensors({name: column[0] for name, column in laid_out.items()})


def _rank() -> tuple[int, int]:
    """This process's number under torch.distributed, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _worker() -> tuple[int, int]:
    """This process's number among a DataLoader's workers, and how many there are."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)


def _tensors(arrays: dict) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
