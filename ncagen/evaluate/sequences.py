"""Reads sequences as an oracle needs them: which token of which row is at a position, and what the position is. NumPy.

Also decides whether the arguments of a model keep packed rows apart. Not covered: a model that finds the ends of rows
by their ids alone.
"""

from collections.abc import Mapping

import numpy as np

from ncagen.evaluate.find_rows import Piece, RowFinder

# Parts of names of arguments that hold labels or weights: they say nothing of attention.
NOT_ATTENTION = ("label", "target", "loss")
ATTENDS = -1.0  # an additive mask holds 0 where a query attends, and a large negative number where not
NOTHING = -1


class Sequences:
    """Sequences of ids with the rows found in them.

    ids: int64[sequence, position]. piece: int64[sequence, position], the number of the row's piece in `pieces`, -1
    where there is none. index: int64[sequence, position], the token's number in its row, -1 where there is none.
    padding: bool[sequence, position], outside all rows, and hidden by the attention mask or all of one id.
    """

    def __init__(self, ids: np.ndarray, finder: RowFinder, hidden: np.ndarray | None = None):
        """hidden: bool[sequence, position], true where a mask of the model's says that there is no token."""
        self.ids = ids
        self.row_format = finder.row_format
        self.pieces = finder.find(ids)
        self.piece, self.index = np.full(ids.shape, NOTHING), np.full(ids.shape, NOTHING)
        for number, piece in enumerate(self.pieces):
            here = (piece.sequence, slice(piece.start, piece.start + piece.length))
            self.piece[here], self.index[here] = number, np.arange(piece.length)
        self.padding = self._padding(hidden)

    def ahead(self, shift: int) -> np.ndarray:
        """The row's token `shift` positions on, as an id of the sequence: int64[sequence, position], -1 if unknown.

        At a row's end these are the row's own next tokens, not those of the next row in the sequence. Outside all rows
        it is the sequence's own token; -1 for padding.
        """
        padding = self.padding | self._shifted(self.padding, shift, True)
        found = np.where(padding, NOTHING, self._shifted(self.ids, shift, NOTHING))
        for number, piece in enumerate(self.pieces):
            here = self.piece == number
            at = self.index[here] + shift
            known = (at >= 0) & (at < len(piece.tokens))
            found[here] = np.where(known, piece.tokens[at.clip(0, len(piece.tokens) - 1)] + piece.offset, NOTHING)
        return found

    def kinds(self, shift: int, mask_first: int) -> dict[str, np.ndarray]:
        """Kinds of positions by what is predicted `shift` tokens on: bool[sequence, position] by name.

        mask_first: tokens at a row's beginning that are to have no loss.
        """
        at = np.where(self.index >= 0, self.index + shift, NOTHING)
        grid, structural = self.row_format.unpredictable, self.row_format.is_structural(self._stored(shift))
        other = self._shifted(self.piece, shift, NOTHING)
        padding = self.padding | self._shifted(self.padding, shift, False)
        ends = (self.piece >= 0) & (other >= 0) & (other != self.piece)
        return {
            "padding": padding,
            "row ends": ends,
            "unknown": (self.ahead(shift) < 0) & ~padding & ~ends,
            "last": np.broadcast_to(np.arange(self.ids.shape[1]) >= self.ids.shape[1] - max(1, shift), self.ids.shape),
            "masked": (at >= 1) & (at < mask_first),
            "masked but the last": (at >= 1) & (at < mask_first - 1),
            "first counted": at == max(1, mask_first),
            "first counted grid": (at >= mask_first) & (at < mask_first + grid),
            "structural": structural & (at > mask_first),
            "rows": at >= 1,
        }

    def attends_to_others(self, others: Mapping[str, np.ndarray], restarts: bool) -> np.ndarray:
        """Where a model would see tokens of other rows: bool[sequence, position].

        others: arguments of the model beside the ids, as arrays. restarts: whether positions that start anew keep
        rows apart, as in transformers without an attention mask and without a cache.
        """
        found = np.zeros(self.ids.shape, bool)
        for piece in self.pieces:
            before = ~self.padding[piece.sequence, : piece.start]
            if before.any() and not _is_apart(piece, self.ids.shape, others, restarts):
                found[piece.sequence, piece.start : piece.start + piece.length] = True
        return found

    @property
    def outside(self) -> np.ndarray:
        """Neither of a row nor padding: bool[sequence, position]."""
        return (self.piece < 0) & ~self.padding

    def own(self, shift: int) -> np.ndarray:
        """The sequence's token `shift` positions on, of whatever row or padding; its last beyond its end."""
        beyond = self._shifted(self.ids, shift, NOTHING)
        return np.where(beyond < 0, self.ids, beyond)

    def wrong(self, known: np.ndarray, shift: int) -> np.ndarray:
        """Ids that no label can be, whatever is right: int64[sequence, position]. known: what a row says is right."""
        found = np.full_like(known, NOTHING)
        for some_id in range(1, 6):  # five ids, of which at most four are one of these
            labels = (known, self.ids, self.own(shift), self.own(1))
            free = (found < 0) & ~np.any([label == some_id for label in labels], axis=0)
            found[free] = some_id
        return found

    def _padding(self, hidden: np.ndarray | None) -> np.ndarray:
        """Stretches outside all rows that are hidden or of one id."""
        padding = np.zeros(self.ids.shape, bool)
        for sequence, outside in enumerate(self.piece < 0):
            edges = np.flatnonzero(np.diff(outside, prepend=False, append=False))
            for start, end in edges.reshape(-1, 2):
                padding[sequence, start:end] = len(np.unique(self.ids[sequence, start:end])) == 1
        return padding if hidden is None else padding | (hidden & (self.piece < 0))

    def _stored(self, shift: int) -> np.ndarray:
        """The tokens `shift` on as they are stored, without an offset."""
        offsets = np.array([piece.offset for piece in self.pieces] + [0])
        return self.ahead(shift) - offsets[self.piece]

    @staticmethod
    def _shifted(array: np.ndarray, shift: int, end) -> np.ndarray:
        """array[sequence, position + shift]; `end` beyond the sequence."""
        found = np.full_like(array, end)
        length = array.shape[1]
        here = slice(max(0, -shift), max(0, min(length, length - shift)))
        found[:, here] = array[:, here.start + shift : here.stop + shift]
        return found


def _is_apart(piece: Piece, shape: tuple[int, ...], others: Mapping[str, np.ndarray], restarts: bool) -> bool:
    """Whether an argument of the model keeps a row from attending to what is before it in its sequence."""
    return any(
        _separates(name, array, piece, shape, restarts)
        for name, array in others.items()
        if not any(part in name for part in NOT_ATTENTION)
    )


def _separates(name: str, array: np.ndarray, piece: Piece, shape: tuple[int, ...], restarts: bool) -> bool:
    rows, length = shape
    start = piece.start
    if array.shape == shape and array.dtype.kind in "iu":
        before, here = array[piece.sequence, start - 1 : start + 1]
        return restarts and here <= before if name == "position_ids" else here != before
    if array.ndim >= 2 and array.shape[-2:] == (length, length):
        masks = array.reshape(-1, length, length)
        mask = masks[piece.sequence * len(masks) // rows, start : start + piece.length, :start]
        return not (mask if mask.dtype == bool else mask > ATTENDS).any()
    if array.ndim == 1 and array.dtype.kind in "iu":  # cumulative lengths of rows, as kernels of variable length take
        return piece.sequence * length + start in array
    return False
