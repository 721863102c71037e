"""Converts rows of grids to cells and back, and candidates of automata to rules, for people who read them in Python.

Which source and settings they are of stands in a dataset's manifest, or in a spec or settings as `ncagen.build` takes
them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.factory.generate import as_spec
from ncagen.numbers import whole
from ncagen.philox import STREAMS
from ncagen.sources import grid_tokens, source_of
from ncagen.sources.nca.rule import Rule, rule_of
from ncagen.sources.nca.source import Nca
from ncagen.sources.patches import GridRows
from ncagen.spec import BuildSpec

Rows = Dataset | BuildSpec | Mapping[str, Any]


def rule(dataset: Dataset, row: int, grid: int = 0) -> Rule:
    """The rule that led to a grid of a row. Raises NcagenError for rows without rules, IndexError for a row out of
    range."""
    spec = dataset.manifest.spec
    source = source_of(spec)
    if not isinstance(source, Nca):
        raise NcagenError(f"rows of source {spec.source.name} are not of neural automata: use rows of source nca")
    grid = whole("grid", grid, 0, source.settings.frames - 1)
    candidate = int(dataset[row]["candidate"])
    return rule_of(source.settings, (spec.seed, STREAMS[dataset.split]), candidate, grid)


def tokens_to_grids(rows: Rows, tokens: np.ndarray) -> np.ndarray:
    """The grids of token rows.

    rows: the dataset, spec or settings that the tokens are of. tokens: [token] or [row, token], whole rows. Returns
    uint8 [frame, y, x] or [row, frame, y, x]. Raises NcagenError for tokens that are not whole rows.
    """
    shape, ids = _shape(_spec(rows)), np.asarray(tokens)
    if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2) or ids.shape[-1] != shape.row_tokens:
        raise NcagenError(f"tokens are {ids.dtype} {ids.shape}: use integers [token] or [row, {shape.row_tokens}]")
    many = np.atleast_2d(ids)
    if not (well_formed := grid_tokens.well_formed(shape, many)).all():
        raise NcagenError(f"row {int(np.argmin(well_formed))} is not whole grids: give rows as they are stored")
    grids = grid_tokens.grids(shape, many)
    return grids if ids.ndim == 2 else grids[0]


def grids_to_tokens(rows: Rows, grids: np.ndarray) -> np.ndarray:
    """The token rows of grids: what `tokens_to_grids` undoes.

    grids: integers [frame, y, x] or [row, frame, y, x]. Returns uint16 or uint32 [token] or [row, token].
    Raises NcagenError for cells that are no grids of these rows.
    """
    shape, cells = _shape(_spec(rows)), np.asarray(grids)
    if cells.dtype.kind not in "iu" or cells.ndim not in (3, 4) or cells.shape[-2:] != (shape.height, shape.width):
        raise NcagenError(f"grids are {cells.dtype} {cells.shape}: use integers [frame, {shape.height}, {shape.width}]")
    if cells.size and not 0 <= cells.min() <= cells.max() < shape.states:
        raise NcagenError(f"grids have states {cells.min()} to {cells.max()}: use 0 to {shape.states - 1}")
    many = cells.astype(np.uint8).reshape(-1, *cells.shape[-3:])
    ids = grid_tokens.rows(shape, grid_tokens.patch_tokens(shape, many))
    return ids if cells.ndim == 4 else ids[0]


def _spec(rows: Rows) -> BuildSpec:
    return rows.manifest.spec if isinstance(rows, Dataset) else as_spec(rows, endless=True)


def _shape(spec: BuildSpec) -> GridRows:
    """The sizes of rows of grids. Raises NcagenError for a source without grids."""
    drawn = source_of(spec).grids()
    if not isinstance(drawn, grid_tokens.PatchGrids):
        raise NcagenError(f"rows of source {spec.source.name} are not grids: there is nothing to convert")
    return drawn.shape
