"""One shard number to its shards on disk, one in each band. Knows no thread, no cluster and no other shard.

Shard k tries the candidates k * 2**32, k * 2**32 + 1, ... in order, and each band keeps the first that fall into it,
until all bands have their rows. So what a shard holds depends on the spec and k alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ncagen.automaton.rng import STREAMS
from ncagen.complexity.bands import Tally, choose, ratios
from ncagen.dataset import shard as files
from ncagen.dataset.manifest import File
from ncagen.dataset.shard import DamagedShard, Record, Rows
from ncagen.errors import NcagenError
from ncagen.sources import nca
from ncagen.spec import Band, Spec

SHARD_CANDIDATES = 2**32

# Of cell-steps: a batch of the default spec is 512 candidates and takes about 25 ms, short enough to stop within.
BATCH_CELL_STEPS = 512 * 144 * 20
BATCH_LIMITS = 16, 512

Report = Callable[[int, int], None]
"""Called after each batch with the rows kept and the candidates tried. It may raise to stop the work."""


@dataclass(frozen=True)
class Order:
    """A spec, the format of its files ("parquet" or "arrow") and the folder they go to."""

    spec: Spec
    storage: str
    folder: Path

    def path(self, split: str, band: Band, shard: int) -> Path:
        """Where a shard goes."""
        return self.folder / files.relative_path(self.spec, self.storage, split, band.name, shard)


def make(order: Order, split: str, shard: int, report: Report) -> list[tuple[Record, File]]:
    """Makes what is missing or damaged of one shard number and returns a record and a file for every band."""
    made = {band.name: intact(order, split, band, shard) for band in order.spec.bands}
    for band in order.spec.bands:
        if found := made[band.name]:
            report(found[0].rows, 0)
    missing = [band for band in order.spec.bands if made[band.name] is None]
    for band, (rows, tally) in fill(order.spec, split, shard, missing, report).items():
        record, data = pack(order.spec, order.storage, split, band.name, shard, rows, tally)
        files.write(order.path(split, band, shard), data)
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


def intact(order: Order, split: str, band: Band, shard: int) -> tuple[Record, File] | None:
    """The shard on disk, if it is the wanted one to the last byte: writing its rows again must give the file."""
    path = order.path(split, band, shard)
    if not path.is_file():
        return None
    data = pa.py_buffer(path.read_bytes())
    try:
        rows, record = files.from_bytes(data, order.storage)
    except DamagedShard:
        return None
    name = record.spec_sha256, record.split, record.band, record.shard
    if name != (order.spec.sha256, split, band.name, shard) or not files.to_bytes(rows, record, order.storage).equals(
        data
    ):
        return None
    return record, describe(data)


def describe(data: pa.Buffer) -> File:
    """Size and hash of a file's bytes."""
    return File(data.size, hashlib.sha256(data).hexdigest())


def fill(spec: Spec, split: str, shard: int, bands: Sequence[Band], report: Report) -> dict[Band, tuple[Rows, Tally]]:
    """The rows of a shard in each of the bands, from one pass over its candidates."""
    wanted = spec.shard_rows(split, shard)
    shelves = {band: _empty(spec, wanted) for band in bands}
    tallies = {band: Tally() for band in bands}
    tried = 0
    while unfilled := [band for band in bands if tallies[band].kept < wanted]:
        size = _batch_size(spec, [tallies[band] for band in unfilled], wanted)
        if tried + size > SHARD_CANDIDATES:
            raise NcagenError(f"shard {shard} has no candidates left: {unfilled[0].name} is too rare for this spec")
        first = shard * SHARD_CANDIDATES + tried
        candidates = np.arange(first, first + size, dtype=np.uint64)
        at_least = min(band.lengths(spec.scored_bytes)[0] for band in unfilled)
        batch = nca.batch(spec, STREAMS[split], candidates, at_least)
        kept = sum(_shelve(spec, band, batch, wanted, shelves[band], tallies[band]) for band in unfilled)
        tried += size
        report(kept, size)
    return {band: (shelves[band], tallies[band]) for band in bands}


def _shelve(spec: Spec, band: Band, batch: nca.Batch, wanted: int, shelf: Rows, tally: Tally) -> int:
    """Puts a batch's rows that fit the band on its shelf, and returns how many."""
    start = tally.kept
    chosen = choose(spec, band, batch.lengths, wanted - start, tally)
    if not len(chosen):
        return 0
    place = slice(start, start + len(chosen))
    lengths = batch.lengths[chosen]
    shelf.input_ids[place] = nca.rows(batch, chosen)
    shelf.candidate[place] = batch.candidates[chosen]
    shelf.gzip_bytes[place] = lengths
    shelf.gzip_ratio[place] = ratios(spec, lengths)
    return len(chosen)


def _empty(spec: Spec, rows: int) -> Rows:
    return Rows(
        np.empty((rows, spec.row_tokens), spec.token_dtype),
        np.empty(rows, np.uint64),
        np.empty(rows, np.int32),
        np.empty(rows, np.float32),
    )


def _batch_size(spec: Spec, unfilled: list[Tally], wanted: int) -> int:
    """Candidates to try next: about as many as the scarcest band still needs, within what a batch should take."""
    steps = spec.warmup + spec.stride * (spec.scored_frames - 1) + 1
    least, most = BATCH_LIMITS
    most = min(most, max(least, BATCH_CELL_STEPS // (spec.cells * steps)))
    needed = max((wanted - tally.kept) * max(tally.tried, 1) // max(tally.kept, 1) for tally in unfilled)
    return max(least, min(most, needed))
