"""Mosaic's MDS, version 2: a folder of shards for each split; a sample is a row with all its columns."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ncagen.export.files import Done, File, Written, whole
from ncagen.export.plan import Export, compress

HASH = "sha256"


def files(export: Export, done: Done) -> Iterator[File]:
    """index.json after its shards."""
    for split in export.splits:
        for shard in export.shards(split):
            rows = export.shard_rows(split, shard)
            yield whole(_path(export, split, shard), partial(_stored, export, split, shard), rows)
        yield whole(f"{split}/index.json", partial(_index, export, split, done))


def _path(export: Export, split: str, shard: int) -> str:
    return f"{split}/shard.{shard:05d}.mds{'.zstd' if export.zstd else ''}"


def _stored(export: Export, split: str, shard: int) -> bytes:
    data = _shard(export, split, shard)
    return compress(data) if export.zstd else data


def _columns(export: Export) -> list[tuple[str, str, np.dtype]]:
    """Name, encoding and dtype, in the order of the names, as MDS has them.

    Integers are signed because torch makes no batch of uint64 scalars.
    """
    _, *others = export.manifest.row_format.columns
    tokens = f"ndarray:{export.dtype.name}:{export.length}", np.dtype((export.dtype, (export.length,)))
    stored = {column.name: column.dtype.replace("uint", "int") for column in others}
    scalars = [(name, dtype, np.dtype(dtype).newbyteorder("<")) for name, dtype in stored.items()]
    return sorted([*scalars, ("input_ids", *tokens)], key=lambda column: column[0])


def _config(export: Export) -> dict:
    columns = _columns(export)
    return {
        "version": 2,
        "format": "mds",
        "compression": "zstd" if export.zstd else None,
        "hashes": [HASH],
        "size_limit": None,
        "column_names": [name for name, _, _ in columns],
        "column_encodings": [encoding for _, encoding, _ in columns],
        "column_sizes": [dtype.itemsize for _, _, dtype in columns],
    }


def _shard(export: Export, split: str, shard: int) -> bytes:
    """Count, byte offsets of the samples and of the end, the config, the samples."""
    rows = export.rows(split, shard)
    samples = np.empty(len(rows), [(name, dtype) for name, _, dtype in _columns(export)])
    for name, column in rows.columns.items():
        samples[name] = column
    config = json.dumps(_config(export), sort_keys=True).encode()
    begin = 4 + 4 * (len(samples) + 1) + len(config)
    offsets = begin + np.arange(len(samples) + 1) * samples.itemsize
    return np.uint32(len(samples)).tobytes() + offsets.astype("<u4").tobytes() + config + samples.tobytes()


def _index(export: Export, split: str, done: Done) -> bytes:
    shards = [_entry(export, split, shard, done) for shard in export.shards(split)]
    return json.dumps({"version": 2, "shards": shards}, sort_keys=True).encode()


def _entry(export: Export, split: str, shard: int, done: Done) -> dict:
    path = _path(export, split, shard)
    raw, zipped = done[path], None
    if export.zstd:
        data = _shard(export, split, shard)  # the hash of what is in the zstd file, which nobody has kept
        raw, zipped = Written(len(data), hashlib.sha256(data).hexdigest()), done[path]
    return _config(export) | {
        "samples": export.shard_rows(split, shard),
        "raw_data": _info(path.removesuffix(".zstd"), raw),
        "zip_data": _info(path, zipped) if zipped else None,
    }


def _info(path: str, written: Written) -> dict:
    return {"basename": Path(path).name, "bytes": written.bytes, "hashes": {HASH: written.sha256}}


def settings(export: Export, out: Path) -> list[str]:
    """Python for mosaicml-streaming."""
    return [
        f"StreamingDataset(local={str(out)!r}, split={export.first_split!r}, shuffle=True, batch_size=8,"
        f" validate_hash={HASH!r})",
        f"# each sample is one row of {export.length} {export.dtype.name} ids below {export.vocabulary:,}:",
        "# inputs are row['input_ids'][:-1], labels row['input_ids'][1:]",
    ]
