"""Computes figures of a dataset's rows: scores, rows that freeze or repeat, token frequencies, and some single rows.

It reads a bounded number of row groups, spread evenly over a split and band, so memory and time do not grow with the
dataset; each result has the number of rows that were read. A row is described by its `RowShape`. Not covered: sources,
and drawing the figures (`webpage`).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ncagen.dataset.reader import Dataset

MOST_ROWS, MOST_TOKENS = 4096, 2**22  # read
SAMPLE_ROWS = 256  # of them, listed one by one
STORED_ROWS, STORED_TOKENS, STORED_TOKENS_A_ROW = 32, 2**15, 2**12  # of them, with their tokens: 200 KB of JSON
RANKS = 96  # points of a rank-frequency curve


@dataclass(frozen=True)
class RowShape:
    """The shape of a row, as far as figures need it.

    row_tokens: stored tokens. structural: ids that are not content, such as delimiters. measure: the column that bands
    select by, and denominator, that of its ratio; None and 0 for rows without a score. frame_tokens: tokens
    of a frame with its delimiters, for rows that are frames of equal length, otherwise 0.
    """

    row_tokens: int
    structural: tuple[int, ...] = ()
    measure: str | None = None
    denominator: Fraction = Fraction(0)
    frame_tokens: int = 0


@dataclass(frozen=True)
class Sample:
    """Rows that a JavaScript twin computes again, a list item for each.

    numbers: of the rows. candidates: as text, since a number in JSON has fewer than 64 bits. gzip_bytes: scores.
    crc32: of the tokens as little-endian uint32.
    """

    numbers: list[int]
    candidates: list[str]
    gzip_bytes: list[int]
    crc32: list[int]


@dataclass(frozen=True)
class Stored:
    """Stored rows, a list item for each: number, every other column as text, and the first tokens."""

    numbers: list[int]
    facts: dict[str, list[str]]
    tokens: list[list[int]]


@dataclass(frozen=True)
class Figures:
    """Figures of `looked` rows of a split and band that has `rows` rows.

    histogram: item i counts rows with a ratio of i to i + 1 hundredths; empty without a measure. frozen and periodic:
    numbers of rows; 0 if rows have no frames. frequencies: (rank, count) of tokens, the most frequent first; there are
    `distinct` tokens that occur `counted` times, without structural ones. facts: as `fact_figures`. sample and stored:
    one of them is None.
    """

    rows: int
    looked: int
    histogram: list[int]
    frozen: int
    periodic: int
    counted: int
    distinct: int
    frequencies: list[tuple[int, int]]
    facts: dict[str, tuple[float, float, float]]
    sample: Sample | None
    stored: Stored | None


def figures(dataset: Dataset, shape: RowShape, with_tokens: bool = False) -> Figures:
    """Reads some rows of a dataset. with_tokens: return `stored` rows, not a `sample`. Raises DamagedShard."""
    numbers, parts = [], []
    for some in spread(dataset, shape):
        numbers.append(some)
        parts.append(dataset.rows(some))
    rows = np.concatenate(numbers)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids = columns["input_ids"]
    frozen, periodic = endings(ids.reshape(len(ids), -1, shape.frame_tokens)) if shape.frame_tokens else (rows < 0,) * 2
    counts = np.sort(np.unique(ids[~np.isin(ids, shape.structural)], return_counts=True)[1])[::-1]
    ranks = np.unique(np.geomspace(1, len(counts), RANKS).round().astype(int))
    return Figures(
        rows=len(dataset),
        looked=len(rows),
        histogram=hundredths(columns[shape.measure], shape.denominator) if shape.measure else [],
        frozen=int(frozen.sum()),
        periodic=int(periodic.sum()),
        counted=int(counts.sum()),
        distinct=len(counts),
        frequencies=[(int(rank), int(counts[rank - 1])) for rank in ranks],
        facts=fact_figures(columns, shape.measure),
        sample=None if with_tokens else sample(rows, columns),
        stored=stored(rows, columns, shape) if with_tokens else None,
    )


def fact_figures(columns: Mapping[str, np.ndarray], measure: str | None) -> dict[str, tuple[float, float, float]]:
    """Returns mean, median and 99th percentile of each integer column but the measure, the tokens and the candidates.

    columns: by name, [row] or [row, token] each.
    """
    known = {"input_ids", "candidate", measure}
    others = {name: c for name, c in columns.items() if name not in known and c.dtype.kind in "iu"}
    found = {}
    for name, column in others.items():
        median, most = np.quantile(column, (0.5, 0.99))
        found[name] = float(column.mean()), float(median), float(most)
    return found


def sample(rows: np.ndarray, columns: Mapping[str, np.ndarray]) -> Sample:
    """Selects rows, evenly spread. rows: int64[row], their numbers. columns: by name, [row] or [row, token] each."""
    listed = evenly(len(rows), SAMPLE_ROWS)
    return Sample(
        numbers=rows[listed].tolist(),
        candidates=[str(candidate) for candidate in columns["candidate"][listed]],
        gzip_bytes=columns["gzip_bytes"][listed].tolist(),
        crc32=[zlib.crc32(columns["input_ids"][i].astype("<u4").tobytes()) for i in listed],
    )


def stored(rows: np.ndarray, columns: Mapping[str, np.ndarray], shape: RowShape) -> Stored:
    """Selects rows, evenly spread, with tokens. rows: int64[row]. columns: by name, [row] or [row, token] each."""
    tokens = min(shape.row_tokens, STORED_TOKENS_A_ROW)
    listed = evenly(len(rows), max(1, min(STORED_ROWS, STORED_TOKENS // tokens)))
    facts = {name: column[listed] for name, column in columns.items() if name != "input_ids"}
    return Stored(
        numbers=rows[listed].tolist(),
        facts={name: [text(value) for value in column] for name, column in facts.items()},
        tokens=columns["input_ids"][listed, :tokens].tolist(),
    )


def text(value: np.generic) -> str:
    """Formats a stored value."""
    return f"{value:.3f}" if isinstance(value, np.floating) else str(value)


def evenly(count: int, most: int) -> np.ndarray:
    """Returns int64[index], at most `most` of `count` indices, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def hundredths(scores: np.ndarray, denominator: Fraction) -> list[int]:
    """Counts rows with a ratio of i to i + 1 hundredths, as item i of a list. scores: int32[row]."""
    return np.bincount(scores.astype(np.int64) * 100 * denominator.denominator // denominator.numerator).tolist()


def spread(dataset: Dataset, shape: RowShape) -> Iterator[np.ndarray]:
    """Yields the numbers of some groups of rows, evenly spread, starting with the first: int64[row] each."""
    most, size = most_rows(shape.row_tokens), dataset.row_format.group_rows
    firsts = np.arange(0, len(dataset), size)
    for group in evenly(len(firsts), max(1, most // size)):
        yield np.arange(firsts[group], min(firsts[group] + min(most, size), len(dataset)))


def most_rows(row_tokens: int) -> int:
    """Returns how many rows to read: fewer if rows are long."""
    return max(1, min(MOST_ROWS, MOST_TOKENS // row_tokens))


def endings(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows end frozen and which end periodic, bool[row] each. frames: [row, frame, token].

    Frozen: the last two frames are equal. Periodic: not frozen, and the last p frames equal the p before them, for some
    p from 2 to half of the frames.
    """
    frozen, periodic = np.zeros((2, len(frames)), bool)
    for period in range(1, frames.shape[1] // 2 + 1):
        found = frozen if period == 1 else periodic
        found |= (frames[:, -period:] == frames[:, -2 * period : -period]).all(axis=(1, 2))
    return frozen, periodic & ~frozen
