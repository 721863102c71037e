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

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from ncagen.hints import needed_by

with needed_by(__name__):
    import torch
    from torch.utils.data import Dataset, IterableDataset

from ncagen.adapters.examples import Examples
from ncagen.adapters.loader import Loader
from ncagen.adapters.sharing import refuse_accelerate, worker
from ncagen.adapters.torch_stream import Ranks, Tensors, TorchStream, tensors
from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.options import LAYOUT, redirect
from ncagen.dataset.shuffle import LANES, WINDOW
from ncagen.dataset.stream import Batch
from ncagen.errors import NcagenError
from ncagen.factory.generate import as_spec, row_format_of, share
from ncagen.numbers import whole
from ncagen.spec import BuildSpec

__all__ = ["Batches", "Generated", "Loader", "Rows"]

USE_LOADER = "use ncagen.adapters.torch.Loader, which prepare() leaves as it is"
UNPREPARED = "leave its DataLoader out of prepare(), or have accelerate alone divide it with rank=0 and world=1"


class Batches(IterableDataset):
    """A `Stream` as batches of int64 tensors [sequence, position]. Give its DataLoader batch_size=None.

    Every pass of that DataLoader is the next epoch; workers share one pass. `state_after(n)` resumes after the n-th
    batch that it yielded, with any number of workers and ranks and any batch size. torchdata's StatefulDataLoader
    keeps a state for each worker instead, and so resumes with as many workers as it had.
    """

    @redirect(LAYOUT)
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
    ):
        """layout: `Layout()` if left out. rank, world: those of the process when a pass starts, if left out.

        batch_size and the options not listed: as in `Stream`. Raises NcagenError.
        """
        self.stream = TorchStream(
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

    def __repr__(self) -> str:
        return f"<{__name__}.Batches: {self.stream.described()}>"

    def __len__(self) -> int:
        """Batches of a whole pass for this rank. Raises TypeError without an end."""
        return len(self.stream)

    def __iter__(self) -> "BatchesIterator":
        return BatchesIterator(self.stream)

    def set_epoch(self, epoch: int) -> None:
        """Makes an epoch the next pass, in workers too; a loaded state within it is kept. Raises NcagenError."""
        refuse_accelerate("Batches", USE_LOADER)
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

    def __init__(self, stream: TorchStream):
        self._stream = stream
        self._worker, self._workers = worker()
        self._division: Division | None = None
        self._batches: Iterator[tuple[int, Batch]] | None = None
        self._next = self._worker

    def __next__(self) -> Tensors:
        if self._batches is None:
            refuse_accelerate("Batches", USE_LOADER)
            self._division = self._stream.begin() if self._division is None else self._division
            self._batches = self._stream.batches(self._division, self._next, self._workers)
        assert self._division is not None
        number, batch = next(self._batches)
        self._next = number + self._workers
        self._stream.note(self._division, number + 1)
        return tensors(batch)

    def state_dict(self) -> dict:
        """What resumes this part of the pass."""
        if self._workers == 1:
            return self._stream.state_in(self._division, self._next)
        return self._stream.state_in(self._division, 0) | self._part() | {"batch": self._next}

    def load_state_dict(self, state: dict) -> None:
        """Resumes from a state of `state_dict`. Raises NcagenError."""
        self._batches = self._division = None
        self._next = self._worker
        if "batch" not in state:
            self._stream.load_state_dict(state)
            return
        part = self._part()
        if any(state[name] != value for name, value in part.items()):
            saved = ", ".join(f"{name} {state[name]}" for name in part)
            here = ", ".join(f"{name} {value}" for name, value in part.items())
            raise NcagenError(
                f"the state is of {saved}; this is {here}: use the same, or a state of Loader or state_after, which"
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
    """Examples by number as int64 tensors [position]; see `Examples`. `set_epoch` reaches persistent workers too."""

    @redirect(LAYOUT)
    def __init__(
        self,
        data: Part | Mixture,
        layout: Layout | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epochs: int = 1,
    ):
        """layout: `Layout()` if left out. shuffle, seed, epochs: those of `Examples`. Raises NcagenError."""
        self._examples = Examples(data, layout, shuffle=shuffle, seed=seed, epochs=epochs)
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._examples)

    def __repr__(self) -> str:
        return f"<{__name__}.Rows: {self._examples.described()}>"

    def __getitem__(self, number: int) -> Tensors:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Tensors]:
        """Several at once."""
        if self._examples.epoch != int(self._epoch):
            self._examples.set_epoch(int(self._epoch))
        return [tensors(example) for example in self._examples.__getitems__(numbers)]

    def set_epoch(self, epoch: int) -> None:
        """Example i is the one at position i of this epoch's order from now on. Raises NcagenError."""
        self._examples.set_epoch(epoch)
        self._epoch[0] = self._examples.epoch

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # no change where it is shared, as in a worker


class Generated(IterableDataset):
    """Examples as int64 tensors [position] that are made on demand; nothing is read or written.

    Ranks get equally many rows, and workers share those of their rank: the rows are those of a build, whatever their
    number, but for fewer than `world` at the end, and their order depends on it. Every pass gives the same rows. Needs
    the extra `build`.
    """

    @redirect(LAYOUT)
    def __init__(
        self,
        spec: BuildSpec | Mapping,
        layout: Layout | None = None,
        *,
        split: str = "train",
        band: str | None = None,
        rank: int | None = None,
        world: int | None = None,
        start_shard: int = 0,
        endless: bool = False,
    ):
        """layout: `Layout()` if left out. rank, world: those of the process when a pass starts, if left out.

        spec and the options not listed: as in `ncagen.generate`. Raises NcagenError.
        """
        spec = as_spec(spec, endless)
        self._row_format = row_format_of(spec)
        self._share = partial(share, spec, split=split, band=band, start_shard=start_shard, endless=endless)
        self._layout = layout or Layout()
        self._layout.check(self._row_format)
        if self._layout.pack > 1:
            raise NcagenError(f"pack {self._layout.pack} is not for single rows: leave it out, or use Loader")
        self._ranks = Ranks(rank, world)
        self._share()  # refuses what cannot be

    def __repr__(self) -> str:
        spec, options = self._share.args[0], ", ".join(f"{k}={v!r}" for k, v in self._share.keywords.items())
        return f"<{__name__}.Generated: rows of spec {spec.sha256[:16]}, layout={self._layout!r}, {options}>"

    def set_epoch(self, epoch: int) -> None:
        """No change: every epoch has the same rows. Raises NcagenError where Accelerate divides them once more."""
        self._divided()

    def __iter__(self) -> Iterator[Tensors]:
        for row in self._share(*self._divided(), *worker()):
            laid_out = self._layout(self._row_format, row["input_ids"][None])
            yield tensors({name: column[0] for name, column in laid_out.items()})

    def _divided(self) -> tuple[int, int]:
        """The rank, and how many there are. Raises NcagenError where Accelerate divides their rows once more."""
        rank, world = self._ranks()
        if world > 1:
            refuse_accelerate("Generated", UNPREPARED)
        return rank, world
