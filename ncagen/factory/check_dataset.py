"""Verifies a dataset with its own source, and gathers what its card on the Hub says.

`dataset.verify` checks files and columns and knows no source; this module gives it the source's checks.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ncagen.dataset import verify as dataset_verify
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.verify import Report
from ncagen.errors import SpecError
from ncagen.factory.settings import check_bands
from ncagen.philox import STREAMS
from ncagen.row_format import Measure, RowFormat, Rows, SourceCard
from ncagen.sources import source_of
from ncagen.sources.source import Source
from ncagen.spec import BuildSpec


@dataclass(frozen=True)
class SourceChecks:
    """The checks of a spec's source, as `dataset.verify.RowChecks`."""

    spec: BuildSpec

    @property
    def source(self) -> Source:
        """The source of the spec's rows."""
        return source_of(self.spec)

    @property
    def row_format(self) -> RowFormat:
        """The row format of the source's rows."""
        return self.source.row_format

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the source's rows."""
        return self.source.measures

    def spec_problems(self) -> list[str]:
        """A band that the source cannot have, or that is normalised by what noise scores elsewhere."""
        try:
            check_bands(self.spec)
        except SpecError as error:
            return [str(error)]
        return []

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """What the source finds wrong: for each possible problem bool[row], true where the row is right."""
        return self.source.problems(rows)

    def rebuild(self, split: str, candidates: np.ndarray) -> Rows:
        """The rows of candidates, made anew. candidates: uint64[row]."""
        batch = self.source.batch((self.spec.seed, STREAMS[split]), candidates)
        return batch.rows(np.arange(len(candidates)))


def verify(
    place: str | os.PathLike | Folder,
    share: float = 0.0,
    progress: Callable[[int], None] = lambda rows: None,
    workers: int = 1,
) -> Report:
    """Checks every file and row of a dataset, and rebuilds `share` (0 to 1) of the rows from their candidates.

    progress(rows) is called for each shard, workers shards are checked at the same time. Raises NcagenError where there
    is no manifest to check against, its source is not known, or this machine does not compute what ncagen defines.
    """

    def checks_of(manifest: Manifest) -> SourceChecks:
        checks = SourceChecks(manifest.spec)
        if share:
            checks.source.check()  # or rows that are right would be called wrong
        return checks

    return dataset_verify.verify(place, checks_of, share, progress, workers)


def card_of(spec: BuildSpec) -> SourceCard:
    """What the source of a spec says of its rows in words. Raises SpecError for a source that is not known."""
    return source_of(spec).card()
