"""Rows of bracket words as a source: `Dyck`. It only delegates.

The modules that make and read rows are imported when rows are requested: settings and texts need no numba.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ncagen import philox
from ncagen.row_format import Column, Rows, SourceCard
from ncagen.sources.dyck import card
from ncagen.sources.dyck.settings import ENDINGS, Settings, with_defaults
from ncagen.sources.source import Option
from ncagen.sources.token_source import TokenSource

CHECKED_CANDIDATES, CHECKED_TOKENS = 2, 256


@dataclass(frozen=True)
class Dyck(Settings, TokenSource):
    """Words of brackets of k types that nest or interleave, each with a document end after it."""

    name: ClassVar[str] = "dyck"
    version: ClassVar[int] = 1
    options: ClassVar[tuple[Option, ...]] = (
        Option("k", int, "Types of brackets, 1 to 32,767.  [64]"),
        Option("shuffle", bool, "Types interleave (k-shuffle-Dyck) instead of nesting (k-Dyck).  [off]"),
        Option("open_probability", str, "Of an opening bracket where a closing one may follow: 0.5, 1/3.  [0.5]"),
        Option("uniform", bool, "All words of a length are equally likely, by exact counts.  [off]"),
        Option("min_depth", int, "Least depth of a word: brackets that are open at once.  [1]"),
        Option("max_depth", int, "Largest depth of a word.  [16]"),
        Option("length", int, "Tokens of a word, even.  [one word fills the row]"),
        Option("min_length", int, "Draw the length of each word, from this to --length.  [--length]"),
        Option("ending", str, f"{' or '.join(ENDINGS)}: whole words, or a row that ends within a word.  [closed]"),
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any], seq_len: int) -> Self:
        """Makes a source from settings as a user types them; missing ones have their defaults. Raises SpecError."""
        return super().from_options(with_defaults(options, seq_len), seq_len)

    @property
    def alphabet(self) -> int:
        """Number of brackets, opening and closing."""
        return 2 * self.k

    @property
    def structural(self) -> tuple[int, ...]:
        """The document end."""
        return (self.end,)

    @property
    def content_tokens(self) -> int:
        """Number of brackets that every row has; where lengths are drawn, a lower bound."""
        if self.min_length == self.length:
            return len(self._brackets())
        most_ends = self.row_tokens // (self.min_length + 1) + 1 + 2 * self.min_depth
        return max(self.min_length, self.row_tokens - most_ends)

    def _brackets(self) -> np.ndarray:
        """Where rows have brackets, if all words have one length: int64[content token]."""
        if self.cut:
            return np.arange(self.row_tokens)
        places = np.arange(self.row_tokens)
        begins = places // (self.length + 1) * (self.length + 1)
        left = self.row_tokens - begins
        length = np.where(left > 2 * self.min_depth, np.minimum(self.length, (left - 1) // 2 * 2), 0)
        return places[places - begins < length]

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """Largest and mean depth."""
        return (
            Column("depth", "int32", "most brackets that are open at once"),
            Column("mean_depth", "float32", "mean of the open brackets after each bracket"),
        )

    def tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Makes rows: uint16[candidate, token]. key: seed and stream. candidates: uint64[candidate]."""
        from ncagen.sources.dyck import make

        return make.rows(self, key, candidates)

    def content(self, tokens: np.ndarray) -> np.ndarray:
        """Leaves out document ends: the first `content_tokens` brackets of each row. tokens: [row, token]."""
        if self.min_length == self.length:
            brackets = self._brackets()
            one_word = len(brackets) == brackets[-1] + 1
            return tokens[:, : len(brackets)] if one_word else tokens[:, brackets]
        order = np.argsort(tokens == self.end, axis=1, kind="stable")[:, : self.content_tokens]
        return np.take_along_axis(tokens, order, axis=1)

    def extra_facts(self, tokens: np.ndarray, key: tuple[int, int], candidates: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the depths: arrays [row] by name. tokens: [row, token]."""
        from ncagen.sources.dyck import parse

        return parse.facts(self, tokens)

    def token_problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks the words and both columns. Returns as `problems`."""
        from ncagen.sources.dyck import parse

        found = parse.facts(self, rows.input_ids)
        return {
            **parse.problems(self, rows.input_ids),
            **{f"{name} is not that of the row's brackets": value == rows[name] for name, value in found.items()},
        }

    def self_check(self) -> bool:
        """Compares two candidates with the definition, with words of at most CHECKED_TOKENS."""
        from ncagen.sources.dyck import definition, make

        settings, key = self._shortened(), (0, philox.STREAMS["pilot"])
        candidates = np.arange(CHECKED_CANDIDATES, dtype=np.uint64)
        return np.array_equal(make.rows(settings, key, candidates), definition.rows(settings, key, candidates))

    def _shortened(self) -> "Dyck":
        """The source, with shorter rows, and with words less deep where the counts of deep ones take long."""
        row = min(self.row_tokens, CHECKED_TOKENS + 1)
        length, shortest = (row if self.cut else min(n, (row - 1) // 2 * 2) for n in (self.length, self.min_length))
        deepest = shortest if self.cut else shortest // 2
        most = min(self.max_depth, deepest, 6 if self.uniform and self.shuffle else deepest)
        return replace(
            self,
            seq_len=row - 1,
            length=length,
            min_length=shortest,
            max_depth=most,
            min_depth=min(self.min_depth, most),
        )

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return card.card(self, self.row_format.columns)
