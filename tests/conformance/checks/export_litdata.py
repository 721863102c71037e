"""litdata: StreamingDataset with TokensLoader; by index, and in batches as a trainer does."""

import numpy as np
import torch
from common import EXPORT, SPLITS, report, same, source
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader

tokens = 0
for split in SPLITS:
    block = source(split).shape[1]
    dataset = StreamingDataset(str(EXPORT / split), item_loader=TokensLoader(block_size=block))
    assert len(dataset) == len(source(split))
    assert all(row.dtype == source(split).dtype for row in (dataset[0], dataset[len(dataset) - 1]))
    tokens += same(np.stack([dataset[row] for row in range(len(dataset))]), split)
    same(torch.cat(list(StreamingDataLoader(dataset, batch_size=8))).numpy(), split)
report("litdata", "StreamingDataset with TokensLoader, by index; StreamingDataLoader", tokens)
