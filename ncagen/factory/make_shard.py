"""Makes the shards of one shard number on disk, one in each band. Knows no thread, no cluster and no other shard.

Which rows a shard holds is `search`'s job; this module keeps what is intact, makes the rest and writes it. A job
that comes with a receipt accepts no shard but those that the receipt names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ncagen.dataset import shard as shards
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File
from ncagen.dataset.receipt import Receipt
from ncagen.dataset.shard import DamagedShard, Record
from ncagen.errors import NcagenError
from ncagen.factory.executor import Report, ShardResult
from ncagen.factory.search import Step, repeat, search
from ncagen.row_format import RowFormat, Rows
from ncagen.selection import Band, Tally
from ncagen.sources import source_of
from ncagen.spec import BuildSpec


@dataclass(frozen=True)
class BuildJob:
    """A spec, the format of its files ("parquet" or "arrow"), the folder they go to, and a receipt of its own spec."""

    spec: BuildSpec
    file_format: str
    folder: Folder
    receipt: Receipt | None = None

    @property
    def row_format(self) -> RowFormat:
        """The columns and tokens of the rows."""
        return source_of(self.spec).row_format

    def name(self, split: str, band: str, shard: int) -> str:
        """Where a shard lies in the folder."""
        return shards.relative_path(self.spec, self.file_format, split, band, shard)

    def accepts(self, record: Record) -> bool:
        """Whether a shard of this spec may be part of the folder: any, unless a receipt says which."""
        return self.receipt is None or self.receipt.records[record.split, record.band, record.shard] == record


def check_device(spec: BuildSpec, device: str) -> None:
    """Raises NcagenError for a device that is not known or not here."""
    source_of(spec).batch_candidates(device)


def make(job: BuildJob, split: str, shard: int, report: Report, device: str = "cpu") -> ShardResult:
    """Makes what is missing or damaged of one shard number and returns a record and a file for every band.

    device: what makes the rows; of several devices that it names, the shards take turns. `report` is called after each
    batch.
    Raises NcagenError, and writes nothing, for a shard that does not come out as the job's receipt says.
    """
    made = {band.name: intact(job, split, band, shard) for band in job.spec.bands}
    for band in job.spec.bands:
        if found := made[band.name]:
            report(found[0].rows, 0)
    names = source_of(job.spec).devices(device)
    device = names[shard % len(names)]
    missing = [band for band in job.spec.bands if made[band.name] is None]
    for band, (rows, tally) in _fill(job, split, shard, missing, report, device).items():
        record, data = pack(job.spec, job.file_format, split, band.name, shard, rows, tally)
        name = job.name(split, band.name, shard)
        if not job.accepts(record):
            raise NcagenError(
                f"{job.folder.path(name)} is not written: what was made is not what the receipt or manifest says,"
                " which was altered or comes from another version of ncagen"
            )
        job.folder.write(name, data)
        made[band.name] = record, File.of(data, job.file_format)
    return [found for found in made.values() if found is not None]


def pack(
    spec: BuildSpec, file_format: str, split: str, band: str, shard: int, rows: Rows, tally: Tally
) -> tuple[Record, pa.Buffer]:
    """The record and the file, in memory, of a shard's rows."""
    record = Record(
        spec_sha256=spec.sha256,
        split=split,
        band=band,
        shard=shard,
        rows=len(rows),
        tried=tally.tried,
        below=tally.below,
        above=tally.above,
        content_sha256=shards.content_sha256(rows),
    )
    return record, shards.to_bytes(rows, record, file_format)


def intact(job: BuildJob, split: str, band: Band, shard: int) -> tuple[Record, File] | None:
    """The shard on disk, if it is the wanted one to the last byte: writing its rows again must give the file."""
    try:
        data = job.folder.read(job.name(split, band.name, shard), max_bytes(job))
        rows, record = shards.from_bytes(data, job.file_format, job.row_format)
    except (OSError, DamagedShard):  # what cannot be read is made again; writing it will say if the disk is gone
        return None
    name = record.spec_sha256, record.split, record.band, record.shard
    if name != (job.spec.sha256, split, band.name, shard) or not job.accepts(record):
        return None
    same = shards.to_bytes(rows, record, job.file_format).equals(data)
    return (record, File.of(data, job.file_format)) if same else None


def max_bytes(job: BuildJob) -> int:
    """More bytes than any shard of the job takes: the rows as they are, twice, and its schema and footer."""
    return 2 * job.spec.rows_per_shard * job.row_format.row_bytes + 2**20


def _fill(
    job: BuildJob, split: str, shard: int, bands: Sequence[Band], report: Report, device: str
) -> dict[Band, tuple[Rows, Tally]]:
    """The rows of a shard in each of the bands: those that the receipt chose, or the first that a search finds."""
    spec, receipt = job.spec, job.receipt
    if receipt is None or receipt.gaps is None:
        tallies = {band: Tally() for band in bands}
        steps = search(spec, split, shard, spec.shard_rows(split, shard), tallies, device)
    else:
        records = {band: receipt.records[split, band.name, shard] for band in bands}
        tallies = {band: Tally(record.rows, record.below, record.above) for band, record in records.items()}
        known = {band: receipt.candidates(record) for band, record in records.items()}
        steps = repeat(spec, split, known, device)
    rows = {band: job.row_format.empty(spec.shard_rows(split, shard)) for band in bands}
    _collect(steps, rows, report)
    return {band: (rows[band], tallies[band]) for band in bands}


def _collect(steps: Iterable[Step], whole: Mapping[Band, Rows], report: Report) -> None:
    """Fills the rows of each band, reported batch by batch. They are copied while they are in the processor's cache."""
    filled = dict.fromkeys(whole, 0)
    for step in steps:
        for band, rows in step.kept.items():
            whole[band].put(filled[band], rows)
            filled[band] += len(rows)
        report(sum(map(len, step.kept.values())), step.candidates)
