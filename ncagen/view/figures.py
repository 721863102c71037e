"""What rows of a dataset look like, in numbers: gzip lengths, rows that stand still or repeat, token frequencies.

Taken from row groups spread evenly over a split and band, a bounded number of them, so that memory and time stay flat
for any dataset; each result says how many rows were looked at. Drawing them is the page's job (`webpage`).
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.spec import Spec

MOST_ROWS, MOST_TOKENS = 4096, 2**22  # looked at
SAMPLE_ROWS = 256  # of them, listed one by one
RANKS = 96  # points of a rank-frequency curve


@dataclass(frozen=True)
class Sample:
    """Rows one by one: number, candidate (as text: it may have 64 bits, which a number in JSON does not), gzip bytes,
    CRC-32 of the tokens as little-endian uint32."""

    numbers: list[int]
    candidates: list[str]
    gzip_bytes: list[int]
    crc32: list[int]


@dataclass(frozen=True)
class Figures:
    """Of `looked` rows of a split and band, which has `rows`.

    histogram: rows whose ratio is i to i + 1 hundredths, for i from 0 on. frozen and periodic: rows. frequencies:
    [rank, count] of patch tokens from the most frequent on, of `distinct` ones that occur `patches` times in all.
    """

    rows: int
    looked: int
    histogram: list[int]
    frozen: int
    periodic: int
    patches: int
    distinct: int
    frequencies: list[tuple[int, int]]
    sample: Sample


def figures(dataset: Dataset) -> Figures:
    """Looks at some rows of a dataset. Raises DamagedShard."""
    spec = dataset.manifest.spec
    numbers, columns = [], []
    for some in spread(dataset):
        numbers.append(some)
        columns.append(dataset.rows(some))
    rows = np.concatenate(numbers)
    ids, lengths, candidates = (
        np.concatenate([part[name] for part in columns]) for name in ("input_ids", "gzip_bytes", "candidate")
    )
    patches = ids.reshape(len(ids), spec.frames, spec.tokens_per_grid)[:, :, 1:-1]
    frozen, periodic = endings(patches)
    counts = np.sort(np.unique(patches, return_counts=True)[1])[::-1]
    ranks = np.unique(np.geomspace(1, len(counts), RANKS).round().astype(int))
    listed = np.unique(np.linspace(0, len(rows) - 1, SAMPLE_ROWS).round().astype(int))
    return Figures(
        rows=len(dataset),
        looked=len(rows),
        histogram=np.bincount(lengths * 100 // spec.scored_bytes).tolist(),
        frozen=int(frozen.sum()),
        periodic=int(periodic.sum()),
        patches=patches.size,
        distinct=len(counts),
        frequencies=[(int(rank), int(counts[rank - 1])) for rank in ranks],
        sample=Sample(
            numbers=rows[listed].tolist(),
            candidates=[str(candidate) for candidate in candidates[listed]],
            gzip_bytes=lengths[listed].tolist(),
            crc32=[zlib.crc32(ids[i].astype("<u4").tobytes()) for i in listed],
        ),
    )


def spread(dataset: Dataset) -> Iterator[np.ndarray]:
    """The row numbers of some row groups, the first among them, evenly spread: int64[row] each."""
    sizes = dataset.group_sizes
    most = most_rows(dataset.manifest.spec)
    ends = np.cumsum(sizes)
    groups = max(1, min(len(sizes), most // int(sizes.max())))
    for group in np.unique(np.linspace(0, len(sizes) - 1, groups).round().astype(int)):
        first = ends[group] - sizes[group]
        yield np.arange(first, min(ends[group], first + most))


def most_rows(spec: Spec) -> int:
    """Rows to look at: fewer where rows are long."""
    return max(1, min(MOST_ROWS, MOST_TOKENS // spec.row_tokens))


def endings(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows end frozen and which periodic, bool[row] each. patches: [row, frame, patch].

    Frozen: the last two grids are equal. Periodic: not frozen, and the last p grids equal the p before them, for some
    p from 2 to half of the frames.
    """
    frozen, periodic = np.zeros((2, len(patches)), bool)
    for period in range(1, patches.shape[1] // 2 + 1):
        found = frozen if period == 1 else periodic
        found |= (patches[:, -period:] == patches[:, -2 * period : -period]).all(axis=(1, 2))
    return frozen, periodic & ~frozen
