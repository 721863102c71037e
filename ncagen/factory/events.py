"""What a build reports while it runs: plain values, in the order in which things happened.

`scheduler.build_events` yields them in the caller's thread; a progress bar, a log or a callback reads them. They carry
counts and results only. Nothing has to be done with an event, and no build waits for an answer.
"""

from dataclasses import dataclass

from ncagen.dataset.manifest import File, Manifest
from ncagen.dataset.shard import Record
from ncagen.spec import BuildSpec

ShardTask = tuple[str, int]
"""A split and the number of a shard in it: one shard in each band."""

ShardResult = list[tuple[Record, File]]
"""The result of a task: a record and a file for every band."""


@dataclass(frozen=True)
class DatasetBegun:
    """An experiment's next dataset, before its own events. label: such as "arm 'high'"."""

    label: str
    spec: BuildSpec


@dataclass(frozen=True)
class Warned:
    """What a user should know of the spec, one line, before the first row is made."""

    text: str


@dataclass(frozen=True)
class RowsFound:
    """Rows of an intact shard that was in the folder already."""

    rows: int


@dataclass(frozen=True)
class RowsMade:
    """Rows that a batch added to a shard, in all bands together, and the candidates tried for them.

    They are in the folder when the task's `ShardDone` follows. A task that is repeated reports its rows again.
    """

    rows: int
    candidates: int


@dataclass(frozen=True)
class NodesChanged:
    """The number of machines that can work, 0 while the build waits for one. Only from clusters."""

    nodes: int


@dataclass(frozen=True)
class ShardDone:
    """A task whose shards are in the folder, one in every band."""

    task: ShardTask
    result: ShardResult


@dataclass(frozen=True)
class Finished:
    """The last event: the manifest is written, and the dataset is complete."""

    manifest: Manifest


Progress = RowsFound | RowsMade | NodesChanged
"""What an executor reports beside the ends of its tasks."""

Event = DatasetBegun | Warned | Progress | ShardDone | Finished
"""What a build reports."""
