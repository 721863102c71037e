"""datatrove: DatatroveFolderDataset, with positions from the .index files."""

import numpy as np
from common import EXPORT, SPLITS, report, same, source
from datatrove.utils.dataset import DatatroveFileDataset, DatatroveFolderDataset

tokens = 0
for split in SPLITS:
    (rows, length), size = source(split).shape, source(split).itemsize
    folder = DatatroveFolderDataset(
        str(EXPORT / split), seq_len=length - 1, token_size=size, filename_pattern="*.ds", return_positions=True
    )
    items = [folder[row] for row in range(len(folder))]
    tokens += same(np.stack([item["input_ids"] for item in items]), split)
    assert len(items) == rows
    assert all(np.array_equal(item["positions"], np.arange(length)) for item in items)
    file = DatatroveFileDataset(str(EXPORT / split / "00000_unshuffled.ds"), length - 1, size)
    same(np.stack([file[row]["input_ids"] for row in range(len(file))]), split)
report("datatrove", "DatatroveFolderDataset with positions, DatatroveFileDataset", tokens)
