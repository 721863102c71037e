"""mosaicml-streaming: StreamingDataset with its hashes checked, by index and in batches."""

import numpy as np
import torch
from common import EXPORT, SPLITS, report, same, source
from torch.utils.data import DataLoader

# streaming imports torchvision, which it does not use here. Beside a torch without CUDA torchvision's library does not
# load, and its import then fails over these two operators.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from streaming import StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

tokens = 0
for split in SPLITS:
    clean_stale_shared_memory()
    dataset = StreamingDataset(
        local=str(EXPORT), split=split, shuffle=False, batch_size=1, validate_hash="sha256", num_canonical_nodes=1
    )
    samples = [dataset[row] for row in range(len(dataset))]
    assert samples[0]["input_ids"].dtype == source(split).dtype
    tokens += same(np.stack([sample["input_ids"] for sample in samples]), split)
    for column in ("candidate", "gzip_bytes", "gzip_ratio"):
        same(np.array([sample[column] for sample in samples]), split, column)
    batches = list(DataLoader(dataset, batch_size=8))
    same(torch.cat([batch["input_ids"] for batch in batches]).numpy(), split)
    same(torch.cat([batch["candidate"] for batch in batches]).numpy(), split, "candidate")
report("mosaicml-streaming", "StreamingDataset by index, all columns; DataLoader, sha256 checked", tokens)
