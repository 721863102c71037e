"""ncagen itself with the oldest numpy and pyarrow that it asks for: whole shards, and a shuffled stream."""

import numpy as np
import pyarrow
from common import SPLITS, report, same, source
from consumer_common import SEED, opened, order

import ncagen

COLUMNS = ("input_ids", "candidate", "gzip_bytes", "gzip_ratio")

tokens = 0
for split in SPLITS:
    rows = opened(split)
    shards = [rows.shard(number).columns for number in range(len(rows.records))]
    for column in COLUMNS:
        found = same(np.concatenate([shard[column] for shard in shards]), split, column)
        tokens += found if column == "input_ids" else 0
    batches = ncagen.Stream(rows, 32, seed=SEED)
    shuffled = np.concatenate([batch["input_ids"] for batch in batches])
    assert np.array_equal(shuffled, source(split)[order(split)])
report(None, f"ncagen.open and Stream on pyarrow {pyarrow.__version__}, {rows.manifest.file_format}", tokens)
