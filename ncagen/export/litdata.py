"""litdata: a folder of chunks for each split, for TokensLoader. A chunk is a count, byte offsets and tokens."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ncagen.dataset.manifest import canonical
from ncagen.export.files import Done, File, whole
from ncagen.export.plan import Export

CODES = {"uint16": 5, "uint32": 6}
LEAF = '[1, {"type": null, "context": null, "children_spec": []}]'  # a row is a bare array, not a dict of columns


def files(export: Export, done: Done) -> Iterator[File]:
    """index.json after its chunks."""
    for split in export.splits:
        for shard in export.shards(split):
            rows = export.shard_rows(split, shard)
            yield whole(_path(split, shard), partial(_chunk, export, split, shard), rows)
        yield whole(f"{split}/index.json", partial(_index, export, split, done))


def _path(split: str, shard: int) -> str:
    return f"{split}/chunk-0-{shard}.bin"


def _chunk(export: Export, split: str, shard: int) -> bytes:
    ids = export.rows(split, shard).input_ids
    count = len(ids)
    offsets = 4 * (count + 2) + np.arange(count + 1) * ids[0].nbytes
    return np.uint32(count).tobytes() + offsets.astype("<u4").tobytes() + ids.tobytes()


def _index(export: Export, split: str, done: Done) -> bytes:
    config = {
        "chunk_bytes": None,
        "chunk_size": export.shard_rows(split, 0) * export.length,
        "compression": None,
        "data_format": [f"no_header_numpy:{CODES[export.dtype.name]}"],
        "data_spec": LEAF,
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    # litdata names its cache by this, so another export under the same address is not mistaken for this one.
    updated = hashlib.sha256(canonical(export.identity).encode()).hexdigest()[:16]
    index = {"chunks": [_entry(export, split, shard, done) for shard in export.shards(split)], "config": config}
    return json.dumps(index | {"updated_at": updated}, sort_keys=True).encode()


def _entry(export: Export, split: str, shard: int, done: Done) -> dict:
    path, rows = _path(split, shard), export.shard_rows(split, shard)
    return {
        "filename": Path(path).name,
        "chunk_bytes": done[path].bytes,
        "chunk_size": rows,
        "dim": rows * export.length,
    }


def settings(export: Export, out: Path) -> list[str]:
    """Python for litdata, and what litgpt needs."""
    return [
        f"StreamingDataset({str(out / export.first_split)!r}, item_loader=TokensLoader(block_size={export.length}))",
        "# each item is one row; for litgpt, whose block_size is max_seq_length + 1:",
        f"# --data LitData --data.data_path {out} --data.split_names '[train,validation]'",
        f"# --train.max_seq_length {export.length - 1}",
        f"# vocabulary {export.vocabulary:,}",
    ]
