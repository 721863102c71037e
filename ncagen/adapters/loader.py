"""A DataLoader in the order of a `Stream`, with a state that any number of workers and ranks can resume. PyTorch only.

The main process sends the numbers of batches to the workers, which keep no state of their own: so a worker that lives
on, a resume and `set_epoch` need no agreement, and what came out is what was counted.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from ncagen.adapters.sharing import worker
from ncagen.adapters.torch_stream import Tensors, TorchStream, tensors
from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.shuffle import WINDOW
from ncagen.dataset.stream import Batch, Stream
from ncagen.errors import NcagenError
from ncagen.numbers import whole

OWN = ("batch_sampler", "sampler", "dataset")  # options of DataLoader that are this module's to set


class Loader:
    """Batches of int64 tensors [sequence, place] in the order of a `Stream`, through a DataLoader of its own.

    Every pass is the next epoch. `state_dict()` is what resumes after the last batch given, with any number of workers
    and ranks and any batch size; `with_states()` pairs each batch with its own. It is no DataLoader itself, so that no
    framework divides it among ranks again.
    """

    def __init__(
        self,
        data: Part | Mixture,
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
        self._stream = TorchStream(
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

    def __getattr__(self, name: str):
        """Raises AttributeError, for frameworks that would read the dataset in an order of their own."""
        raise AttributeError(
            f"a Loader has no {name}, since it gives its batches alone: leave it out of what rebuilds loaders, such as"
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
        return tensors(next(self._batches))

    def __reduce__(self):
        return _Answers, (self._stream,)
