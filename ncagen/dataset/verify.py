"""Checks a finished dataset against its manifest: every file, every row. numpy and pyarrow only.

Scoring tokens and rebuilding rows need the factory's kernels, so the caller passes them in. What this cannot tell:
whether the manifest is the one its author published; compare `dataset_sha256` for that.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ncagen import philox
from ncagen.dataset.card import CARD, PICTURE
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import BUILDING, MANIFEST, Manifest, read_manifest
from ncagen.dataset.reader import open_shard
from ncagen.dataset.shard import DamagedShard, Record, Rows, content_sha256
from ncagen.errors import NcagenError
from ncagen.selection import inside, ratios
from ncagen.sources.nca import tokens
from ncagen.spec import Spec

# What the Hub adds to every repository, and its client to a folder that it downloads into.
HUB_FILES = (".gitattributes", PICTURE)
HUB_FOLDER = ".cache/huggingface/"

Score = Callable[[np.ndarray], np.ndarray]
Rebuild = Callable[[Spec, int, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass
class Report:
    """What was checked, and a line for everything that is wrong.

    listed: whether the folder may be listed, and so whether files that do not belong to it would have been found.
    """

    manifest: Manifest
    listed: bool
    files: int = 0
    rows: int = 0
    rebuilt: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    place: str | os.PathLike | Folder,
    score: Score,
    rebuild: Rebuild,
    share: float = 0.0,
    progress: Callable[[int], None] = lambda rows: None,
    workers: int = 1,
) -> Report:
    """Checks every shard of a folder; `share` of the rows are rebuilt from their candidate numbers as well.

    score(patches [row, token]) gives gzip lengths, rebuild(spec, stream, candidates) token rows and lengths; both are
    called from as many threads at once as there are workers.
    Raises ManifestError where there is no manifest to check against, and NcagenError for a store out of reach.
    """
    folder = folder_at(place)
    manifest = read_manifest(folder)
    report = Report(manifest, folder.listable)

    def check(record: Record) -> tuple[int, int, list[str]]:
        return _check(folder, manifest, record, score, rebuild, share)

    with ThreadPoolExecutor(workers) as pool:
        for record, (rows, rebuilt, problems) in zip(manifest.records, pool.map(check, manifest.records), strict=True):
            report.files += 1
            report.rows += rows
            report.rebuilt += rebuilt
            report.problems += [f"{manifest.path(record)}: {problem}" for problem in problems]
            progress(record.rows)
    report.problems += [f"{name}: does not belong to the dataset" for name in _foreign(folder, manifest)]
    return report


def _check(
    folder: Folder, manifest: Manifest, record: Record, score: Score, rebuild: Rebuild, share: float
) -> tuple[int, int, list[str]]:
    """Rows that were read of a shard, rows that were rebuilt, and what is wrong with it."""
    try:
        rows = _checked_file(folder, manifest, record)
    except DamagedShard as error:
        return 0, 0, [str(error)]
    chosen = _sample(rows, share)
    problems = row_problems(manifest.spec, record, rows, score)
    problems += _rebuild_problems(manifest.spec, record, rows, chosen, rebuild)
    return len(rows.candidate), len(chosen), problems


def _foreign(folder: Folder, manifest: Manifest) -> list[str]:
    """The files in a folder that are not the dataset's; those that a build is writing are nobody's."""
    expected = {*manifest.files, MANIFEST, BUILDING, CARD, *HUB_FILES}
    return [name for name in folder.names() if name not in expected and not name.startswith(HUB_FOLDER)]


def _checked_file(folder: Folder, manifest: Manifest, record: Record) -> Rows:
    """Rows of a file whose size, hash, record and content are the manifest's."""
    try:
        rows = open_shard(folder, manifest, record).rows()
    except ConnectionError as error:  # which says nothing about the file
        raise NcagenError(f"{folder}: {error.strerror}") from None
    except OSError as error:
        raise DamagedShard(error.strerror or str(error)) from None
    if content_sha256(rows) != record.content_sha256:
        raise DamagedShard("its rows do not match their hash")
    return rows


def row_problems(spec: Spec, record: Record, rows: Rows, score: Score) -> list[str]:
    """What is wrong with the values of a shard's rows, whatever its hashes say."""
    band = next(band for band in spec.bands if band.name == record.band)
    patches = rows.input_ids.reshape(record.rows, spec.frames, spec.tokens_per_grid)[:, : spec.scored_frames, 1:-1]
    scored = score(np.ascontiguousarray(patches).reshape(record.rows, -1))
    first = record.shard << 32
    known = (rows.candidate >= first) & (rows.candidate < first + record.tried)
    rising = np.diff(rows.candidate.astype(np.int64), prepend=np.int64(first) - 1) > 0
    last = int(rows.candidate[-1]) - first
    counts = record.tried == record.rows + record.below + record.above == last + 1
    checks = {
        "tokens are not well formed": tokens.well_formed(spec, rows.input_ids),
        "gzip_bytes is not the length of the row's tokens": scored == rows.gzip_bytes,
        "gzip_ratio is not gzip_bytes by scored bytes": ratios(spec, rows.gzip_bytes) == rows.gzip_ratio,
        f"the row is not in band {band.name}": inside(spec, band, scored),
        "candidate is not one of this shard's, in order": known & rising,
    }
    found = [] if counts else ["the counts of candidates do not add up"]
    return found + [
        f"row {int(np.argmin(good))}: {problem} ({int((~good).sum())} of {record.rows} rows)"
        for problem, good in checks.items()
        if not good.all()
    ]


def _sample(rows: Rows, share: float) -> np.ndarray:
    """Every row, or about this share of them (one at least) by bits of the candidate's own: the same every time."""
    if share <= 0:
        return np.empty(0, np.int64)
    words = philox.words(0, philox.STREAMS["pilot"], 0, rows.candidate, 1)[:, 0]
    return np.flatnonzero(words < max(share * 65536, int(words.min()) + 1))


def _rebuild_problems(spec: Spec, record: Record, rows: Rows, chosen: np.ndarray, rebuild: Rebuild) -> list[str]:
    if not len(chosen):
        return []
    ids, lengths = rebuild(spec, philox.STREAMS[record.split], rows.candidate[chosen])
    same = (ids == rows.input_ids[chosen]).all(axis=1) & (lengths == rows.gzip_bytes[chosen])
    if same.all():
        return []
    candidate = rows.candidate[chosen[np.argmin(same)]]
    return [f"candidate {candidate} makes another row ({int((~same).sum())} of {len(chosen)} rebuilt rows differ)"]
