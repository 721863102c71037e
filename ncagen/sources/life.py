"""The source `life`: rows are runs of outer-totalistic rules of two states on a torus, such as Conway's B3/S23.

A cell's next state depends on its own state and on how many of its eight neighbours are alive. Each row hides a rule of
its own, as rows of the NCA do, or all rows have one. What it shares with `elementary` is in `cellular`: the layout of
rows, how rules and start grids are drawn, the fast kernels. Not covered: rules of more states, or of other
neighbourhoods.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import SourceCard
from ncagen.sources.cellular import card
from ncagen.sources.cellular.rules import DISJOINT, LIFE_NEIGHBOURHOODS, RANDOM, life_number, life_text
from ncagen.sources.cellular.source import FACTS, CellShape, CellularSource
from ncagen.sources.patches import check_patches, parse_grid
from ncagen.sources.source import Option

SIDES = 3, 128  # cells


@dataclass(frozen=True)
class Life(CellularSource):
    """Runs of life-like rules. grid: height x width in cells, or a side. Other settings: see `CellularSource`."""

    name: ClassVar[str] = "life"
    version: ClassVar[int] = 1
    neighbourhoods: ClassVar[tuple[int, ...]] = LIFE_NEIGHBOURHOODS
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "rule",
            str,
            f"As B3/S23; {DISJOINT}: hidden in each row, in one split only; {RANDOM}: any in any split.  [{DISJOINT}]",
        ),
        Option("grid", str, "Cells of the grid: a side, or height x width as in 12x16.  [12]"),
        Option("patch", int, "Cells along a side of a patch, which is one token.  [2]"),
        Option("warmup", int, "Steps before the first recorded grid.  [10]"),
        Option("stride", int, "Steps between recorded grids.  [1]"),
        Option("density", float, "Share of cells that are 1 at the start, 0 to 1.  [0.5]"),
        Option("facts", str, f"Further columns, joined by commas: {', '.join(FACTS)}.  [none]"),
    )

    grid: str = "12x12"

    def __post_init__(self) -> None:
        """Checks the settings. Raises SpecError."""
        height, width = parse_grid(self.grid)
        for side in (height, width):
            if not SIDES[0] <= side <= SIDES[1]:
                raise SpecError(f"grid {self.grid} is out of range: use sides of {SIDES[0]} to {SIDES[1]}")
        self._write("grid", f"{height}x{width}")
        super().__post_init__()

    @property
    def shape(self) -> CellShape:
        """The sizes of the rows."""
        height, width = parse_grid(self.grid)
        return CellShape(height, width, self.patch, self.warmup, self.stride, self.seq_len)

    def _check_shape(self) -> None:
        check_patches(self.shape)

    @classmethod
    def rule_number(cls, text: str) -> int:
        """Reads a rule such as B3/S23. Raises SpecError."""
        return life_number(text)

    @classmethod
    def rule_text(cls, number: int) -> str:
        """Writes a rule as in B3/S23."""
        return life_text(number)

    @classmethod
    def step(cls, cells: np.ndarray, rules: np.ndarray) -> np.ndarray:
        """Runs one step: a cell in state c with n living neighbours gets bit 9 * c + n of its rule.

        cells: uint8[row, y, x], on a torus. rules: int32[row]. Returns uint8[row, y, x].
        """
        shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
        neighbours = sum(np.roll(cells, shift, (1, 2)) for shift in shifts)
        return (rules[:, None, None] >> (9 * cells + neighbours) & 1).astype(np.uint8)

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return card.life(self)
