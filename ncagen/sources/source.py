"""The protocols of a source of rows: `Source`, the `Batch` that it returns, and `Grids` for rows that can be drawn.

A source is a frozen dataclass of its settings and the row length, so it can be hashed, compared and sent to another
process. A row is a pure function of (settings, key, candidate); the batch, the device and the number of threads do
not change it. Not covered: bands, shards and files. The shape of a row is in `ncagen.row_format`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ncagen.errors import NcagenError
from ncagen.row_format import Measure, RowFormat, Rows, SourceCard
from ncagen.spec import BuildSpec

Stage = Callable[[str], AbstractContextManager]
"""Takes the name of a stage and returns a context manager; the stage runs inside it, so `bench` can measure it."""


def no_stage(name: str) -> AbstractContextManager:
    """Returns a context manager that measures nothing. name: the name of the stage."""
    return nullcontext()


class OutOfDeviceMemory(NcagenError):
    """A batch does not fit the device's memory. `Source.batch_candidates` is smaller now: try again with fewer."""


@dataclass(frozen=True)
class Option:
    """A setting of a source as a user writes it: a key of a TOML spec file, and a flag of the command line.

    kind: int, float, str or bool (a flag with --no-). doc: one line for --help, with the default in brackets.
    """

    name: str
    kind: type
    doc: str


class Batch(Protocol):
    """Candidates that were run far enough to be scored."""

    @property
    def candidates(self) -> np.ndarray:
        """uint64[candidate]."""

    @property
    def score(self) -> np.ndarray:
        """int32[candidate], in units of the first measure.

        0 where the score is proven to be below `at_least`, or where the source has no measures.
        """

    def rows(self, chosen: np.ndarray) -> Rows:
        """Computes the complete rows of some candidates. chosen: int64[row], indices into `candidates`."""

    def scored_bytes(self) -> list[bytes]:
        """Returns the bytes that were scored, for each candidate; an empty list for a source without measures."""


class Grids(Protocol):
    """Rows that are sequences of grids of cells, as code that draws them reads them. A frame is one grid of a row."""

    @property
    def states(self) -> int:
        """Number of states of a cell."""

    @property
    def height(self) -> int:
        """Rows of cells in a grid."""

    @property
    def width(self) -> int:
        """Columns of cells in a grid."""

    @property
    def frames(self) -> int:
        """Number of grids in a row."""

    def cells(self, input_ids: np.ndarray) -> np.ndarray:
        """Converts rows to grids. input_ids: integers [row, token]. Returns uint8[row, frame, y, x], cell states."""

    def frame_name(self, frame: int) -> str:
        """Returns a short label of a grid, such as "t=10". frame: its index in the row."""


class Source(Protocol):
    """A source of rows. `name` and `version` are in the hashed spec."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Changes with every change that moves a single bit of any row."""

    options: ClassVar[tuple[Option, ...]]

    needs_band: ClassVar[bool]
    """Whether a build has to name a band; otherwise it may leave them out, and keeps every candidate."""

    @property
    def seq_len(self) -> int:
        """Tokens of a row that a model reads as input."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any], seq_len: int) -> "Source":
        """Makes a source from settings as a user types them; missing ones have their defaults.

        Raises SpecError for an unknown setting or a value out of range.
        """

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], seq_len: int) -> "Source":
        """Makes the source that `to_dict` wrote.

        Raises SpecError for a setting that is missing, unknown or out of range.
        """

    def to_dict(self) -> dict[str, Any]:
        """Returns every setting except `seq_len` as a plain value: part of the hashed spec."""

    def for_build(self, spec: BuildSpec) -> "Source":
        """Returns the source with the settings that depend on a build, such as its seed, bands and shards.

        spec: the build, with the settings of this source. Raises SpecError for a build that the source cannot make.
        """

    @property
    def row_format(self) -> RowFormat:
        """The tokens and columns of a row."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures that bands select by; the first is `Batch.score`. Empty: every candidate becomes a row."""

    def check(self, device: str = "cpu") -> None:
        """Compares the results of this process and device with the definition, once in a process.

        Raises SelfCheckFailed if they differ, NcagenError for a device that is unknown or missing.
        """

    def devices(self, device: str = "cpu") -> Sequence[str]:
        """The devices of this machine that a build uses: for "cuda" each one, as "cuda:0"; others as they are.

        Raises NcagenError for a device that is unknown or missing.
        """

    def batch_candidates(self, device: str = "cpu") -> int:
        """The recommended limit of candidates in a batch. Raises NcagenError for an unknown or missing device."""

    def batch(
        self,
        key: tuple[int, int],
        candidates: np.ndarray,
        at_least: int = 0,
        device: str = "cpu",
        stage: Stage = no_stage,
    ) -> Batch:
        """Runs and scores candidates.

        key: the seed and the stream, each below 2**32. candidates: uint64[candidate]. at_least: a score that is
        provably smaller may be returned as 0, which is cheaper. device: a name as in `sources.nca.devices`; every
        source accepts "cpu". stage: measures the stages. Raises NcagenError for a device that is unknown or missing,
        OutOfDeviceMemory where fewer candidates may fit.
        """

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks rows. Returns bool[row] by the text of each possible problem, true where the row is right."""

    def grids(self) -> Grids | None:
        """Returns the grids of its rows, for drawing; None if rows are not grids."""

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""

    def candidate_work(self) -> int:
        """Estimates the time to score one candidate, in nanoseconds of one core. A plan limits its pilot by it."""

    def noise_scores(self) -> np.ndarray:
        """Returns the scores of uniform noise with this alphabet and shape: int32[sample].

        Empty without measures, and where noise does not score highest: a pilot refuses bands above noise.
        """

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        """Returns what a user should know of these settings before a build, one line each, from a few candidates.

        key: seed and stream.
        """
