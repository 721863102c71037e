"""llm.c has no package: the checks of its llmc/dataloader.h and its walk through a file, in other words."""

from pathlib import Path

import numpy as np
from common import EXPORT, report, source

BATCH, TIME = 4, 1026


def load(path: Path) -> np.ndarray:
    """The tokens of one file, after the header's checks."""
    header = np.fromfile(path, np.int32, 256)
    assert header[0] == 20240520 and header[1] == 1 and header[2] > BATCH * TIME
    tokens = np.fromfile(path, np.uint16, offset=1024)
    assert len(tokens) == header[2]
    return tokens


compared = 0
for split, pattern in (("train", "nca_train_*.bin"), ("validation", "nca_val_*.bin")):
    files = [load(path) for path in sorted(EXPORT.glob(pattern))]
    assert files
    rows = source(split)
    assert np.array_equal(np.concatenate(files), rows.reshape(-1))
    compared += rows.size
    for start in range(0, files[0].size - BATCH * TIME, BATCH * TIME):  # batches of B * T + 1 tokens, B * T apart
        inputs = files[0][start : start + BATCH * TIME].reshape(BATCH, TIME)
        assert np.array_equal(inputs, rows[start // TIME : start // TIME + BATCH])
report(None, "header, size and tokens of every file; batches of rows", compared)
