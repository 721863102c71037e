"""What an audit looks at: rows of one shape in one or more parts, of a dataset or of flat files."""

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

TRAIN, VALIDATION = SPLITS


@dataclass(frozen=True)
class Part:
    """Rows of one file, or of one band and split. `read` gives integers [row, token] of rows by number.

    trouble: what is wrong with the part as a whole, such as tokens that are left over.
    """

    name: str
    split: str
    rows: int
    read: Callable[[np.ndarray], np.ndarray]
    trouble: str = ""


@dataclass(frozen=True)
class Source:
    """All parts, their shape, how that is known, and whether splits are known to have different rules."""

    name: str
    shape: Shape
    known_by: str
    parts: tuple[Part, ...]
    streams: bool = False


def of_dataset(place: str | Folder, band: str | None, split: str | None) -> Source:
    """Every band and split of a dataset, or those named. Raises NcagenError."""
    folder, name = folder_at(place), str(place)
    manifest = read_manifest(folder)
    there = dict.fromkeys((record.band, record.split) for record in manifest.records)
    wanted = [(b, s) for b, s in there if band in (None, b) and split in (None, s)]
    if not wanted:
        asked = " ".join(f"--{kind} {value}" for kind, value in (("band", band), ("split", split)) if value)
        raise NcagenError(f"{name} has no rows of {asked}: it has {', '.join(f'{b} {s}' for b, s in there)}")
    parts = []
    for b, s in wanted:
        dataset = Dataset(folder, s, b)
        parts.append(Part(f"{b} {s}", s, len(dataset), _reader(dataset)))
    return Source(name, Shape.of(manifest.spec), "by the manifest", tuple(parts), streams=True)


def _reader(dataset: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    return lambda numbers: dataset.rows(numbers, columns=("input_ids",))["input_ids"]


def is_dataset(name: str) -> bool:
    """Whether it is to be opened as a dataset: a finished or begun one, a URL, or a name on the Hub."""
    path = Path(name)
    if path.exists():
        return path.is_dir() and any((path / file).exists() for file in (MANIFEST, BUILDING))
    return "://" in name or is_name(name)


def of_files(place: str | os.PathLike, validation: str | os.PathLike | None, shape: Shape, dtype: str) -> Source:
    """Flat files. A shape without row_tokens gets those that the files show. Raises NcagenError."""
    path = Path(place)
    if not path.exists():
        raise NcagenError(f"{place} is not there: use a dataset's folder, a file of tokens, or user/name on the Hub")
    train, other = token_files(path)
    files = {
        split: [read(p, dtype, shape.vocabulary) for p in paths] for split, paths in _splits(train, other, validation)
    }
    first = files[TRAIN][0].tokens
    if shape.row_tokens:
        known_by = "as given"
    elif first.ndim == 2:
        shape, known_by = replace(shape, row_tokens=first.shape[1]), "by the file's header"
    else:
        found, known_by = guess(shape, first)
        shape = replace(shape, row_tokens=found)
    parts = [_part(file, split, shape.row_tokens) for split, some in files.items() for file in some]
    return Source(str(place), shape, known_by, tuple(parts))


def _splits(train: list[Path], other: list[Path], validation: str | os.PathLike | None):
    return (TRAIN, train), (VALIDATION, other if validation is None else [Path(validation)])


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
