"""What a model is given of a row: inputs, labels, masks, packing. NumPy only; nothing of it is stored.

The label of an input is the token after it. Trainers differ in who shifts: with `labels="same"` (Hugging Face) label i
stands at the place of input i and the model shifts, with `labels="next"` label i is already the token after input i.
What has no loss is told in two ways: the label is `ignore_index`, and `loss_mask` is false.

What a rule does not determine is masked on request: the first grids, and the delimiters, which say nothing. The paper
masks the first grid alone. Which tokens have a loss follows from their place in a row alone; `targets` says it for
every reader and export.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.errors import NcagenError
from ncagen.numbers import whole
from ncagen.spec import Spec

LABELS = ("same", "next")
ATTENTION_MASKS = ("ones", "block")

# PyTorch's cross_entropy and Hugging Face leave out -100; nanoGPT and nanochat -1.
IGNORED = -100


@dataclass(frozen=True)
class Layout:
    """How rows become a model's inputs. Called with uint16 or uint32 tokens [row, token], it returns NumPy arrays.

    seq_len: tokens of a row that are used, the spec's own if left out. labels: "same", "next", or None for no labels.
    mask_grids: first grids without a loss. mask_delimiters: no loss on start-of-grid and end-of-grid.
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
    mask_grids: int = 1
    mask_delimiters: bool = False
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
        for name, least in (("seq_len", 2), ("mask_grids", 0), ("token_offset", 0), ("vocab_size", 1), ("pack", 1)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if self.ignore_index is not None:
            object.__setattr__(self, "ignore_index", whole("ignore_index", self.ignore_index, -(2**63), 2**63 - 1))
        self._check_together()

    def _check_together(self) -> None:
        if self.labels is None and self.loss_mask:
            raise NcagenError(f"loss_mask is of labels, and there are none: use labels {' or '.join(LABELS)}")
        if self.labels is not None and self.ignore_index is None and not self.loss_mask:
            raise NcagenError("without ignore_index nothing tells which labels have no loss: use loss_mask=True")
        if self.attention_mask == "ones" and self.pack > 1:
            raise NcagenError("attention_mask 'ones' lets packed rows attend to one another: use 'block', or None")

    def check(self, spec: Spec) -> None:
        """Raises NcagenError unless rows of this spec can be given so, with a label in each."""
        length, most = self.length(spec), spec.row_tokens - (self.labels == "next")
        if not 2 <= length <= most:
            raise NcagenError(f"seq_len {length} is out of range: a row of {spec.row_tokens} gives 2 to {most}")
        if self.mask_grids >= spec.frames:
            raise NcagenError(f"mask_grids {self.mask_grids} leaves no grid to learn from: use 0 to {spec.frames - 1}")
        if self.labels and not self.loss_mask_of(spec, length).any():
            least = next(n for n in range(length, most + 1) if self.loss_mask_of(spec, n).any())
            raise NcagenError(f"seq_len {length} leaves no label to learn from: use {least} to {most}")
        first, end = self.token_offset, self.token_offset + spec.vocabulary
        if self.vocab_size is not None and self.vocab_size < end:
            raise NcagenError(
                f"vocab_size {self.vocab_size} is too small: use {end} or more, for {spec.vocabulary} ids from"
                f" {first} on"
            )
        if self.labels and self.ignore_index is not None and first <= self.ignore_index < end:
            raise NcagenError(
                f"ignore_index {self.ignore_index} is an id of the rows, {first} to {end - 1}: use -100, -1 or another"
                " number that is none"
            )

    def length(self, spec: Spec) -> int:
        """Tokens of each row that are used."""
        return spec.seq_len if self.seq_len is None else self.seq_len

    def loss_mask_of(self, spec: Spec, length: int) -> np.ndarray:
        """Which labels of a row have a loss: bool[place]. A row's first token never has, since nothing is before it."""
        first = 1 if self.labels == "next" else 0
        return targets(spec, self.mask_grids, self.mask_delimiters)[first : first + length]

    def __call__(self, spec: Spec, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs and labels.

        tokens: the spec's uint16 or uint32 [row, token], whole rows. Returns int64 arrays [sequence, place]:
        `input_ids`, and as asked for `labels`; with pack > 1 `position_ids` and `document_ids`. As asked for also
        `loss_mask`, bool [sequence, place], and `attention_mask`, int64 [sequence, place] of ones or bool
        [sequence, 1, query place, key place], true where a query attends to a key. Rows that do not fill a last pack
        are left out. Raises NcagenError for other tokens.
        """
        _check_rows(spec, tokens)
        length = self.length(spec)
        sequences = len(tokens) // self.pack
        tokens = tokens[: sequences * self.pack]
        found = {"input_ids": tokens[:, :length].astype(np.int64) + self.token_offset}
        if self.labels:
            found |= self._labels(spec, tokens, length)
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

    def _labels(self, spec: Spec, tokens: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """labels, and loss_mask where asked: [row, place]."""
        first = 1 if self.labels == "next" else 0
        labels = tokens[:, first : first + length].astype(np.int64) + self.token_offset
        mask = self.loss_mask_of(spec, length)
        if self.ignore_index is not None:
            labels[:, ~mask] = self.ignore_index
        return (
            {"labels": labels, "loss_mask": np.tile(mask, (len(tokens), 1))} if self.loss_mask else {"labels": labels}
        )


def targets(spec: Spec, mask_grids: int = 1, mask_delimiters: bool = False) -> np.ndarray:
    """Which tokens of a row have a loss when they are predicted: bool[token]. The first never has."""
    token = np.arange(spec.row_tokens)
    found = token >= max(1, mask_grids * spec.tokens_per_grid)
    if mask_delimiters:
        place = token % spec.tokens_per_grid
        found &= (place > 0) & (place < spec.tokens_per_grid - 1)
    return found


def block_mask(length: int, rows: int) -> np.ndarray:
    """The causal mask of packed rows: bool [query place, key place], true for keys of the same row up to the query."""
    return np.kron(np.eye(rows, dtype=bool), np.tri(length, dtype=bool))


def _check_rows(spec: Spec, tokens: np.ndarray) -> None:
    """Raises NcagenError unless these are whole rows of a spec as they are stored."""
    if not isinstance(tokens, np.ndarray):
        raise NcagenError(f"tokens are a {type(tokens).__name__}: use a NumPy array of {spec.token_dtype} [row, token]")
    if tokens.dtype != spec.token_dtype:
        raise NcagenError(f"tokens are {tokens.dtype}: use {spec.token_dtype}, as these rows are stored")
    if tokens.ndim != 2 or tokens.shape[1] != spec.row_tokens:
        raise NcagenError(
            f"tokens of shape {tokens.shape} are not rows: use [row, {spec.row_tokens}], all tokens of each row"
        )
