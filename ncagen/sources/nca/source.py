"""Rows of neural cellular automata as a source: `Nca` implements the protocol in `ncagen.sources.source`.

It only delegates. The modules that compute rows are imported when rows are requested, so that code which reads settings
or draws grids needs neither numba nor torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import Measure, RowFormat, Rows, SourceCard
from ncagen.selection import BANDS
from ncagen.sources.grid_tokens import PatchGrids
from ncagen.sources.nca import card, facts, options
from ncagen.sources.nca.settings import Settings
from ncagen.sources.scored import GZIP_COLUMNS
from ncagen.sources.source import Batch, Option, Stage, no_stage
from ncagen.spec import BuildSpec

VERSION = 1

# Every setting except the row length, which belongs to the build.
STORED = tuple(field.name for field in fields(Settings) if field.name != "seq_len")
# Stored only where they are given, so that a spec without them is what it was before they existed.
GIVEN = ("facts", "measure", "control", "rule_candidate", "change_at")
OPTIONAL = {field.name: field.default for field in fields(Settings) if field.name in GIVEN}


@dataclass(frozen=True)
class Nca:
    """Trajectories of random neural cellular automata. settings: of the automaton and the row length."""

    name: ClassVar[str] = "nca"
    version: ClassVar[int] = VERSION
    options: ClassVar[tuple[Option, ...]] = options.OPTIONS
    needs_band: ClassVar[bool] = True

    settings: Settings

    @classmethod
    def from_options(cls, options_given: Mapping[str, Any], seq_len: int) -> "Nca":
        """Makes a source from settings as a user types them; missing ones have their defaults. Raises SpecError."""
        return cls(options.settings_of(options_given, seq_len))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], seq_len: int) -> "Nca":
        """Makes the source that `to_dict` wrote. Raises SpecError for a missing or unknown setting, or a bad value."""
        for name in STORED:
            if name not in values and name not in OPTIONAL:
                raise SpecError(f"source {cls.name} has no setting {name!r}")
        for name in values:
            if name not in STORED:
                raise SpecError(f"setting {name!r} of source {cls.name} is not known")
        for name, default in OPTIONAL.items():
            if name in values and values[name] == default:
                raise SpecError(f"setting {name!r} of source {cls.name} is {default!r}: leave it out")
        return cls(Settings(seq_len=seq_len, **values))

    def to_dict(self) -> dict[str, Any]:
        """Returns every setting except `seq_len` as a plain value: part of the hashed spec."""
        found = {name: getattr(self.settings, name) for name in STORED}
        return {name: value for name, value in found.items() if name not in OPTIONAL or value != OPTIONAL[name]}

    def for_build(self, spec: BuildSpec) -> "Nca":
        """Returns the source with the rule of control frozen-rule, of the first band, where it is not given.

        spec: the build, with the settings of this source. Raises SpecError where no rule is found.
        """
        band, (selects,) = spec.bands[0], self.measures
        first, end = band.limits(selects)
        refused = first >= end or (band.name in BANDS and selects.column not in GZIP_COLUMNS)  # by every build
        if self.settings.control != "frozen-rule" or self.settings.rule_candidate is not None or refused:
            return self
        from ncagen.sources.nca import frozen

        candidate = frozen.first_candidate(self.settings, spec.seed, band, self.candidate_work())
        return Nca(replace(self.settings, rule_candidate=candidate))

    @property
    def seq_len(self) -> int:
        """Tokens of a row that a model reads as input."""
        return self.settings.seq_len

    @property
    def row_format(self) -> RowFormat:
        """The tokens and columns of a row: whole grids, each between two delimiters, and the gzip length."""
        return facts.row_format(self.settings)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """One measure: the gzip length of the scored grids in bytes, or the gap of two learners in cells."""
        return (facts.measure(self.settings),)

    def check(self, device: str = "cpu") -> None:
        """Compares the results of this process and its devices with the definition, once. Raises SelfCheckFailed."""
        from ncagen.sources.nca import devices, selfcheck

        for name in devices.devices(device):
            selfcheck.check(self.settings, devices.backend(name))

    def devices(self, device: str = "cpu") -> Sequence[str]:
        """The devices that a build uses: all CUDA devices for "cuda". Raises NcagenError as `batch_candidates`."""
        from ncagen.sources.nca import devices

        return devices.devices(device)

    def batch_candidates(self, device: str = "cpu") -> int:
        """The recommended limit of candidates in a batch. Raises NcagenError for an unknown or missing device."""
        from ncagen.sources.nca import devices

        return devices.backend(device).batch_candidates(self.settings)

    def batch(
        self,
        key: tuple[int, int],
        candidates: np.ndarray,
        at_least: int = 0,
        device: str = "cpu",
        stage: Stage = no_stage,
    ) -> Batch:
        """Runs and scores candidates; the stages are rules, rollout, tokens and score.

        key: seed and stream. candidates: uint64[candidate]. at_least: a score that is provably smaller may be returned
        as 0, which is cheaper. device: a name as in `devices.backend`. Raises NcagenError for a device
        that is unknown or missing, OutOfDeviceMemory where fewer candidates may fit.
        """
        from ncagen.sources.nca import batch, devices

        backend = devices.backend(device)
        return batch.run(self.settings, key, candidates, at_least, backend=backend, stage=stage)

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks rows. Returns bool[row] by the text of each possible problem, true where the row is right."""
        from ncagen.sources.nca import batch

        return batch.problems(self.settings, rows)

    def grids(self) -> PatchGrids:
        """Returns the grids of its rows, for drawing."""
        return PatchGrids(self.settings)

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return card.card(self.settings)

    def candidate_work(self) -> int:
        """Estimates the time to score one candidate, in nanoseconds of one core.

        It adds one nanosecond for each cell, state and step, and the time of the match search, which grows with the
        square of the scored bytes within gzip's window; its factor was measured (docs/log.md). Both learners of
        the gap take ten nanoseconds for each cell and state.
        """
        if self.settings.measure != "gzip":
            return 10 * self.settings.scored_steps * self.settings.cells * self.settings.states
        scored = self.settings.scored_bytes
        steps = self.settings.scored_steps * self.settings.cells * self.settings.states
        return steps + scored * min(scored, 32768) // 80

    def noise_scores(self) -> np.ndarray:
        """Returns the scores of pure noise with this alphabet and shape: int32[sample], gzip bytes.

        Empty for the gap of two learners, which is 0 for noise.
        """
        if self.settings.measure != "gzip":
            return np.zeros(0, np.int32)
        from ncagen.sources.nca import noise

        return noise.noise_lengths(self.settings, self.settings.scored_frames)

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        """Warns of a temperature at which much of a row is noise that no model can predict."""
        from ncagen.sources.nca import noise_share

        return noise_share.warnings(self.settings, key)
