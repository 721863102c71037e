"""One shard number to its shards on disk, one in each band. Knows no thread, no cluster and no other shard.

Which rows a shard holds is `search`'s job; this module keeps what is intact, makes the rest and writes it. An order
that comes with a receipt accepts no shard but those that the receipt names.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ncagen.dataset import shard as files
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File
from ncagen.dataset.receipt import Receipt
from ncagen.dataset.shard import DamagedShard, Record, Rows
from ncagen.errors import NcagenError
from ncagen.factory.executor import Report, ShardResult
from ncagen.factory.search import Step, repeat, search
from ncagen.selection import Tally
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.source import Backend
from ncagen.spec import Band, Spec


@dataclass(frozen=True)
class BuildJob:
    """A spec, the format of its files ("parquet" or "arrow"), the folder they go to, and a receipt of its own spec."""

    spec: Spec
    storage: str
    folder: Folder
    receipt: Receipt | None = None

    def name(self, split: str, band: str, shard: int) -> str:
        """Where a shard lies in the folder."""
        return files.relative_path(self.spec, self.storage, split, band, shard)

    def accepts(self, record: Record) -> bool:
        """Whether a shard of this spec may be part of the folder: any, unless a receipt says which."""
        return self.receipt is None or self.receipt.records[record.split, record.band, record.shard] == record


def make(order: BuildJob, split: str, shard: int, report: Report, device: str = "cpu") -> ShardResult:
    """Makes what is missing or damaged of one shard number and returns a record and a file for every band.

    device: what runs the automaton, as `sources.nca.devices` names it. `report` is called after each batch.
    Raises NcagenError, and writes nothing, for a shard that does not come out as the order's receipt says.
    """
    made = {band.name: intact(order, split, band, shard) for band in order.spec.bands}
    for band in order.spec.bands:
        if found := made[band.name]:
            report(found[0].rows, 0)
    missing = [band for band in order.spec.bands if made[band.name] is None]
    for band, (rows, tally) in _fill(order, split, shard, missing, report, backend(device)).items():
        record, data = pack(order.spec, order.storage, split, band.name, shard, rows, tally)
        name = order.name(split, band.name, shard)
        if not order.accepts(record):
            raise NcagenError(
                f"{order.folder.path(name)} is not written: what was made is not what the receipt or manifest says,"
                " which was altered or comes from another version of ncagen"
            )
        order.folder.write(name, data)
        made[band.name] = record, describe(data)
    return [found for found in made.values() if found is not None]


def pack(
    spec: Spec, storage: str, split: str, band: str, shard: int, rows: Rows, tally: Tally
) -> tuple[Record, pa.Buffer]:
    """The record and the file, in memory, of a shard's rows."""
    record = Record(
        spec_sha256=spec.sha256,
        split=split,
        band=band,
        shard=shard,
        rows=len(rows.candidate),
        tried=tally.tried,
        below=tally.below,
        above=tally.above,
        content_sha256=files.content_sha256(rows),
    )
    return record, files.to_bytes(rows, record, storage)


def intact(order: BuildJob, split: str, band: Band, shard: int) -> tuple[Record, File] | None:
    """The shard on disk, if it is the wanted one to the last byte: writing its rows again must give the file."""
    try:
        data = order.folder.read(order.name(split, band.name, shard), most_bytes(order))
        rows, record = files.from_bytes(data, order.storage)
    except (OSError, DamagedShard):  # what cannot be read is made again; writing it will say if the disk is gone
        return None
    name = record.spec_sha256, record.split, record.band, record.shard
    if name != (order.spec.sha256, split, band.name, shard) or not order.accepts(record):
        return None
    return (record, describe(data)) if files.to_bytes(rows, record, order.storage).equals(data) else None


def most_bytes(order: BuildJob) -> int:
    """More than any shard of the order takes: the rows as they are, twice, and its schema and footer."""
    return 2 * order.spec.rows_per_shard * order.spec.row_bytes + 2**20


def describe(data: pa.Buffer) -> File:
    """Size and hash of a file's bytes."""
    return File(data.size, hashlib.sha256(data).hexdigest())


def _fill(
    order: BuildJob, split: str, shard: int, bands: Sequence[Band], report: Report, backend: Backend
) -> dict[Band, tuple[Rows, Tally]]:
    """The rows of a shard in each of the bands: those that the receipt chose, or the first that a search finds."""
    spec, receipt = order.spec, order.receipt
    if receipt is None or receipt.gaps is None:
        tallies = {band: Tally() for band in bands}
        steps = search(spec, split, shard, spec.shard_rows(split, shard), tallies, backend)
    else:
        records = {band: receipt.records[split, band.name, shard] for band in bands}
        tallies = {band: Tally(record.rows, record.below, record.above) for band, record in records.items()}
        known = {band: receipt.candidates(record) for band, record in records.items()}
        steps = repeat(spec, split, known, backend)
    rows = _collect(steps, report)
    return {band: (rows[band], tallies[band]) for band in bands}


def _collect(steps: Iterable[Step], report: Report) -> dict[Band, Rows]:
    """All rows of each band, reported batch by batch."""
    parts: dict[Band, list[Rows]] = {}
    for step in steps:
        for band, rows in step.kept.items():
            parts.setdefault(band, []).append(rows)
        report(sum(len(rows.candidate) for rows in step.kept.values()), step.candidates)
    return {band: Rows(*map(np.concatenate, zip(*some, strict=True))) for band, some in parts.items()}
