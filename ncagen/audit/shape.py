"""How tokens lie in the rows of a file, whoever wrote it: grids, patches, delimiters, and tokens of a row.

A row begins with a grid and may end in the middle of one, as rows that were cut at 1024 tokens do. Unlike a `Spec`, a
shape has no rule, no score and no limits of the factory's own.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.errors import NcagenError
from ncagen.sources.nca.tokens import patch_grids
from ncagen.spec import DELIMITERS, SCORED_GRIDS, SCORED_TOKEN_BYTES, Patching, Spec


@dataclass(frozen=True)
class Shape(Patching):
    """`stride`: steps between recorded grids, where it is known; only 1 shows a rule's steps."""

    states: int = 10
    grid: int = 12
    patch: int = 2
    delimiters: bool = True
    stride: int = 1
    row_tokens: int = 0

    def __post_init__(self):
        """Raises NcagenError for what no file can have."""
        for name, least, most in (("states", 2, 256), ("grid", 3, 128), ("patch", 1, 128)):
            if not least <= (value := getattr(self, name)) <= most:
                raise NcagenError(f"{name} {value} is out of range: use {least} to {most}")
        if self.grid % self.patch:
            fitting = ", ".join(str(p) for p in range(1, self.grid + 1) if self.grid % p == 0)
            raise NcagenError(f"grid {self.grid} is not divisible by patch {self.patch}: use a patch of {fitting}")
        if self.vocabulary > 2**32:
            raise NcagenError(f"states {self.states} with patch {self.patch} is over {2**32} ids: use a smaller patch")
        if self.row_tokens and self.frames < 2:
            least = 2 * self.tokens_per_grid
            raise NcagenError(f"row-tokens {self.row_tokens} is under two grids: use {least} or more")

    @classmethod
    def of(cls, spec: Spec) -> "Shape":
        """The shape of a dataset's rows."""
        return cls(spec.states, spec.grid, spec.patch, True, spec.stride, spec.row_tokens)

    @property
    def vocabulary(self) -> int:
        """Ids that a row may hold: 0 to vocabulary - 1."""
        return self.patch_ids + DELIMITERS * self.delimiters

    @property
    def tokens_per_grid(self) -> int:
        """Patches, and the delimiters if there are any."""
        return self.patches + DELIMITERS * self.delimiters

    @property
    def frames(self) -> int:
        """Whole grids of a row."""
        return self.row_tokens // self.tokens_per_grid

    @property
    def scored_frames(self) -> int:
        """Grids that the gzip score is taken over."""
        return min(SCORED_GRIDS, self.frames)

    @property
    def scored_bytes(self) -> int:
        """Bytes that the gzip score is taken over."""
        return self.scored_frames * self.patches * SCORED_TOKEN_BYTES

    def aligned(self, tokens: np.ndarray) -> np.ndarray:
        """Whether delimiters stand where they belong and nowhere else. tokens: [row, token]. Returns bool[row]."""
        if not self.delimiters:
            return np.ones(len(tokens), bool)
        wanted = np.full(self.row_tokens, -1)
        wanted[:: self.tokens_per_grid] = self.patch_ids
        wanted[self.tokens_per_grid - 1 :: self.tokens_per_grid] = self.patch_ids + 1
        marks = np.where((tokens == self.patch_ids) | (tokens == self.patch_ids + 1), tokens, -1)
        return np.all(marks == wanted, axis=1)

    def in_range(self, tokens: np.ndarray) -> np.ndarray:
        """Whether all ids are of the vocabulary. tokens: [row, token]. Returns bool[row]."""
        return np.all((tokens >= 0) & (tokens < self.vocabulary), axis=1)

    def patches_of(self, tokens: np.ndarray) -> np.ndarray:
        """The patches of the whole grids of sound rows.

        tokens: [row, token]. Returns uint16 or uint32 [row, frame, patch].
        """
        whole = tokens[:, : self.frames * self.tokens_per_grid].reshape(-1, self.frames, self.tokens_per_grid)
        inner = whole[..., 1:-1] if self.delimiters else whole
        return inner.astype(np.uint16 if self.vocabulary <= 2**16 else np.uint32)

    def grids_of(self, patches: np.ndarray) -> np.ndarray:
        """The cells of patches [row, frame, patch]. Returns uint8[row, frame, row, column]."""
        return patch_grids(self, patches)
