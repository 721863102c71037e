"""Rows as the rungs read them: patches by grid, and the cells of the grids where rows have any.

Rows of a source without grids are cut into `PARTS` equal parts, which stand for grids; their tokens stand for
patches. Not covered: reading flat files of tokens (`ncagen.audit`).
"""

from dataclasses import dataclass

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.numbers import whole
from ncagen.sources import source_of
from ncagen.sources.grid_tokens import PatchGrids, patches_of
from ncagen.sources.patches import DELIMITERS, GridRows, Patching

PARTS = 16
# Rows that the frequencies of ids are estimated from, and their tokens, of rows of more than 16,384 fewer.
MOST_CORPUS, CORPUS_TOKENS = 2000, 2**25


@dataclass(frozen=True, eq=False)
class Sample:
    """Some rows of a dataset or of a file.

    ids: patches are 0 to ids - 1. patches: int64[row, grid, patch]. delimiters: of a grid. corpus: the ids that occur
    in these rows and others, int64[id] in rising order, and how often. seed: of the sample and of random starts.
    """

    ids: int
    patches: np.ndarray
    delimiters: int
    corpus: tuple[np.ndarray, np.ndarray]
    seed: int

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def grids(self) -> int:
        """Number of grids in a row."""
        return self.patches.shape[1]


@dataclass(frozen=True, eq=False)
class GridSample(Sample):
    """Rows of grids. shape: states and sizes. cells: uint8[row, grid, y, x]."""

    shape: Patching
    cells: np.ndarray


def numbers_of(length: int, rows: int, seed: int = 0) -> np.ndarray:
    """The rows of a sample, evenly spaced: int64[row].

    length: how many rows there are. rows: how many to take, all if there are fewer. seed: the first row taken, modulo
    the distance between two. Raises NcagenError for numbers out of range.
    """
    rows, seed = min(whole("rows", rows, 1), length), whole("seed", seed, 0, 2**32 - 1)
    return np.arange(rows) * length // rows + seed % (length // rows)


def sample_of(dataset: Dataset, rows: int, seed: int = 0) -> Sample:
    """Reads a sample of a dataset. Raises NcagenError, DamagedShard."""
    numbers = numbers_of(len(dataset), rows, seed)
    corpus_rows = min(MOST_CORPUS, max(1, CORPUS_TOKENS // dataset.row_format.row_tokens))
    others = numbers_of(len(dataset), max(corpus_rows, len(numbers)))
    source = source_of(dataset.manifest.spec)
    ids = _tokens(dataset, numbers)
    drawn = source.grids()
    if not isinstance(drawn, PatchGrids):
        part = cut(ids)
        corpus = frequencies(part, cut(_tokens(dataset, np.setdiff1d(others, numbers))))
        return Sample(dataset.row_format.vocabulary, part, 0, corpus, seed)
    shape = drawn.shape
    if shape.frames < 2:
        raise NcagenError(
            f"rows have one grid of {shape.size} cells: predictions need two; build with a longer seq_len"
        )
    patches = _patches(shape, ids)
    corpus = frequencies(patches, _patches(shape, _tokens(dataset, np.setdiff1d(others, numbers))))
    return GridSample(shape.patch_ids, patches, DELIMITERS, corpus, seed, shape, drawn.cells(ids))


def frequencies(patches: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids that occur in both, int64[id] in rising order, and how often; first grids are left out.

    patches, others: integers [row, grid, patch].
    """
    ids, counts = np.unique(np.concatenate([patches[:, 1:].ravel(), others[:, 1:].ravel()]), return_counts=True)
    return ids.astype(np.int64), counts.astype(np.int64)


def cut(ids: np.ndarray) -> np.ndarray:
    """Rows of tokens as PARTS equal parts, without what is left over: int64[row, part, token].

    ids: integers [row, token]. Raises NcagenError for rows that are too short.
    """
    width = ids.shape[1] // PARTS
    if not width:
        raise NcagenError(f"rows have {ids.shape[1]} tokens: use rows of {PARTS} or more")
    return ids[:, : width * PARTS].reshape(len(ids), PARTS, width).astype(np.int64)


def _tokens(dataset: Dataset, numbers: np.ndarray) -> np.ndarray:
    return dataset.rows(numbers, columns=("input_ids",))["input_ids"]


def _patches(shape: GridRows, ids: np.ndarray) -> np.ndarray:
    """The patches of whole rows: int64[row, grid, patch]. ids: integers [row, token]."""
    return patches_of(shape, ids).astype(np.int64)
