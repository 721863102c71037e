"""datasets: load_dataset of the folder as it is, cached and streaming, every column; then with ncagen's transform."""

import tempfile

import numpy as np
from common import EXPORT, SPLITS, report, same, source
from consumer_common import opened, received
from datasets import load_dataset

from ncagen.adapters.huggingface import transform

COLUMNS = ("input_ids", "candidate", "gzip_bytes", "gzip_ratio")

tokens, cache = 0, tempfile.mkdtemp()
for split in SPLITS:
    cached = load_dataset(str(EXPORT), "high", split=split, cache_dir=cache)
    streamed = load_dataset(str(EXPORT), "high", split=split, streaming=True)
    assert cached.column_names == list(COLUMNS)
    assert cached.features == streamed.features
    arrays = cached.with_format("numpy")[:]
    rows = list(streamed)
    for column in COLUMNS:
        kind = cached.features[column]
        assert getattr(kind, "feature", kind).dtype == source(split, column).dtype, (column, kind)
        found = same(arrays[column], split, column)
        assert same(np.array([row[column] for row in rows], source(split, column).dtype), split, column) == found
        tokens += found if column == "input_ids" else 0

    apply, every = transform(opened(split)), np.arange(len(source(split)))
    laid_out = cached.with_transform(apply)
    received((laid_out[start : start + 64] for start in range(0, len(laid_out), 64)), split, every)
    mapped = streamed.map(apply, batched=True, remove_columns=list(COLUMNS))
    received(({name: [value] for name, value in row.items()} for row in mapped), split, every)
report("datasets", f"load_dataset of {opened().manifest.storage} cached, streaming, with transform", tokens)
