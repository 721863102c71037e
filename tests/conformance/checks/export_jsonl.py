"""datasets: load_dataset("json") of the compressed files, every column."""

import tempfile

import numpy as np
from common import EXPORT, SPLITS, report, same
from datasets import load_dataset

files = {split: str(EXPORT / f"{split}-*.jsonl*") for split in SPLITS}
loaded = load_dataset("json", data_files=files, cache_dir=tempfile.mkdtemp())
tokens = 0
for split in SPLITS:
    rows = loaded[split].with_format("numpy")
    tokens += same(rows["input_ids"][:], split)
    for column in ("candidate", "gzip_bytes"):
        same(rows[column][:], split, column)
    same(np.asarray(rows["gzip_ratio"][:], np.float32), split, "gzip_ratio")
report("datasets", 'load_dataset("json") of the .jsonl.zst files, all columns', tokens)
