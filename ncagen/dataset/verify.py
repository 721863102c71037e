"""Checks a finished dataset against its manifest: every file, every row. numpy and pyarrow only.

Checks that only the source of the rows can make (are these grids, is this the gzip length, does this candidate make
this row) are in a `RowChecks`, which the caller passes in. Not covered: whether the manifest is the one that its author
published; compare `dataset_sha256` for that.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from ncagen import philox
from ncagen.dataset.card import CARD, LADDER, PICTURE
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.index import INDEX
from ncagen.dataset.manifest import BUILDING, MANIFEST, Manifest, read_manifest
from ncagen.dataset.open_shard import read_shard
from ncagen.dataset.shard import SHARD_CANDIDATES, DamagedShard, File, Record, content_sha256
from ncagen.dataset.shard_file import ShardFile
from ncagen.errors import NcagenError
from ncagen.row_format import Measure, RowFormat, Rows
from ncagen.selection import inside

# What the Hub adds to every repository, and its client to a folder that it downloads into.
HUB_FILES = (".gitattributes", PICTURE)
HUB_FOLDER = ".cache/huggingface/"


class RowChecks(Protocol):
    """Checks by the source of a dataset's rows. Its methods are called from several threads at once."""

    @property
    def row_format(self) -> RowFormat:
        """The format of its rows."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures that bands select by."""

    def spec_problems(self) -> list[str]:
        """What the source finds wrong in the spec, in words."""

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """For each possible problem, in words: bool[row], true where the row is right."""

    def rebuild(self, split: str, candidates: np.ndarray) -> Rows:
        """The rows of candidates, made anew. candidates: uint64[row]."""


@dataclass
class Report:
    """The result of a check, with a line for each fault.

    listed: whether the folder could be listed, so that files that do not belong to it were found.
    """

    manifest: Manifest
    listed: bool
    files: int = 0
    rows: int = 0
    rebuilt: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    place: str | os.PathLike | Folder,
    checks_of: Callable[[Manifest], RowChecks],
    share: float = 0.0,
    progress: Callable[[int], None] = lambda rows: None,
    workers: int = 1,
) -> Report:
    """Checks every shard of a folder; `share` of the rows are rebuilt from their candidate numbers as well.

    checks_of: gives the checks of the dataset's own source. progress(rows) is called for each shard. workers: shards
    that are checked at the same time. Raises ManifestError where there is no manifest to check against, and NcagenError
    for a store out of reach.
    """
    folder = folder_at(place)
    manifest = read_manifest(folder)
    checks = checks_of(manifest)
    report = Report(manifest, folder.listable)
    if (manifest.row_format, manifest.measures) != (checks.row_format, checks.measures):
        report.problems.append(f"{MANIFEST}: its row_format and measures are not those of its source's rows")
        return report

    report.problems += [f"{MANIFEST}: {problem}" for problem in checks.spec_problems()]

    def check(record: Record) -> tuple[int, int, list[str]]:
        return _check(folder, manifest, record, checks, share)

    with ThreadPoolExecutor(workers) as pool:
        for record, (rows, rebuilt, problems) in zip(manifest.records, pool.map(check, manifest.records), strict=True):
            report.files += 1
            report.rows += rows
            report.rebuilt += rebuilt
            report.problems += [f"{manifest.path(record)}: {problem}" for problem in problems]
            progress(record.rows)
    if manifest.index and not _is_file(folder, INDEX, manifest.index):
        report.problems.append(f"{INDEX}: its bytes do not match their hash")
    report.problems += [f"{name}: does not belong to the dataset" for name in _foreign(folder, manifest)]
    return report


def _check(
    folder: Folder, manifest: Manifest, record: Record, checks: RowChecks, share: float
) -> tuple[int, int, list[str]]:
    """Checks a shard: the numbers of rows read and rebuilt, and its faults."""
    try:
        rows = _checked_file(folder, manifest, record)
    except DamagedShard as error:
        return 0, 0, [str(error)]
    chosen = _sample(rows, share)
    problems = row_problems(manifest, record, rows, checks)
    problems += _rebuild_problems(record, rows, chosen, checks)
    return len(rows), len(chosen), problems


def _foreign(folder: Folder, manifest: Manifest) -> list[str]:
    """The files in a folder that do not belong to the dataset; temporary files are not counted."""
    index = [INDEX] if manifest.index else []
    expected = {*manifest.files, MANIFEST, BUILDING, CARD, LADDER, *index, *HUB_FILES}
    return [name for name in folder.names() if name not in expected and not name.startswith(HUB_FOLDER)]


def _is_file(folder: Folder, name: str, wanted: File) -> bool:
    """Whether a file has a size and hash. Raises NcagenError where it cannot be read."""
    try:
        return hashlib.sha256(folder.read(name, wanted.bytes)).hexdigest() == wanted.sha256
    except OSError as error:
        raise NcagenError(f"{folder.path(name)} cannot be read: {error.strerror or error}") from None


def _checked_file(folder: Folder, manifest: Manifest, record: Record) -> Rows:
    """Rows of a file whose size, hash, record and content are the manifest's."""
    try:
        data = read_shard(folder, manifest, record)
        rows = ShardFile(data, manifest.file_format, manifest.row_format, record, hash_checked=True).rows()
        _check_ranges(data, manifest, record)
    except ConnectionError as error:  # which says nothing about the file
        raise NcagenError(f"{folder}: {error.strerror}") from None
    except OSError as error:
        raise DamagedShard(error.strerror or str(error)) from None
    if content_sha256(rows) != record.content_sha256:
        raise DamagedShard("its rows do not match their hash")
    return rows


def _check_ranges(data: pa.Buffer, manifest: Manifest, record: Record) -> None:
    """Compares what readers that fetch a file by range compare: footer and row groups. Raises DamagedShard."""
    file = manifest.files[manifest.path(record)]
    if file.footer_bytes is None:
        return
    footer = data[data.size - file.footer_bytes :]
    if hashlib.sha256(footer).hexdigest() != file.footer_sha256:
        raise DamagedShard("its footer does not match its hash")
    for span in ShardFile(footer, manifest.file_format, manifest.row_format, record, True, fetch=lambda _: ()).spans:
        if hashlib.sha256(data[span.start :][: span.size]).hexdigest() != span.sha256:
            raise DamagedShard("a row group does not match its hash")


def row_problems(manifest: Manifest, record: Record, rows: Rows, checks: RowChecks) -> list[str]:
    """Finds faults in the values of a shard's rows, independent of its hashes; a line for each."""
    band = next(band for band in manifest.spec.bands if band.name == record.band)
    first = record.shard * SHARD_CANDIDATES
    known = (rows.candidate >= first) & (rows.candidate < first + record.tried)
    rising = np.diff(rows.candidate.astype(np.int64), prepend=np.int64(first) - 1) > 0
    last = int(rows.candidate[-1]) - first
    counts = record.tried == record.rows + record.below + record.above == last + 1
    right = {"a token is not in the vocabulary": rows.input_ids.max(axis=1) < manifest.row_format.vocabulary}
    right |= checks.problems(rows)
    if measure := manifest.measure:
        right[f"the row is not in band {band.name}"] = inside(measure, band, rows[measure.column])
    right["candidate is not one of this shard's, in order"] = known & rising
    found = [] if counts else ["the counts of candidates do not add up"]
    return found + [
        f"row {int(np.argmin(good))}: {problem} ({int((~good).sum())} of {record.rows} rows)"
        for problem, good in right.items()
        if not good.all()
    ]


def _sample(rows: Rows, share: float) -> np.ndarray:
    """Every row, or about this share of them (one at least) by bits of the candidate's own: the same every time."""
    if share <= 0:
        return np.empty(0, np.int64)
    words = philox.words(0, philox.STREAMS["pilot"], 0, rows.candidate, 1)[:, 0]
    return np.flatnonzero(words < max(share * 65536, int(words.min()) + 1))


def _rebuild_problems(record: Record, rows: Rows, chosen: np.ndarray, checks: RowChecks) -> list[str]:
    if not len(chosen):
        return []
    there, made = rows.take(chosen), checks.rebuild(record.split, rows.candidate[chosen])
    same = np.logical_and.reduce([_equal_rows(column, made[name]) for name, column in there.columns.items()])
    if same.all():
        return []
    candidate = there.candidate[np.argmin(same)]
    return [f"candidate {candidate} makes another row ({int((~same).sum())} of {len(chosen)} rebuilt rows differ)"]


def _equal_rows(column: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which rows of two columns are equal: bool[row]."""
    same = column == other
    return same if same.ndim == 1 else same.all(axis=1)
