"""The part that `life` and `elementary` share: sources of rows that are runs of a rule of two states on a torus.

A row is a sequence of grids in the layout of the NCA: patches between delimiters. A subclass says which grid, which
rules and what one step is; that step in NumPy is the definition, and `lanes` computes the same 64 rows at a time. Not
covered: which rules rows draw (`rules`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from ncagen import philox
from ncagen.row_format import Column, Rows
from ncagen.sources import fact_columns, grid_tokens
from ncagen.sources.cellular.rules import DISJOINT, RANDOM, START, drawn, langton_counts
from ncagen.sources.fact_columns import LAMBDA
from ncagen.sources.grid_tokens import PatchGrids
from ncagen.sources.patches import GridRows, check_vocabulary
from ncagen.sources.token_source import Range, TokenSource

FACTS = ("lambda", *fact_columns.GRID_FACTS)  # what a build stores in further columns where it is asked to

# Limits of the rows that the self-check compares, and of their number and cells.
LONGEST_WARMUP, LONGEST_STRIDE, LONGEST_ROW = 16, 2, 1024
CHECKED, CHECKED_CELLS = 66, 2**17  # more than the 64 candidates that are computed together


@dataclass(frozen=True)
class CellShape(GridRows):
    """The sizes of rows of two-state grids: see `GridRows` for the attributes."""

    height: int
    width: int
    patch: int
    warmup: int
    stride: int
    seq_len: int
    states: int = 2


@dataclass(frozen=True)
class CellularSource(TokenSource):
    """Settings that both sources have.

    rule: a rule as text, RANDOM, or DISJOINT. patch: cells along a side of a patch. warmup, stride: steps before the
    first recorded grid and between two. density: the share of ones in start grids. facts: further columns to store, of
    FACTS, joined by commas; they change no row.
    """

    ranges: ClassVar[Mapping[str, Range]] = {
        "patch": (int, 1, 128),
        "warmup": (int, 0, 10**6),
        "stride": (int, 1, 10**4),
        "density": (float, 0.0, 1.0),
    }
    neighbourhoods: ClassVar[tuple[int, ...]]
    """How many neighbourhoods each entry of a rule's table decides."""

    rule: str = DISJOINT
    patch: int = 2
    warmup: int = 10
    stride: int = 1
    density: float = 0.5
    facts: str = ""

    def __post_init__(self) -> None:
        """Checks the settings, and writes each in the one way in which a spec has it. Raises SpecError."""
        super().__post_init__()
        self._write("density", self.density + 0.0)  # so that -0.0 is 0.0, which has the same rows
        if not self.hidden:
            self._write("rule", self.rule_text(self.rule_number(self.rule)))
        self._write("facts", fact_columns.in_order(self.facts, FACTS))
        self._check_shape()

    # What a subclass has.

    @property
    def shape(self) -> CellShape:
        """The sizes of the rows."""
        raise NotImplementedError

    @classmethod
    def rule_number(cls, text: str) -> int:
        """Reads a rule. Raises SpecError."""
        raise NotImplementedError

    @classmethod
    def rule_text(cls, number: int) -> str:
        """Writes a rule in the one way in which it is stored."""
        raise NotImplementedError

    @classmethod
    def step(cls, cells: np.ndarray, rules: np.ndarray) -> np.ndarray:
        """Runs one step, by its definition. cells: uint8[row, y, x]. rules: int32[row]. Returns uint8[row, y, x]."""
        raise NotImplementedError

    def _check_shape(self) -> None:
        """Raises SpecError for patches that do not fit the grid."""
        check_vocabulary(self.shape)

    # What follows for both.

    @property
    def entries(self) -> int:
        """Entries of a rule's table."""
        return len(self.neighbourhoods)

    @property
    def hidden(self) -> bool:
        """Whether each row has a rule of its own."""
        return self.rule in (RANDOM, DISJOINT)

    @property
    def threshold(self) -> int:
        """A start cell is 1 where its 16-bit word is below this: the density in units of 1/65536, exactly rounded."""
        return round(Fraction(repr(self.density)) * 65536)

    @property
    def alphabet(self) -> int:
        """Number of patches."""
        return self.shape.patch_ids

    @property
    def structural(self) -> tuple[int, ...]:
        """The ids of start-of-grid and end-of-grid."""
        return self.alphabet, self.alphabet + 1

    @property
    def row_tokens(self) -> int:
        """Number of stored tokens in a row: whole grids."""
        return self.shape.row_tokens

    @property
    def content_tokens(self) -> int:
        """Number of patches in a row."""
        return self.shape.frames * self.shape.patches

    @property
    def unpredictable(self) -> int:
        """Tokens of the first grid, since nothing precedes it."""
        return self.shape.tokens_per_grid

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """The row's rule, and the facts that are asked for."""
        names, shape = fact_columns.names_of(self.facts), self.shape
        langton = (Column(LAMBDA, "int32", fact_columns.lambda_doc(sum(self.neighbourhoods))),)
        return (
            Column("rule", "int32", "the number of the row's rule"),
            *(langton if "lambda" in names else ()),
            *fact_columns.columns(names, shape.frames, shape.cells),
        )

    def rules(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """The rules of candidates: int32[candidate]. key: seed and stream. candidates: uint64[candidate]."""
        if self.hidden:
            return drawn(self.entries, self.rule, key, candidates)
        return np.full(len(candidates), self.rule_number(self.rule), np.int32)

    def tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Computes rows: uint16 or uint32 [candidate, token]. key: seed and stream. candidates: uint64[candidate]."""
        from ncagen.sources.cellular import lanes

        starts = lanes.starts(self.shape, self.threshold, key, candidates)
        return lanes.rows(self.shape, self.entries, self.rules(key, candidates), starts, self.warmup)

    def defined_tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """The definition of `tokens`, in NumPy."""
        rules, shape = self.rules(key, candidates), self.shape
        words = philox.words(*key, START, candidates, shape.cells)
        cells = (words < self.threshold).astype(np.uint8).reshape(-1, shape.height, shape.width)
        frames = []
        for frame in range(shape.frames):
            for _ in range(self.stride if frame else self.warmup):
                cells = self.step(cells, rules)
            frames.append(cells)
        return grid_tokens.rows(shape, grid_tokens.patch_tokens(shape, np.stack(frames, axis=1)))

    def content(self, tokens: np.ndarray) -> np.ndarray:
        """The patches of rows. tokens: [row, token]."""
        return grid_tokens.patches_of(self.shape, tokens).reshape(len(tokens), -1)

    def extra_facts(self, tokens: np.ndarray, key: tuple[int, int], candidates: np.ndarray) -> dict[str, np.ndarray]:
        """The row's rule, and the facts that are asked for. candidates: uint64[row]."""
        rules = self.rules(key, candidates)
        return {"rule": rules, **self._facts(tokens, rules)}

    def _facts(self, tokens: np.ndarray, rules: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of facts: int32[row] by name. tokens: [row, token]. rules: int32[row]."""
        names = fact_columns.names_of(self.facts)
        if not names:
            return {}
        from ncagen.sources import grid_facts

        cells = grid_facts.patch_cells(self.shape, grid_tokens.patches_of(self.shape, tokens) % self.shape.patch_ids)
        langton = {LAMBDA: langton_counts(self.neighbourhoods, rules)} if "lambda" in names else {}
        return langton | grid_facts.computed(names, cells)

    def token_problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks that rows are grids, and that each grid follows from the one before by the row's rule."""
        from ncagen.sources.cellular import lanes

        shape, rules = self.shape, rows["rule"]
        known = (rules >= 0) & (rules < 1 << self.entries) if self.hidden else rules == self.rule_number(self.rule)
        # Tokens that are no patches have no cells; they are a problem of their own.
        first = grid_tokens.patches_of(shape, rows.input_ids)[:, :1] % shape.patch_ids
        followed = lanes.rows(shape, self.entries, rules, grid_tokens.patch_grids(shape, first)[:, 0], 0)
        patches, wanted = self.content(rows.input_ids), self.content(followed)
        return {
            "tokens are not whole grids between delimiters": grid_tokens.well_formed(shape, rows.input_ids),
            "rule is not one of this source" if self.hidden else f"rule is not {self.rule}": known,
            "a grid does not follow by the row's rule": np.asarray((patches == wanted).all(axis=1)),
            **{
                f"{name} is not that of the row": column == rows[name]
                for name, column in self._facts(rows.input_ids, rules).items()
            },
        }

    def self_check(self) -> bool:
        """Compares candidates 0 and on with the definition, of a short row with few steps."""
        short = replace(
            self,
            warmup=min(self.warmup, LONGEST_WARMUP),
            stride=min(self.stride, LONGEST_STRIDE),
            seq_len=min(self.seq_len, LONGEST_ROW),
        )
        count = max(1, min(CHECKED, CHECKED_CELLS // (short.shape.frames * short.shape.cells)))
        key, candidates = (0, philox.STREAMS["train"]), np.arange(count, dtype=np.uint64)
        tokens = short.tokens(key, candidates)
        return np.array_equal(tokens, short.defined_tokens(key, candidates)) and short._facts_agree(tokens)

    def _facts_agree(self, tokens: np.ndarray) -> bool:
        """Whether the facts that are asked for are those of their definition. tokens: [row, token]."""
        if not (names := fact_columns.names_of(self.facts)):
            return True
        from ncagen.sources import grid_facts

        cells = grid_tokens.grids(self.shape, tokens).reshape(len(tokens), self.shape.frames, self.shape.cells)
        found, wanted = self._facts(tokens, np.zeros(len(tokens), np.int32)), grid_facts.defined(names, cells)
        return all(np.array_equal(found[name], column) for name, column in wanted.items())

    def grids(self) -> PatchGrids:
        """The grids of the rows."""
        return PatchGrids(self.shape)

    def candidate_work(self) -> int:
        """Estimates the time to score one candidate, in nanoseconds of one core.

        A step takes about a nanosecond a cell for all 64 candidates (docs/log.md).
        """
        steps = self.warmup + self.stride * (self.shape.frames - 1)
        return super().candidate_work() + steps * self.shape.cells // 64

    def noise_scores(self) -> np.ndarray:
        """The scores of grids of uniform cells: int32[sample], gzip bytes."""
        from ncagen.deflate.noise import noise_lengths

        return noise_lengths(2, self.shape.patch_cells, self.scored_tokens, self.shape.token_dtype)

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        """Warns of rows of one grid, which show no step of their rule."""
        if self.shape.frames > 1:
            return ()
        return (
            f"rows have one grid of {self.shape.size} cells, which shows no step of a rule: use a --seq-len of"
            f" {self.shape.tokens_per_grid} or more, or a smaller grid",
        )

    def _write(self, name: str, value: object) -> None:
        """Replaces a setting by another spelling of the same."""
        object.__setattr__(self, name, value)
