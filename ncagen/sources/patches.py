"""Sizes of rows that are grids of cells, cut into patches: what every source of grids has in common.

Not covered: how cells are computed, and the tokens themselves (`grid_tokens`).
"""

import re
from math import gcd

from ncagen.errors import SpecError

DELIMITERS = 2  # start-of-grid and end-of-grid, the two ids above all patches
MOST_VOCABULARY = 2**32


class Patching:
    """Sizes that follow from cutting grids into patches. Subclasses have the four attributes.

    height and width count cells, patch those along a side of a patch.
    """

    states: int
    height: int
    width: int
    patch: int

    @property
    def patch_height(self) -> int:
        """Rows of cells in a patch: patches are squares, or a line of cells where a grid is one row of cells."""
        return min(self.patch, self.height)

    @property
    def patch_cells(self) -> int:
        """Number of cells in a patch."""
        return self.patch_height * self.patch

    @property
    def size(self) -> str:
        """The grid's size as text: height x width, in cells."""
        return f"{self.height} x {self.width}"

    @property
    def cells(self) -> int:
        """Number of cells in a grid."""
        return self.height * self.width

    @property
    def patches(self) -> int:
        """Number of patches in a grid."""
        return (self.height // self.patch_height) * (self.width // self.patch)

    @property
    def patch_ids(self) -> int:
        """Number of ids that a patch can have. It is also the id of start-of-grid; end-of-grid is the next."""
        return int(self.states**self.patch_cells)


class GridRows(Patching):
    """Sizes of rows of whole grids, each between two delimiters. Subclasses have three more attributes.

    warmup: steps before the first recorded grid. stride: steps between recorded grids. seq_len: tokens of a row that a
    model reads as input.
    """

    warmup: int
    stride: int
    seq_len: int

    @property
    def vocabulary(self) -> int:
        """Number of ids, patches and delimiters: 0 to vocabulary - 1."""
        return self.patch_ids + DELIMITERS

    @property
    def token_dtype(self) -> str:
        """The narrower of uint16 and uint32 that holds every id."""
        return "uint16" if self.vocabulary <= 2**16 else "uint32"

    @property
    def tokens_per_grid(self) -> int:
        """Tokens of a grid: its patches and the two delimiters."""
        return self.patches + DELIMITERS

    @property
    def frames(self) -> int:
        """Number of recorded grids in a row: the fewest that give `seq_len` inputs and the token after each."""
        return -(-(self.seq_len + 1) // self.tokens_per_grid)

    @property
    def in_order(self) -> bool:
        """Whether the grids of a row are those of its steps, in their order."""
        return True

    @property
    def row_tokens(self) -> int:
        """Number of stored tokens in a row."""
        return self.frames * self.tokens_per_grid


def check_patches(shape: GridRows) -> None:
    """Raises SpecError if square patches do not divide the grid, or have too many ids."""
    height, width, patch = shape.height, shape.width, shape.patch
    if height % patch or width % patch:
        grid = str(height) if height == width else f"{height}x{width}"
        raise SpecError(f"grid {grid} is not divisible by patch {patch}: use a patch of {divisors(gcd(height, width))}")
    check_vocabulary(shape)


def check_vocabulary(shape: GridRows) -> None:
    """Raises SpecError if patches have too many ids."""
    if shape.vocabulary > MOST_VOCABULARY:
        raise SpecError(
            f"vocabulary of states {shape.states} to the power {shape.patch_cells} (the cells of a patch), and"
            f" {DELIMITERS}, is over {MOST_VOCABULARY}: use fewer states or a smaller patch"
        )


def divisors(number: int) -> str:
    """Lists the divisors of a number as text for a message."""
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)


def parse_grid(grid: str | int) -> tuple[int, int]:
    """Reads height and width in cells from 12, "12" or "12x16". Raises SpecError for other text."""
    match = re.fullmatch(r"([0-9]{1,9})(?: ?x ?([0-9]{1,9}))?", str(grid).strip().lower(), re.ASCII)
    if not match:
        raise SpecError(f"grid {grid!r} is not a size: use a side as in 12, or height x width as in 12x16")
    height = int(match[1])
    return height, int(match[2] or height)
