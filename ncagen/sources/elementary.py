"""The source `elementary`: rows are runs of Wolfram's 256 elementary rules on a ring of cells from random starts.

A cell's next state depends on itself and its two neighbours. One time step is one line of cells, written as tokens of
`patch` cells between two delimiters, so that a row has the layout of the NCA's with grids of one line. What it shares
with `life` is in `cellular`. Not covered: more states, wider neighbourhoods.

Stephen Wolfram, "Statistical mechanics of cellular automata", Reviews of Modern Physics 55 (1983), numbers the rules.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import SourceCard
from ncagen.sources.cellular import card
from ncagen.sources.cellular.rules import DISJOINT, ELEMENTARY_NEIGHBOURHOODS, RANDOM, elementary_number
from ncagen.sources.cellular.source import FACTS, CellShape, CellularSource
from ncagen.sources.patches import divisors
from ncagen.sources.source import Option
from ncagen.sources.token_source import Range


@dataclass(frozen=True)
class Elementary(CellularSource):
    """Runs of elementary rules. width: cells of the ring. Other settings: see `CellularSource`."""

    name: ClassVar[str] = "elementary"
    version: ClassVar[int] = 1
    neighbourhoods: ClassVar[tuple[int, ...]] = ELEMENTARY_NEIGHBOURHOODS
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "rule",
            str,
            f"0 to 255; {RANDOM}: hidden in each row, any in any split; {DISJOINT}: in one split only.  [{RANDOM}]",
        ),
        Option("width", int, "Cells of the ring, 3 to 4096.  [64]"),
        Option("patch", int, "Cells of a token.  [4]"),
        Option("warmup", int, "Steps before the first recorded grid.  [0]"),
        Option("stride", int, "Steps between recorded grids.  [1]"),
        Option("density", float, "Share of cells that are 1 at the start, 0 to 1.  [0.5]"),
        Option("facts", str, f"Further columns, joined by commas: {', '.join(FACTS)}.  [none]"),
    )
    ranges: ClassVar[dict[str, Range]] = {**CellularSource.ranges, "width": (int, 3, 4096)}

    rule: str = RANDOM
    patch: int = 4
    warmup: int = 0
    width: int = 64

    @property
    def shape(self) -> CellShape:
        """The sizes of the rows: grids of one line of cells."""
        return CellShape(1, self.width, self.patch, self.warmup, self.stride, self.seq_len)

    def _check_shape(self) -> None:
        if self.width % self.patch:
            raise SpecError(
                f"width {self.width} is not divisible by patch {self.patch}: use a patch of {divisors(self.width)}"
            )
        super()._check_shape()

    @classmethod
    def rule_number(cls, text: str) -> int:
        """Reads a rule, "0" to "255". Raises SpecError."""
        return elementary_number(text)

    @classmethod
    def rule_text(cls, number: int) -> str:
        """Writes a rule's number."""
        return str(number)

    @classmethod
    def step(cls, cells: np.ndarray, rules: np.ndarray) -> np.ndarray:
        """Runs one step: a cell gets bit 4 * left + 2 * itself + right of its rule.

        cells: uint8[row, 1, x], on a ring. rules: int32[row]. Returns uint8[row, 1, x].
        """
        left, right = np.roll(cells, 1, axis=2), np.roll(cells, -1, axis=2)
        return (rules[:, None, None] >> (4 * left + 2 * cells + right) & 1).astype(np.uint8)

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return card.elementary(self)
