"""JSON lines: one object per row with all its columns, one file per shard, zstd-compressed by default."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ncagen.export.files import Done, File, whole
from ncagen.export.plan import Export, compress


def files(export: Export, done: Done) -> Iterator[File]:
    """A shard is one zstd frame: readers on python-zstandard stop after the first without an error."""
    for split in export.splits:
        count = len(export.shards(split))
        for shard in export.shards(split):
            path = f"{split}-{shard:05d}-of-{count:05d}.jsonl{'.zst' if export.zstd else ''}"
            rows = export.shard_rows(split, shard)
            yield whole(path, partial(_lines, export, split, shard), rows)


def _lines(export: Export, split: str, shard: int) -> bytes:
    rows = export.rows(split, shard)
    # str() of a float32 is the shortest text that gives it back; its float64 would have nine digits more.
    plain = {
        name: [float(str(value)) for value in column] if column.dtype == np.float32 else column.tolist()
        for name, column in rows.columns.items()
    }
    values = zip(*plain.values(), strict=True)
    lines = (json.dumps(dict(zip(plain, row, strict=True)), separators=(",", ":")) for row in values)
    data = "".join(f"{line}\n" for line in lines).encode()
    return compress(data) if export.zstd else data


def settings(export: Export, out: Path) -> list[str]:
    """Python for datasets."""
    names = ", ".join(f"{split!r}: {str(out / f'{split}-*')!r}" for split in export.splits)
    return [
        f"load_dataset('json', data_files={{{names}}})",
        f"# each row has {export.length} ids below {export.vocabulary:,}; .zst needs the package zstandard",
    ]
