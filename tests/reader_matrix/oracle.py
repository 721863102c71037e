"""The row numbers that a reader must give, from the order's pure function alone; nothing of `Stream` is used.

Rows are recognised by the bytes of their first 1,024 tokens, which are all different in the matrix's dataset.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

import ncagen
from ncagen.dataset.shuffle import Shuffle

SEED = 5
ROWS = 97  # a prime: no batch size, number of ranks or pack divides it
VALIDATION = 20
BATCH = 10
LENGTH = 1024

# A build whose rows fill a part of a second.
SETTINGS = {
    "tokens": ROWS * LENGTH,
    "validation": VALIDATION * LENGTH,
    "bands": ["high"],
    "rows_per_shard": 32,
}
FLAGS = [f"--tokens={ROWS * LENGTH}", f"--validation={VALIDATION * LENGTH}", "--band=high", "--rows-per-shard=32"]

Batches = list[list[int]]  # row numbers


class Oracle:
    """A dataset of SETTINGS, and what its readers must give."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = ncagen.open(folder, band="high")
        self.held_out = ncagen.open(folder, split="validation", band="high")
        tokens = self.data.rows(np.arange(len(self.data)))["input_ids"][:, :LENGTH].astype(np.int64)
        self._number = {row.tobytes(): number for number, row in enumerate(tokens)}
        assert len(self.data) == len(self._number) == ROWS and len(self.held_out) == VALIDATION
        self._order = Shuffle(self.data.shards, SEED)

    def order(self, epoch: int) -> list[int]:
        """The row number at each position of an epoch."""
        return self._order.rows(epoch, np.arange(ROWS)).tolist()

    def rest(self, epoch: int, position: int = 0, *, rank: int = 0, world: int = 1, batch: int = BATCH) -> Batches:
        """A rank's batches of an epoch from a position on, the last rows left out where ranks cannot share them."""
        rows = self.order(epoch)[position:]
        mine = rows[rank::world][: len(rows) // world]
        return cut(mine, batch)

    def numbers(self, batch) -> list[int]:
        """The row numbers of a batch of inputs, or of a batch that is a mapping with them; -1 for no row of ours."""
        inputs = np.asarray(batch["input_ids"] if hasattr(batch, "keys") else batch)
        rows = inputs.reshape(-1, LENGTH if inputs.shape[-1] % LENGTH == 0 else inputs.shape[-1])[:, :LENGTH]
        return [self._number.get(row.astype(np.int64).tobytes(), -1) for row in rows]


def cut(rows: list[int], batch: int) -> Batches:
    """Rows in batches, the last as short as it is."""
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]


def dealt(rows: list[int], rank: int, world: int, batch: int) -> Batches:
    """A rank's batches where a framework cuts the order into batches first, and deals these out in turn."""
    return cut(rows, batch)[rank::world]


def flat(batches: Iterable[list[int]]) -> list[int]:
    """The rows of batches."""
    return [row for batch in batches for row in batch]
