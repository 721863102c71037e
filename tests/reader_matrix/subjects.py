"""Readers under torch's DataLoader and torchdata's StatefulDataLoader, behind one interface."""

import io
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import ncagen
from ncagen.adapters import torch as adapters
from reader_matrix.oracle import BATCH, SEED, SETTINGS, Batches, Oracle

# So that a worker of the forkserver imports nothing anew, which takes two seconds each.
multiprocessing.get_context("forkserver").set_forkserver_preload(["torch", "ncagen.adapters.torch"])


class Workers(NamedTuple):
    """A DataLoader's worker processes."""

    count: int = 0
    method: str | None = None
    persistent: bool = False

    def __str__(self) -> str:
        kept = ", persistent" if self.persistent else ""
        return f"{self.count} workers, {self.method}{kept}" if self.count else "0 workers"

    def options(self) -> dict[str, Any]:
        """As DataLoader has them."""
        if not self.count:
            return {}
        return {
            "num_workers": self.count,
            "multiprocessing_context": self.method,
            "persistent_workers": self.persistent,
        }


ALL_WORKERS = [
    Workers(),
    *(Workers(2, method, kept) for method in ("fork", "forkserver", "spawn") for kept in (False, True)),
]


class Subject:
    """One reader, new. Subclasses make `self.source`, which is iterated."""

    reader: str
    framework: str
    ranked = False  # whether rank and world are options

    def __init__(self, oracle: Oracle, workers: Workers, batch: int = BATCH, **options):
        self.oracle, self.workers, self.batch = oracle, workers, batch
        self.taken = 0
        self.source = self.make(**options)

    def make(self, **options) -> Iterable:
        """What is iterated."""
        raise NotImplementedError

    def begin(self) -> Iterator[list[int]]:
        """An iterator of one pass, as row numbers."""
        for number, batch in enumerate(self.source):
            self.taken = number + 1
            yield self.oracle.numbers(batch)

    def read(self, batches: int | None = None) -> Batches:
        """A pass, or its first batches."""
        self.taken = 0
        return list(islice(self.begin(), batches))

    def state(self) -> dict:
        """What resumes after the last batch read, as a checkpoint gives it back."""
        return json.loads(json.dumps(self.own_state()))

    def own_state(self) -> dict:
        """The reader's state."""
        return self.source.state_dict()

    def load(self, state: dict) -> None:
        """Loads a state."""
        self.source.load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        """Makes an epoch the next pass."""
        self.source.set_epoch(epoch)


class StreamSubject(Subject):
    """A plain Stream."""

    reader, framework, ranked = "Stream", "plain loop", True

    def make(self, **options):
        return ncagen.Stream(self.oracle.data, self.batch, seed=SEED, **options)


class LoaderSubject(Subject):
    """A Loader."""

    reader, framework, ranked = "Loader", "plain loop", True

    def make(self, **options):
        return adapters.Loader(self.oracle.data, self.batch, seed=SEED, **self.workers.options(), **options)


class PairsSubject(LoaderSubject):
    """A Loader whose batches are paired with their states."""

    def begin(self):
        for number, (batch, state) in enumerate(self.source.with_states()):
            self.taken, self.paired = number + 1, state
            yield self.oracle.numbers(batch)

    def own_state(self):
        return self.paired


class BatchesSubject(Subject):
    """Batches in a DataLoader, with `state_after`."""

    reader, framework, ranked = "Batches", "plain loop", True
    kind = DataLoader

    def make(self, **options):
        self.batches = adapters.Batches(self.oracle.data, self.batch, seed=SEED, **options)
        return self.kind(self.batches, batch_size=None, **self.workers.options())

    def own_state(self):
        return self.batches.state_after(self.taken)

    def load(self, state):
        self.batches.load_state_dict(state)

    def set_epoch(self, epoch):
        self.batches.set_epoch(epoch)


class StatefulBatchesSubject(BatchesSubject):
    """Batches in a StatefulDataLoader, with its own state."""

    framework, ranked = "StatefulDataLoader", False
    kind = StatefulDataLoader

    def state(self):
        return saved(self.source.state_dict())

    def load(self, state):
        self.source.load_state_dict(state)


class RowsSubject(Subject):
    """Rows in a DataLoader, one after the other."""

    reader, framework = "Rows", "plain loop"
    kind = DataLoader

    def make(self, **options):
        self.rows = adapters.Rows(self.oracle.data, shuffle=True, seed=SEED, **options)
        return self.kind(self.rows, batch_size=self.batch, **self.workers.options())

    def set_epoch(self, epoch):
        self.rows.set_epoch(epoch)


class StatefulRowsSubject(RowsSubject):
    """Rows in a StatefulDataLoader, with its own state."""

    framework = "StatefulDataLoader"
    kind = StatefulDataLoader

    def state(self):
        return saved(self.source.state_dict())


class GeneratedSubject(Subject):
    """Generated rows in a DataLoader."""

    reader, framework = "Generated", "plain loop"
    kind = DataLoader

    def make(self, **options):
        return self.kind(adapters.Generated(SETTINGS, **options), batch_size=self.batch, **self.workers.options())


class StatefulGeneratedSubject(GeneratedSubject):
    """Generated rows in a StatefulDataLoader, which resumes by reading again what was read."""

    framework = "StatefulDataLoader"
    kind = StatefulDataLoader

    def state(self):
        return saved(self.source.state_dict())


def saved(state: dict) -> dict:
    """A state as torch.load gives it back, without unpickling anything."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
