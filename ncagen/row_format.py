"""Describes a row to everyone but its source: its columns, its vocabulary, which tokens have no loss. NumPy only.

A source (`ncagen.sources`) says this of the rows it makes; a manifest stores it, so that a dataset is read, exported
and trained on without its source. Columns are listed here once, in `RowFormat.columns`: files, hashes, the card and
exports are loops over them. This module knows no automaton, no score and no file.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction

import numpy as np

from ncagen.errors import SpecError

# Types that a fact can have, and bytes of a value; those that dataset/parquet_pages.py decodes.
FACT_BYTES = {"int32": 4, "uint64": 8, "float32": 4}
CANDIDATE = "uint64"

MOST_ROW_TOKENS = 2**24

# Rows of a row group: small enough that reading one row decodes little (256 rows of 1026 tokens are half a megabyte).
# Of rows of 32,768 tokens or more fewer, so that a row group stays below 2**23 tokens.
ROW_GROUP_ROWS, USUAL_ROW_BITS = 256, 15

MOST_VOCABULARY = 2**32
MOST_FACTS = 64
MOST_STRUCTURAL = 4096
LONGEST = 60  # of a text that an error quotes


@dataclass(frozen=True)
class Column:
    """A stored value of each row. dtype: NumPy's name of it. doc: one phrase for people, in no hash."""

    name: str
    dtype: str
    doc: str = field(default="", compare=False)


@dataclass(frozen=True)
class Measure:
    """An integer fact that bands select rows by.

    column: the fact, such as gzip_bytes. ratio: the float32 fact that shows it as a ratio, such as gzip_ratio.
    denominator: the ratio is the fact divided by this, exactly.
    """

    column: str
    ratio: str
    denominator: Fraction

    def ratios(self, scores: np.ndarray) -> np.ndarray:
        """Scores as ratios. scores: int32[row]. Returns float32[row]."""
        return (scores / float(self.denominator)).astype(np.float32)

    def to_dict(self) -> dict:
        """Plain values, as they stand in a manifest."""
        return {"column": self.column, "ratio": self.ratio, "denominator": str(self.denominator)}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Measure":
        """The measure that `to_dict` wrote. Raises SpecError."""
        try:
            if not re.fullmatch("[0-9/]{1,40}", values["denominator"]):  # Fraction("1e999999999") takes gigabytes
                raise SpecError(f"the measure's denominator {values['denominator'][:LONGEST]!r} is not a fraction")
            found = cls(values["column"], values["ratio"], Fraction(values["denominator"]))
        except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
            raise SpecError(f"the measure is incomplete: {error}") from None
        if found.to_dict() != dict(values) or found.denominator <= 0:
            raise SpecError(f"the measure {dict(values)!r} is not as ncagen writes it")
        return found


def band_measure(measures: tuple[Measure, ...]) -> Measure | None:
    """Returns the measure that bands select rows by, the first; None where every candidate is a row."""
    return measures[0] if measures else None


@dataclass(frozen=True)
class RowFormat:
    """The geometry and the columns of a dataset's rows.

    vocabulary: ids are 0 to vocabulary - 1. row_tokens: stored tokens of a row. seq_len: tokens of a row that a model
    is given. unpredictable: tokens at a row's beginning that nothing before them predicts, without a loss by default.
    structural: ids that are no content, such as delimiters and document ends. facts: stored columns beside `input_ids`
    and `candidate`.
    """

    vocabulary: int
    row_tokens: int
    seq_len: int
    unpredictable: int = 0
    structural: tuple[int, ...] = ()
    facts: tuple[Column, ...] = ()

    def __post_init__(self):
        for name, least, most in (
            ("vocabulary", 1, MOST_VOCABULARY),
            ("row_tokens", 1, MOST_ROW_TOKENS),
            ("seq_len", 1, self.row_tokens),
            ("unpredictable", 0, self.row_tokens),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise SpecError(f"{name} {value!r} is out of range: use {least} to {most}")
        if len(self.structural) > MOST_STRUCTURAL or len(self.facts) > MOST_FACTS:
            raise SpecError(f"more than {MOST_STRUCTURAL} structural ids or {MOST_FACTS} facts")
        if any(type(i) is not int or not 0 <= i < self.vocabulary for i in self.structural):
            raise SpecError(f"structural ids {self.structural} are not ids: use 0 to {self.vocabulary - 1}")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names) or not all(type(name) is str and name.isidentifier() for name in names):
            raise SpecError(f"facts {names[2:]} are not names that differ from each other and other columns")
        if not all(column.dtype in FACT_BYTES for column in self.facts):
            raise SpecError(f"a fact has another type than {', '.join(FACT_BYTES)}")

    @property
    def token_dtype(self) -> str:
        """The narrower of uint16 and uint32 that holds every id."""
        return "uint16" if self.vocabulary <= 2**16 else "uint32"

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's tokens, before any encoding."""
        return self.row_tokens * (2 if self.token_dtype == "uint16" else 4)

    @property
    def group_rows(self) -> int:
        """Rows of a row group in its files."""
        return row_group_rows(self.row_tokens)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every stored column, in the order of the files."""
        tokens = Column("input_ids", self.token_dtype, "the tokens")
        return tokens, Column("candidate", CANDIDATE, "the number that the row is made again from"), *self.facts

    def is_structural(self, tokens: np.ndarray) -> np.ndarray:
        """Which tokens are structural. tokens: [..., token]. Returns bool of the same shape."""
        return np.isin(tokens, self.structural)

    def empty(self, rows: int) -> "Rows":
        """Columns for this many rows, to be filled."""
        shapes = {"input_ids": (rows, self.row_tokens)}
        return Rows({c.name: np.empty(shapes.get(c.name, (rows,)), c.dtype) for c in self.columns})

    def to_dict(self) -> dict:
        """Plain values, as they stand in a manifest."""
        facts = [{"name": column.name, "dtype": column.dtype} for column in self.facts]
        return asdict(self) | {"structural": list(self.structural), "facts": facts}

    @classmethod
    def from_dict(cls, values: Mapping) -> "RowFormat":
        """The row format that `to_dict` wrote. Raises SpecError."""
        try:
            facts = tuple(Column(**column) for column in values["facts"])
            return cls(**{**values, "structural": tuple(values["structural"]), "facts": facts})
        except (TypeError, KeyError, AttributeError) as error:
            raise SpecError(f"the row format is incomplete: {error}") from None


def row_group_rows(row_tokens: int) -> int:
    """Rows of a row group: 256, and of rows of 2**15 tokens or more 256 * 2**15 / row_tokens, to a power of two."""
    return max(1, ROW_GROUP_ROWS >> max(0, row_tokens.bit_length() - USUAL_ROW_BITS))


class Rows:
    """Rows as columns: `input_ids`, uint16 or uint32 [row, token], and one array [row] for each other column."""

    def __init__(self, columns: Mapping[str, np.ndarray]):
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(self.columns["candidate"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __repr__(self) -> str:
        return f"<Rows: {len(self):,} of {', '.join(self.columns)}>"

    @property
    def input_ids(self) -> np.ndarray:
        """uint16 or uint32 [row, token]."""
        return self.columns["input_ids"]

    @property
    def candidate(self) -> np.ndarray:
        """uint64[row]."""
        return self.columns["candidate"]

    def take(self, chosen: np.ndarray | slice) -> "Rows":
        """Some of the rows. chosen: indices [row], bool[row] or a slice."""
        return Rows({name: column[chosen] for name, column in self.columns.items()})

    def put(self, first: int, part: "Rows") -> None:
        """Writes rows over those from `first` on. part: rows with the same columns."""
        for name, column in self.columns.items():
            column[first : first + len(part)] = part[name]

    @classmethod
    def concatenate(cls, parts: Iterable["Rows"]) -> "Rows":
        """All rows of several parts, one after another; at least one part."""
        parts = list(parts)
        return cls({name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns})


@dataclass(frozen=True)
class SourceCard:
    """What a source says of its rows in words, for a dataset's card. Lines are Markdown.

    row: one in a phrase. details: settings worth a line, (name, text). columns: the stored columns with their docs.
    pretty_name: the card's title. tags: of the Hub. what: what a row is,
    and its settings. measure: what the measured ratio is; empty without one. loss: which tokens to leave out of the
    loss. limits: what nobody should expect, one item a line. citation: of the method, as a block of BibTeX.
    licence: the Hub's name of the data's licence, and a sentence that says it.
    """

    row: str
    details: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    pretty_name: str
    tags: tuple[str, ...]
    what: tuple[str, ...]
    measure: tuple[str, ...]
    loss: tuple[str, ...]
    limits: tuple[str, ...]
    citation: tuple[str, ...] = ()
    licence: tuple[str, str] = ("mit", "The data are under the MIT licence.")
