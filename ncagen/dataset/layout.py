"""Makes a model's inputs, labels, masks and packing from rows. NumPy only; nothing of it is stored.

The label of an input is the token after it. Trainers differ in where labels are shifted: with `labels="same"` (Hugging
Face) label i is at the position of input i and the model shifts, with `labels="next"` label i is already the token
after input i. Positions without a loss are marked twice: the label is `ignore_index`, and `loss_mask` is false.

Unpredictable tokens are masked: those at the beginning of a row and, on request, the structural ones, such as
delimiters, which carry no information. The `RowFormat` defines how many come first and which ids are structural; for
rows of automata these are the first grid, which the paper masks too, and the two delimiters. Every reader and export
takes the positions that have a loss from `targets`.
"""

from dataclasses import dataclass, fields

import numpy as np

from ncagen.errors import NcagenError
from ncagen.numbers import whole
from ncagen.row_format import RowFormat

LABELS = ("same", "next")
ATTENTION_MASKS = ("ones", "block")

# PyTorch's cross_entropy and Hugging Face leave out -100; nanoGPT and nanochat -1.
IGNORED = -100


@dataclass(frozen=True)
class Layout:
    """How rows become a model's inputs. Called with uint16 or uint32 tokens [row, token], it returns NumPy arrays.

    seq_len: tokens of a row that are used, the spec's own if left out. labels: "same", "next", or None for no labels.
    mask_first: tokens at a row's beginning without a loss; the row format's `unpredictable` if left out.
    mask_structural: no loss on structural tokens, such as start-of-grid and end-of-grid.
    ignore_index: the label of what has no loss; None leaves the token there, for a loss that reads `loss_mask`.
    loss_mask: give `loss_mask`, true where a label has a loss. attention_mask: "ones", the mask of sequences without
    padding; "block", which keeps packed rows from attending to one another; or None for none.
    token_offset: added to every id, where a model keeps its first ids for something else. vocab_size: the model's,
    which must hold every id. pack: rows that follow each other in one sequence, with `position_ids` that start anew
    with each and `document_ids` that tell them apart.

    Whole numbers may be scalars of NumPy or torch. Raises NcagenError for a value that no layout can have.
    """

    seq_len: int | None = None
    labels: str | None = "same"
    mask_first: int | None = None
    mask_structural: bool = False
    token_offset: int = 0
    vocab_size: int | None = None
    pack: int = 1
    ignore_index: int | None = IGNORED
    loss_mask: bool = False
    attention_mask: str | None = None

    def __post_init__(self):
        for name, allowed in (("labels", LABELS), ("attention_mask", ATTENTION_MASKS)):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise NcagenError(f"{name} {value!r} is not known: use {', '.join(allowed)} or None")
        for name, least in (("seq_len", 2), ("mask_first", 0), ("token_offset", 0), ("vocab_size", 1), ("pack", 1)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if self.ignore_index is not None:
            object.__setattr__(self, "ignore_index", whole("ignore_index", self.ignore_index, -(2**63), 2**63 - 1))
        self._check_together()

    def __repr__(self) -> str:
        """The options that differ from their defaults, as a Python expression."""
        given = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        return f"Layout({', '.join(f'{name}={value!r}' for name, value, default in given if value != default)})"

    def _check_together(self) -> None:
        if self.labels is None and self.loss_mask:
            raise NcagenError(f"loss_mask needs labels: use labels {' or '.join(LABELS)}")
        if self.labels is not None and self.ignore_index is None and not self.loss_mask:
            raise NcagenError("without ignore_index, labels without a loss are not marked: use loss_mask=True")
        if self.attention_mask == "ones" and self.pack > 1:
            raise NcagenError("attention_mask 'ones' lets packed rows attend to one another: use 'block', or None")

    def check(self, row_format: RowFormat) -> None:
        """Raises NcagenError unless rows of this format fit the layout, with a label in each row."""
        self._check_length(row_format)
        length, most = self.length(row_format), self._most(row_format)
        if self.mask_first is not None and self.mask_first >= row_format.row_tokens:
            raise NcagenError(
                f"mask_first {self.mask_first} leaves no token to learn from: use 0 to {row_format.row_tokens - 1}"
            )
        if self.labels and not self._places(row_format, length).any():
            least = next(n for n in range(length, row_format.row_tokens + 1) if self._places(row_format, n).any())
            raise NcagenError(f"seq_len {length} leaves no label to learn from: use {least} to {most}")
        first, end = self.token_offset, self.token_offset + row_format.vocabulary
        if self.vocab_size is not None and self.vocab_size < end:
            raise NcagenError(
                f"vocab_size {self.vocab_size} is too small: use {end} or more, for {row_format.vocabulary} ids from"
                f" {first} on"
            )
        if self.labels and self.ignore_index is not None and first <= self.ignore_index < end:
            raise NcagenError(
                f"ignore_index {self.ignore_index} is an id of the rows, {first} to {end - 1}: use -100, -1 or another"
                " number that is none"
            )

    def _check_length(self, row_format: RowFormat) -> None:
        if not 2 <= self.length(row_format) <= self._most(row_format):
            row = f"a row of {row_format.row_tokens} gives 2 to {self._most(row_format)}"
            raise NcagenError(f"seq_len {self.length(row_format)} is out of range: {row}")

    def _most(self, row_format: RowFormat) -> int:
        """The most tokens of a row that have a label each, where there are labels."""
        return row_format.row_tokens - (self.labels == "next")

    def length(self, row_format: RowFormat) -> int:
        """Tokens of each row that are used."""
        return row_format.seq_len if self.seq_len is None else self.seq_len

    def _places(self, row_format: RowFormat, length: int) -> np.ndarray:
        """The positions whose labels may have a loss: bool[position]."""
        first = 1 if self.labels == "next" else 0
        return targets(row_format, self.mask_first)[first : first + length]

    def __call__(self, row_format: RowFormat, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs and labels.

        tokens: the row format's uint16 or uint32 [row, token], whole rows. Returns int64 arrays [sequence, position]:
        `input_ids`, and if requested `labels`; with pack > 1 `position_ids` and `document_ids`. If requested also
        `loss_mask`, bool [sequence, position], and `attention_mask`, int64 [sequence, position] of ones or bool
        [sequence, 1, query position, key position], true where a query attends to a key. Rows that do not fill a last
        pack are left out. Raises NcagenError for other tokens, and for a seq_len that is longer than a row.
        """
        self._check_length(row_format)
        _check_rows(row_format, tokens)
        length = self.length(row_format)
        sequences = len(tokens) // self.pack
        tokens = tokens[: sequences * self.pack]
        found = {"input_ids": tokens[:, :length].astype(np.int64) + self.token_offset}
        if self.labels:
            found |= self._labels(row_format, tokens, length)
        if self.pack > 1:
            found = {name: column.reshape(sequences, self.pack * length) for name, column in found.items()}
            found["position_ids"] = np.tile(np.arange(length), (sequences, self.pack))
            found["document_ids"] = np.tile(np.repeat(np.arange(self.pack), length), (sequences, 1))
        if self.attention_mask == "ones":
            found["attention_mask"] = np.ones_like(found["input_ids"])
        elif self.attention_mask == "block":
            mask = block_mask(length, self.pack)
            found["attention_mask"] = np.tile(mask, (sequences, 1, 1, 1))
        return found

    def _labels(self, row_format: RowFormat, tokens: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Labels, and loss_mask if requested: [row, position]."""
        first = 1 if self.labels == "next" else 0
        used = tokens[:, first : first + length]
        labels = used.astype(np.int64) + self.token_offset
        places = self._places(row_format, length)
        if not self.mask_structural:
            if self.ignore_index is not None:
                labels[:, ~places] = self.ignore_index
            return {"labels": labels} | ({"loss_mask": np.tile(places, (len(tokens), 1))} if self.loss_mask else {})
        mask = places & ~row_format.is_structural(used)
        if not mask.any(axis=1).all():
            raise NcagenError(f"seq_len {length} leaves a row without a label: use more, or mask_structural=False")
        if self.ignore_index is not None:
            labels[~mask] = self.ignore_index
        return {"labels": labels} | ({"loss_mask": mask} if self.loss_mask else {})


def targets(row_format: RowFormat, mask_first: int | None = None) -> np.ndarray:
    """Which tokens of a row have a loss when they are predicted: bool[token]. The first never has.

    mask_first: tokens at the beginning that have none; the row format's `unpredictable` if left out.
    """
    first = row_format.unpredictable if mask_first is None else mask_first
    return np.arange(row_format.row_tokens) >= max(1, first)


def block_mask(length: int, rows: int) -> np.ndarray:
    """The causal mask of packed rows: bool [query position, key position], true for earlier keys of the row."""
    return np.kron(np.eye(rows, dtype=bool), np.tri(length, dtype=bool))


def _check_rows(row_format: RowFormat, tokens: np.ndarray) -> None:
    """Raises NcagenError unless these are whole rows of a format as they are stored."""
    if not isinstance(tokens, np.ndarray):
        raise NcagenError(
            f"tokens are a {type(tokens).__name__}: use a NumPy array of {row_format.token_dtype} [row, token]"
        )
    if tokens.dtype != row_format.token_dtype:
        raise NcagenError(f"tokens are {tokens.dtype}: use {row_format.token_dtype}, as these rows are stored")
    if tokens.ndim != 2 or tokens.shape[1] != row_format.row_tokens:
        raise NcagenError(
            f"tokens of shape {tokens.shape} are not rows: use [row, {row_format.row_tokens}], all tokens of each row"
        )
