"""What a model is given of a row: inputs, labels, masks, packing. NumPy only; nothing of it is stored.

The label of an input is the token after it. Trainers differ in who shifts: with `labels="same"` (Hugging Face) label i
stands at the place of input i and the model shifts, with `labels="next"` label i is already the token after input i.
A label of -100 is left out of the loss, as PyTorch's cross-entropy has it.

What a rule does not determine is masked on request: the first grids, and the delimiters, which say nothing. The paper
masks the first grid alone.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.errors import NcagenError
from ncagen.spec import Spec

IGNORED = -100
LABELS = ("same", "next")


@dataclass(frozen=True)
class Layout:
    """How rows become a model's inputs. Called with uint16 or uint32 tokens [row, token], it returns int64 arrays.

    seq_len: tokens of a row that are used, the spec's own if left out. labels: "same", "next", or None for no labels.
    mask_grids: first grids without a loss. mask_delimiters: no loss on start-of-grid and end-of-grid.
    token_offset: added to every id, where a model keeps its first ids for something else. vocab_size: the model's,
    which must hold every id. pack: rows that follow each other in one sequence, with `position_ids` that start anew
    with each and `document_ids` that tell them apart.
    """

    seq_len: int | None = None
    labels: str | None = "same"
    mask_grids: int = 1
    mask_delimiters: bool = False
    token_offset: int = 0
    vocab_size: int | None = None
    pack: int = 1

    def __post_init__(self):
        if self.labels is not None and self.labels not in LABELS:
            raise NcagenError(f"labels {self.labels!r} are not known: use {', '.join(LABELS)} or None")
        for name, least in (("mask_grids", 0), ("token_offset", 0), ("pack", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise NcagenError(f"{name} {value!r} is out of range: use {least} or more")

    def check(self, spec: Spec) -> None:
        """Raises NcagenError unless rows of this spec can be given so."""
        most = spec.row_tokens - (self.labels == "next")
        if not 2 <= self.length(spec) <= most:
            raise NcagenError(
                f"seq_len {self.length(spec)} is out of range: a row of {spec.row_tokens} gives 2 to {most}"
            )
        if self.mask_grids >= spec.frames:
            raise NcagenError(f"mask_grids {self.mask_grids} leaves no grid to learn from: use 0 to {spec.frames - 1}")
        if self.vocab_size is not None and self.vocab_size < self.token_offset + spec.vocabulary:
            raise NcagenError(
                f"vocab_size {self.vocab_size} is too small: use {self.token_offset + spec.vocabulary} or more, for"
                f" {spec.vocabulary} ids from {self.token_offset} on"
            )

    def length(self, spec: Spec) -> int:
        """Tokens of each row that are used."""
        return spec.seq_len if self.seq_len is None else self.seq_len

    def __call__(self, spec: Spec, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs and labels.

        tokens: uint16 or uint32 [row, token]. Returns int64 arrays [sequence, place]: `input_ids`, and as asked for
        `labels`, and `position_ids` and `document_ids`. Rows that do not fill a last pack are left out.
        """
        length = self.length(spec)
        found = {"input_ids": tokens[:, :length].astype(np.int64) + self.token_offset}
        if self.labels:
            found["labels"] = self._labels(spec, tokens, length)
        if self.pack > 1:
            found = {name: self._packed(column) for name, column in found.items()}
            rows = len(found["input_ids"])
            found["position_ids"] = np.tile(np.arange(length), (rows, self.pack))
            found["document_ids"] = np.tile(np.repeat(np.arange(self.pack), length), (rows, 1))
        return found

    def _labels(self, spec: Spec, tokens: np.ndarray, length: int) -> np.ndarray:
        first = 1 if self.labels == "next" else 0
        labels = tokens[:, first : first + length].astype(np.int64) + self.token_offset
        labels[:, : max(0, self.mask_grids * spec.tokens_per_grid - first)] = IGNORED
        if self.mask_delimiters:
            labels[labels >= self.token_offset + spec.patch_ids] = IGNORED
        if self.labels == "same" and self.pack > 1:
            labels[:, 0] = IGNORED  # the model shifts: the row before would be asked for it
        return labels

    def _packed(self, column: np.ndarray) -> np.ndarray:
        whole = len(column) // self.pack
        return column[: whole * self.pack].reshape(whole, self.pack * column.shape[1])
