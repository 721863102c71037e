"""Opens the rows of an audit: rows of one shape in one or more parts, of a dataset or of flat files.

Rows of grids are `Audited`, with the shape of their grids; other rows are `AuditedTokens`. Not covered:
reading token files (`tokenfiles`), finding the row length (`rowlength`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ncagen.audit.rowlength import guess
from ncagen.audit.shape import Shape
from ncagen.audit.tokenfiles import TokenFile, read, token_files
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import BUILDING, MANIFEST, SPLITS, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.hub.names import is_name
from ncagen.row_format import Measure, RowFormat
from ncagen.sources import source_of
from ncagen.sources.grid_tokens import PatchGrids
from ncagen.sources.nca.source import Nca
from ncagen.sources.source import Source

TRAIN, VALIDATION, _ = SPLITS


@dataclass(frozen=True)
class Part:
    """Rows of one file, or of one band and split.

    rows: how many. read: takes int64[row], row numbers, and returns integers [row, token]; several threads may call it.
    trouble: a fault of the whole part, such as tokens that are left over.
    """

    name: str
    split: str
    rows: int
    read: Callable[[np.ndarray], np.ndarray]
    trouble: str = ""


@dataclass(frozen=True)
class Audited:
    """The parts of an audit of rows of grids.

    name: of the dataset or file. shape: of all rows. known_by: how the row length is known, as text for the page.
    streams: whether the splits are known to be different streams of rules. control: what was done to the rows on
    purpose, see `ncagen.sources.nca.settings.CONTROLS`; empty for rows as they are.
    """

    name: str
    shape: Shape
    known_by: str
    parts: tuple[Part, ...]
    streams: bool = False
    control: str = ""

    def parts_of(self, split: str) -> list[int]:
        """Lists the indices of a split's parts."""
        return [i for i, part in enumerate(self.parts) if part.split == split]


@dataclass(frozen=True)
class TokenPart:
    """The rows of one band and split."""

    name: str
    split: str
    dataset: Dataset

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.dataset)


@dataclass(frozen=True)
class AuditedTokens:
    """The parts of an audit of rows that are not grids.

    name: of the dataset. rows_of: the name of the source of its rows. measure: None if the source has no measures.
    noise: the mean ratio of uniform noise, None if it is not known.
    """

    name: str
    rows_of: str
    row_format: RowFormat
    measure: Measure | None
    noise: float | None
    parts: tuple[TokenPart, ...]


def of_dataset(place: str | Folder, band: str | None, split: str | None) -> Audited | AuditedTokens:
    """Opens every band and split of a dataset, or those named.

    place: a folder, a URL or a name on the Hub. Raises NcagenError if it cannot be read or has no such rows.
    """
    folder, name = folder_at(place), str(place)
    manifest = read_manifest(folder)
    there = dict.fromkeys((record.band, record.split) for record in manifest.records)
    wanted = [(b, s) for b, s in there if band in (None, b) and split in (None, s)]
    if not wanted:
        requested = " ".join(f"--{kind} {value}" for kind, value in (("band", band), ("split", split)) if value)
        raise NcagenError(f"{name} has no rows of {requested}: it has {', '.join(f'{b} {s}' for b, s in there)}")
    parts = tuple(TokenPart(f"{b} {s}", s, Dataset(folder, s, b)) for b, s in wanted)
    source = source_of(manifest.spec)
    drawn = source.grids()
    # The checks of grids compare 3 x 3 neighbourhoods, which a ring of cells does not have.
    if not isinstance(drawn, PatchGrids) or drawn.height == 1:
        return AuditedTokens(name, source.name, manifest.row_format, manifest.measure, _noise(source), parts)
    grids = tuple(Part(part.name, part.split, part.rows, _reader(part.dataset)) for part in parts)
    control = source.settings.control if isinstance(source, Nca) else ""
    shape = Shape.of(drawn.shape)
    return Audited(name, shape, "by the manifest", grids, control != "frozen-rule", control)


def _noise(source: Source) -> float | None:
    """Returns the mean ratio of uniform noise, None if the source has no noise scores."""
    scores = source.noise_scores()
    return float(scores.mean() / source.measures[0].denominator) if len(scores) else None


def _reader(dataset: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    return lambda numbers: dataset.rows(numbers, columns=("input_ids",))["input_ids"]


def is_dataset(name: str) -> bool:
    """Returns whether `name` is a dataset: the folder of a finished or started one, a URL, or a name on the Hub."""
    path = Path(name)
    if path.exists():
        return path.is_dir() and any((path / file).exists() for file in (MANIFEST, BUILDING))
    return "://" in name or is_name(name)


def of_files(place: str | os.PathLike, validation: str | os.PathLike | None, shape: Shape, dtype: str) -> Audited:
    """Opens flat files of tokens.

    place: a file, or a folder with train, val and test files. validation: a file, instead of val files of the folder.
    shape: a row_tokens of 0 is replaced by the length that the files show. dtype: of files without a header, "uint16"
    or "uint32". Raises NcagenError for files that are missing or cannot be read.
    """
    path = Path(place)
    if not path.exists():
        raise NcagenError(f"{place} does not exist: use a dataset's folder, a file of tokens, or user/name on the Hub")
    paths = dict(zip(SPLITS, token_files(path), strict=True))
    if validation is not None:
        paths[VALIDATION] = [Path(validation)]
    files = {split: [read(p, dtype, shape.vocabulary) for p in some] for split, some in paths.items()}
    first = files[TRAIN][0].tokens
    if shape.row_tokens:
        known_by = "as given"
    elif first.ndim == 2:
        shape, known_by = replace(shape, row_tokens=first.shape[1]), "by the file's header"
    else:
        found, known_by = guess(shape, first)
        shape = replace(shape, row_tokens=found)
    parts = [_part(file, split, shape.row_tokens) for split, some in files.items() for file in some]
    return Audited(str(place), shape, known_by, tuple(parts))


def _part(file: TokenFile, split: str, n: int) -> Part:
    tokens = file.tokens.reshape(-1)
    rows, left = divmod(len(tokens), n)
    if not rows:
        raise NcagenError(f"{file.path} has {len(tokens):,} tokens, under one row of {n:,}: use --row-tokens")
    table = tokens[: rows * n].reshape(rows, n)
    trouble = f"{left:,} tokens are left over after the last row" if left else ""
    if file.promised is not None and file.promised != len(tokens):
        trouble = f"the header promises {file.promised:,} tokens, there are {len(tokens):,}"
    return Part(file.path.name, split, rows, lambda numbers: table[numbers], trouble)
