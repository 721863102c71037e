"""megatron-core: IndexedDataset, mapped and read; then GPTDataset, whose samples must be whole rows."""

import numpy as np
from common import EXPORT, SPLITS, report, same, source
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset
from megatron.core.datasets.utils import Split
from megatron.core.tokenizers.text.libraries.null_tokenizer import NullTokenizer

tokens = 0
for split in SPLITS:
    rows = source(split)
    for mapped in (True, False):
        dataset = IndexedDataset(str(EXPORT / split), mmap=mapped)
        assert len(dataset) == len(rows) and np.array_equal(dataset.document_indices, np.arange(len(rows) + 1))
        found = np.stack([dataset[row] for row in range(len(dataset))])
        assert found.dtype == {2: np.uint16, 4: np.int32}[rows.itemsize]
        same(found, split)
    tokens += rows.size


class NewNullTokenizer(NullTokenizer):
    """As Megatron-LM has it since April 2026, of which there is no release yet: its eod is the id before vocab_size."""

    def __init__(self, vocab_size: int):
        super().__init__(vocab_size)
        self._eod_id = vocab_size - 1


def check_samples(tokenizer: NullTokenizer, cache: str) -> None:
    """Every sample is one whole row, without an end of document in it."""
    rows = source("train")
    assert not (rows == tokenizer.eod).any()
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=rows.shape[1],
        tokenizer=tokenizer,
        reset_position_ids=True,
        reset_attention_mask=False,
        eod_mask_loss=True,
        create_attention_mask=False,
        mid_level_dataset_surplus=0.005,
        path_to_cache=str(EXPORT / cache),
    )
    indexed = IndexedDataset(str(EXPORT / "train"))
    gpt = GPTDataset(indexed, str(EXPORT / "train"), np.arange(len(rows), dtype=np.int32), None, Split.train, config)
    numbers = {row.tobytes(): number for number, row in enumerate(rows)}
    drawn = [gpt[sample] for sample in range(len(gpt))]
    seen = [numbers[sample["tokens"].numpy().astype(rows.dtype).tobytes()] for sample in drawn]
    assert len(set(seen)) == len(seen) == len(rows) - 1  # the last has no label for its last token
    assert all(sample["loss_mask"].sum() == rows.shape[1] for sample in drawn)
    assert all(np.array_equal(sample["position_ids"], np.arange(rows.shape[1])) for sample in drawn)


vocab_size = int(source("train").max()) + 2  # what `ncagen export` prints
check_samples(NullTokenizer(vocab_size), "cache")
check_samples(NewNullTokenizer(vocab_size), "new-cache")
report("megatron-core", "IndexedDataset, mapped and read; GPTDataset: every sample is one whole row", tokens)
