"""A DataLoader in the order of a `Stream`, with a state that any number of workers and ranks can resume. PyTorch only.

The main process sends batch numbers to the workers, which hold no state: so persistent workers, a resume and
`set_epoch` need no synchronization, and the batches that were yielded are exactly those counted.
"""

from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ncagen.adapters.sharing import worker
from ncagen.adapters.torch_stream import Tensors, TorchStream, tensors
from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.options import LAYOUT, redirect
from ncagen.dataset.shuffle import LANES, WINDOW
from ncagen.dataset.stream import Batch, Stream
from ncagen.errors import NcagenError
from ncagen.numbers import whole

# Options of DataLoader that are this module's to set, with what to do instead.
OWN = dict.fromkeys(("batch_sampler", "sampler", "dataset"), "leave it out, or use Rows with a DataLoader of yours") | {
    "in_order": "leave it out, since no state can resume batches in another order"
}


class Loader:
    """Yields batches of int64 tensors [sequence, position] in the order of a `Stream`, read by a DataLoader.

    Every pass is the next epoch. `state_dict()` resumes after the last batch yielded, with any number of workers and
    ranks and any batch size; `with_states()` pairs each batch with its state. It is not a DataLoader, so that no
    framework divides it among ranks again.
    """

    @redirect(LAYOUT | OWN)
    def __init__(
        self,
        data: Part | Mixture,
        batch_size: int,
        *,
        layout: Layout | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int | None = WINDOW,
        lanes: int = LANES,
        epochs: int | None = 1,
        rank: int | None = None,
        world: int | None = None,
        tail: str = "drop",
        drop_last: bool = False,
        num_workers: int = 0,
        collate_fn: Callable[[Tensors], Any] | None = None,
        pin_memory: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: str | BaseContext | None = None,
        generator: torch.Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ):
        """batch_size: sequences of a batch of one rank; a sequence is a row, or as many as the layout packs.

        layout: what a batch holds of its rows; `Layout()` if left out. rank, world: those of the process when a pass
        begins, if left out. seed, shuffle, window, lanes, epochs, tail, drop_last: those of `Stream`.

        The others are those of torch's DataLoader. num_workers: processes that read; with 0 this one reads.
        collate_fn: called with each batch where it was read, and gives what is yielded. pin_memory: copy batches into
        pinned host memory, for copies to a GPU. timeout: seconds to wait for a worker, 0 for no limit. worker_init_fn:
        called in each worker with its number. multiprocessing_context: how workers start, "fork", "forkserver" or
        "spawn". generator: draws the workers' seeds; batches do not depend on it. prefetch_factor: batches that each
        worker reads ahead, 2 if left out. persistent_workers: keep workers from pass to pass.

        Raises NcagenError; ValueError, from torch, for options of workers without num_workers.
        """
        self._stream = TorchStream(
            data,
            batch_size,
            layout=layout or Layout(),
            seed=seed,
            shuffle=shuffle,
            window=window,
            lanes=lanes,
            epochs=epochs,
            rank=rank,
            world=world,
            tail=tail,
            drop_last=drop_last,
        )
        self._options: dict[str, Any] = {
            "num_workers": whole("num_workers", num_workers, 0),
            "collate_fn": collate_fn,
            "pin_memory": pin_memory,
            "timeout": timeout,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "generator": generator,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
        }
        self._connect()

    def __repr__(self) -> str:
        changed = {name: value for name, value in self._options.items() if value or name == "num_workers"}
        options = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        return f"<ncagen.adapters.torch.Loader: {self._stream.described()}, {options}>"

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

    def __getattr__(self, name: str):
        """Raises AttributeError, for frameworks that would read the dataset in an order of their own."""
        raise AttributeError(
            f"a Loader has no {name}, since it only yields batches: leave it out of what rebuilds loaders, such as"
            " Ray's prepare_data_loader; to resume under transformers' Trainer, use ignore_data_skip=True and load the"
            " loader's own state"
        )

    def with_states(self) -> Iterator[tuple[Tensors, dict]]:
        """A pass as pairs: a batch, and the state that resumes after it."""
        iterator = iter(self)
        for batch in iterator:
            yield batch, iterator.state_dict()

    def set_epoch(self, epoch: int) -> None:
        """Makes an epoch the next pass; a loaded state within it is kept. Raises NcagenError."""
        self._stream.set_epoch(epoch)

    def state_dict(self) -> dict:
        """The state that resumes after the last batch yielded: {epoch, position, seed, fingerprint}."""
        return self._stream.state_dict()

    def state_after(self, batches: int) -> dict:
        """The state that resumes after this many batches of each rank, of the pass in progress or else the next."""
        return self._stream.state_after(batches)

    def load_state_dict(self, state: dict) -> None:
        """Makes the rest of a state's pass the next one, for any number of workers or ranks. Raises NcagenError."""
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
            raise NcagenError(
                "this pass ended when another started: with persistent_workers a loader runs one at a time"
            )


class LoaderIterator(Iterator[Tensors]):
    """One pass over a loader, which starts with its first batch and has a separate state."""

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
        """The state that resumes after the last batch that this iterator yielded."""
        return self._loader._stream.state_in(self._division, self._given)


class _Requests(Sampler):
    """The numbers of a pass's batches, for a DataLoader to send to its workers with what they need to read them."""

    division: Division

    def __iter__(self) -> Iterator[tuple[Division, int]]:
        division, number = self.division, 0
        while division.has(number):
            yield division, number
            number += 1


class _Answers(Dataset):
    """Reads batches by division and number. Worker i of n gets every n-th, and reads rows for several at once."""

    def __init__(self, stream: Stream):
        self._stream = stream
        self._upcoming: deque[tuple[Division, int]] = deque()
        self._batches: Iterator[Batch] = iter(())

    def __getitem__(self, request: tuple[Division, int]) -> Tensors:
        if not self._upcoming or self._upcoming[0] != request:
            division, number = request
            workers = worker()[1]
            numbers = self._stream.ahead(division, number, workers)
            self._upcoming = deque((division, number) for number in numbers)
            self._batches = self._stream.read(division, numbers, workers)
        self._upcoming.popleft()
        return tensors(next(self._batches))

    def __reduce__(self):
        return _Answers, (self._stream,)
