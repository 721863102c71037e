"""Combines rows of several formats in one batch: ncagen's rows with a user's tokens. NumPy only.

Each format has a layout. All rows of a batch are laid out under each of them, and each row is taken from the layout of
the format it has. So packing and any added columns are the same for all rows.
"""

from collections.abc import Sequence

import numpy as np

from ncagen.dataset.gather import distinct
from ncagen.dataset.layout import Layout
from ncagen.dataset.reader import Dataset
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.row_format import RowFormat

Part = Dataset | Tokens
Batch = dict[str, np.ndarray]


class Formats:
    """The formats of a stream's parts, and how their rows are gathered and laid out."""

    def __init__(self, parts: Sequence[Part], layout: Layout | None):
        """parts: datasets of one shape (see `Mixture`) and tokens. Raises NcagenError."""
        formats = _formats(parts)
        self._layout, self._parts = layout, parts
        self._layouts: list[tuple[RowFormat, Layout]] = []
        self._of = np.zeros(len(parts), np.int64)  # the place of each part's format in this list
        if layout is not None:
            mine = [part.own_layout(layout) if isinstance(part, Tokens) else layout for part in parts]
            for some, row_format in zip(mine, formats, strict=True):
                some.check(row_format)
            self._layouts = list(dict.fromkeys(zip(formats, mine, strict=True)))
            self._of[:] = [self._layouts.index(pair) for pair in zip(formats, mine, strict=True)]
            self._check_lengths()
        elif tokens := next((part for part in parts if isinstance(part, Tokens)), None):
            raise NcagenError(f"{tokens.folder} has input_ids alone: give a layout, as in layout=ncagen.Layout()")
        self._columns = [column.name for column in formats[0].columns] if layout is None else ["input_ids"]
        self._tokens = max(some.row_tokens for some in formats)
        self._dtype = max((some.token_dtype for some in formats), key=lambda name: np.dtype(name).itemsize)

    def gather(self, part: np.ndarray, numbers: Sequence[np.ndarray]) -> Batch:
        """Rows as they are stored, filled up with zeros where the rows of another format are longer.

        part: the part of each row, int64[row]. numbers: for each part the row numbers that are wanted of it, in their
        order. Raises DamagedShard.
        """
        if len(self._parts) == 1:
            return self._parts[0].rows(numbers[0], self._columns)
        found: Batch = {}
        for i in distinct(part).tolist():
            here = part == i
            for name, column in self._parts[i].rows(numbers[i], self._columns).items():
                if name == "input_ids":
                    found.setdefault(name, np.zeros((len(part), self._tokens), self._dtype))
                    found[name][here, : column.shape[1]] = column
                else:
                    found.setdefault(name, np.empty(len(part), column.dtype))[here] = column
        return found

    def lay_out(self, part: np.ndarray, rows: Batch) -> Batch:
        """A batch of gathered rows as the layout has it; as they are, without one. part: int64[row]."""
        if self._layout is None:
            return rows
        kinds = self._of[part]
        first, *others = distinct(kinds).tolist() or [0]
        found = self._under(first, rows)
        for kind in others:
            found = _chosen(kinds == kind, self._under(kind, rows), found, self._layout.pack)
        return found

    def _under(self, kind: int, rows: Batch) -> Batch:
        """All rows under one format's layout; what it makes of the others is not used."""
        row_format, layout = self._layouts[kind]
        tokens = rows["input_ids"][:, : row_format.row_tokens]
        return layout(row_format, tokens.astype(row_format.token_dtype, copy=False))

    def _check_lengths(self) -> None:
        lengths = sorted({layout.length(row_format) for row_format, layout in self._layouts})
        if len(lengths) > 1:
            raise NcagenError(
                f"the parts have rows of seq_len {' and '.join(map(str, lengths))}: use Layout(seq_len={lengths[0]}),"
                " or Tokens of the same seq_len"
            )


def _formats(parts: Sequence[Part]) -> list[RowFormat]:
    """The format of each part. Datasets of a mixture have one shape."""
    return [part.row_format for part in parts]


def _chosen(here: np.ndarray, mine: Batch, others: Batch, pack: int) -> Batch:
    """For the rows that are here, their columns of the one batch, and for all others of the other. here: bool[row]."""
    found = dict(others)  # an attention mask between places is the same for all rows
    for name in [name for name, column in others.items() if column.ndim == 2]:
        rows, length = len(others[name]) * pack, others[name].shape[1] // pack
        chosen = np.where(here[:rows, None], *(some[name].reshape(rows, length) for some in (mine, others)))
        found[name] = chosen.reshape(others[name].shape)
    return found
