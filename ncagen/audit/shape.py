"""The token format of the rows of any file: grids, patches, delimiters, and tokens of a row.

A row begins with a grid and may end in the middle of one, as rows that were cut at 1024 tokens do. Not covered: the
automaton's settings, such as temperature and start.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np

from ncagen.errors import NcagenError
from ncagen.sources.grid_facts import patch_cells
from ncagen.sources.nca.settings import SCORED_GRIDS
from ncagen.sources.patches import DELIMITERS, GridRows, Patching, divisors, parse_grid
from ncagen.sources.scored import TOKEN_BYTES


@dataclass(frozen=True)
class Shape(Patching):
    """The token format of rows.

    states: of a cell. height, width: cells of a grid. patch: cells along a side of a patch. delimiters: whether grids
    are between delimiters. stride: steps between recorded grids; only 1 shows a rule's steps. row_tokens: 0 if unknown.
    """

    states: int = 10
    height: int = 12
    width: int = 12
    patch: int = 2
    delimiters: bool = True
    stride: int = 1
    row_tokens: int = 0

    def __post_init__(self):
        """Raises NcagenError for values out of range, patches that do not fit the grid, and rows of under two grids."""
        for name, value, least, most in (
            ("states", self.states, 2, 256),
            ("grid", self.height, 3, 128),
            ("grid", self.width, 3, 128),
            ("patch", self.patch, 1, 128),
        ):
            if not least <= value <= most:
                raise NcagenError(f"{name} {value} is out of range: use {least} to {most}")
        if self.height % self.patch or self.width % self.patch:
            side = gcd(self.height, self.width)
            grid = self.size if self.height != self.width else self.height
            raise NcagenError(f"grid {grid} is not divisible by patch {self.patch}: use a patch of {divisors(side)}")
        if self.vocabulary > 2**32:
            raise NcagenError(f"states {self.states} with patch {self.patch} is over {2**32} ids: use a smaller patch")
        if self.row_tokens and self.frames < 2:
            least = 2 * self.tokens_per_grid
            raise NcagenError(f"row-tokens {self.row_tokens} is under two grids: use {least} or more")

    @classmethod
    def of(cls, rows: GridRows) -> "Shape":
        """Returns the shape of rows of a dataset."""
        return cls(
            rows.states,
            rows.height,
            rows.width,
            rows.patch,
            stride=rows.stride,
            row_tokens=rows.row_tokens,
        )

    @property
    def vocabulary(self) -> int:
        """Number of ids: 0 to vocabulary - 1."""
        return self.patch_ids + DELIMITERS * self.delimiters

    @property
    def tokens_per_grid(self) -> int:
        """Tokens of a grid: patches, and delimiters if there are any."""
        return self.patches + DELIMITERS * self.delimiters

    @property
    def frames(self) -> int:
        """Number of whole grids in a row."""
        return self.row_tokens // self.tokens_per_grid

    @property
    def scored_frames(self) -> int:
        """Number of grids that are scored."""
        return min(SCORED_GRIDS, self.frames)

    @property
    def scored_bytes(self) -> int:
        """Number of bytes that are scored."""
        return self.scored_frames * self.patches * TOKEN_BYTES

    def aligned(self, tokens: np.ndarray) -> np.ndarray:
        """Returns bool[row], true for rows with delimiters in place and nowhere else. tokens: integers [row, token]."""
        if not self.delimiters:
            return np.ones(len(tokens), bool)
        wanted = np.full(self.row_tokens, -1)
        wanted[:: self.tokens_per_grid] = self.patch_ids
        wanted[self.tokens_per_grid - 1 :: self.tokens_per_grid] = self.patch_ids + 1
        marks = np.where((tokens == self.patch_ids) | (tokens == self.patch_ids + 1), tokens, -1)
        return np.all(marks == wanted, axis=1)

    def in_range(self, tokens: np.ndarray) -> np.ndarray:
        """Returns bool[row], true for rows with all ids in the vocabulary. tokens: integers [row, token]."""
        return np.all((tokens >= 0) & (tokens < self.vocabulary), axis=1)

    def patches_of(self, tokens: np.ndarray) -> np.ndarray:
        """Extracts the patches of the whole grids of sound rows.

        tokens: integers [row, token]. Returns uint16 or uint32 [row, frame, patch].
        """
        whole = tokens[:, : self.frames * self.tokens_per_grid].reshape(-1, self.frames, self.tokens_per_grid)
        inner = whole[..., 1:-1] if self.delimiters else whole
        return inner.astype(np.uint16 if self.vocabulary <= 2**16 else np.uint32)

    def grids_of(self, patches: np.ndarray) -> np.ndarray:
        """Converts patches to cells. patches: integers [row, frame, patch]. Returns uint8[row, frame, y, x]."""
        return patch_cells(self, patches).reshape(*patches.shape[:2], self.height, self.width)


def grid_of(text: str) -> dict[str, int]:
    """Reads height and width in cells from "12" or "12x16", as keywords of `Shape`. Raises SpecError."""
    height, width = parse_grid(text)
    return {"height": height, "width": width}
