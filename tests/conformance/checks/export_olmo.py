"""OLMo-core: NumpyFSLDatasetConfig with label masks, and the labels that training takes from them."""

import tempfile

import numpy as np
import torch
from common import EXPORT, SPLITS, report, same, source
from olmo_core.data import NumpyDatasetDType, NumpyFSLDatasetConfig, TokenizerConfig
from olmo_core.data.utils import get_labels

GRID = 38  # 36 patches and two delimiters

tokens = 0
for split in SPLITS:
    length, outside = source(split).shape[1], int(source(split).max()) + 1
    dataset = NumpyFSLDatasetConfig(
        paths=[str(EXPORT / split / "tokens/*.npy")],
        label_mask_paths=[str(EXPORT / split / "label_mask/*.npy")],
        expand_glob=True,
        sequence_length=length,
        tokenizer=TokenizerConfig(vocab_size=outside + 1, eos_token_id=outside, pad_token_id=outside),
        dtype=NumpyDatasetDType(source(split).dtype.name),
        work_dir=tempfile.mkdtemp(),
    ).build()
    dataset.prepare()
    items = [dataset[row] for row in range(len(dataset))]
    tokens += same(np.stack([item["input_ids"] for item in items]), split)
    assert all(np.array_equal(item["label_mask"], np.arange(length) >= GRID) for item in items)
    batch = {name: torch.stack([item[name] for item in items[:4]]) for name in ("input_ids", "label_mask")}
    labels = get_labels(batch)
    assert (labels[:, : GRID - 1] == -100).all() and (labels[:, -1] == -100).all()
    assert torch.equal(labels[:, GRID - 1 : -1], batch["input_ids"][:, GRID:])
report("ai2-olmo-core", "NumpyFSLDataset with label masks; labels of a batch", tokens)
