"""Hugging Face's trainers: Parquet of input_ids, labels and attention_mask as plain lists, and a tokenizer of ids.

Labels are at the positions of their inputs, and the model shifts them; they are -100 on the unpredictable tokens at the
beginning of a row. Ids are int32, which can hold -100; as uint16 it would be 65436. Lists have no fixed size, because
TRL's packing refuses those. Rows are not packed here.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset.layout import IGNORED, targets
from ncagen.export import tokenizer
from ncagen.export.files import Done, File, whole
from ncagen.export.plan import Export

GROUP_ROWS = 1024  # rows of a row group, about what `datasets` reads at a time
TOKENIZER = "tokenizer"


def files(export: Export, done: Done) -> Iterator[File]:
    """Shards under the names that `load_dataset` takes for splits. The tokenizer only where ids begin with 0."""
    if not export.token_offset:
        yield whole(f"{TOKENIZER}/tokenizer.json", partial(tokenizer.model, export.vocabulary))
        yield whole(f"{TOKENIZER}/tokenizer_config.json", tokenizer.config)
    for split in export.splits:
        count = len(export.shards(split))
        for shard in export.shards(split):
            path = f"data/{split}-{shard:05d}-of-{count:05d}.parquet"
            yield whole(path, partial(_shard, export, split, shard), export.shard_rows(split, shard))


def _shard(export: Export, split: str, shard: int) -> bytes:
    ids = export.rows(split, shard).input_ids
    labels = np.where(targets(export.manifest.row_format)[: export.length], ids, np.int32(IGNORED))
    columns = {"input_ids": ids, "labels": labels, "attention_mask": np.ones(ids.shape, np.int8)}
    table = pa.table({name: _lists(column) for name, column in columns.items()})
    sink = pa.BufferOutputStream()
    compression = "zstd" if export.zstd else "none"
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, compression=compression, write_statistics=False)
    return sink.getvalue().to_pybytes()


def _lists(column: np.ndarray) -> pa.ListArray:
    """A list for each row. column: [row, place]."""
    rows, places = column.shape
    return pa.ListArray.from_arrays(
        pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(places)), pa.array(column.reshape(-1))
    )


def settings(export: Export, out: Path) -> list[str]:
    """Python for datasets and transformers, and what TRL and axolotl need."""
    masked = max(1, export.manifest.row_format.unpredictable)
    lines = [f"rows = load_dataset({str(out)!r})  # {', '.join(export.splits)}: input_ids, labels, attention_mask"]
    if export.token_offset:
        lines.append("# no tokenizer: with --token-offset use the one whose ids lie below")
        lines.append(f"# ids go up to {export.vocabulary - 1:,}: give the model a vocab_size of {export.vocabulary}")
    else:
        end = export.vocabulary
        lines.append(f"tokenizer = AutoTokenizer.from_pretrained({str(out / TOKENIZER)!r})  # id 17 is the text 17")
        lines.append(
            f"# its eos and pad are {end}, which no row holds: give the model a vocab_size of {end + 1} or more"
        )
    return [
        *lines,
        f"# labels are -100 on the first {masked} tokens; the model shifts them",
        f"# TRL: SFTConfig(max_length=None), which else cuts rows of {export.length} in silence",
        f"# axolotl: path: {out}, without a type; sequence_len: {export.length}",
    ]
