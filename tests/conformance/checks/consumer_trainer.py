"""transformers: what a Llama under Trainer receives, from Rows and from load_dataset, straight on and resumed."""

import tempfile

import numpy as np
import torch
from common import EXPORT, report
from consumer_common import SEED, drawn, opened, order, received
from datasets import load_dataset
from torch.utils.data import Dataset, Subset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from ncagen.adapters.huggingface import transform
from ncagen.adapters.torch import Rows

BATCH, STEPS, SAVED = 4, 6, 2
EVALUATED = 20


class Run:
    """A Trainer, and the batches that its model receives."""

    def __init__(self, dataset: Dataset, folder: str, **options):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=10_048, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
        )
        model = LlamaForCausalLM(config)
        model.register_forward_pre_hook(self._receive, with_kwargs=True)
        self.received: list[dict] = []
        settings = TrainingArguments(
            folder,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            save_steps=SAVED,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=SEED,
            **options,
        )
        self.trainer = Trainer(model, settings, train_dataset=dataset)

    def _receive(self, model, arguments, named):
        self.received.append({name: named[name].clone() for name in ("input_ids", "labels")})


data = opened()
loaded = load_dataset(str(EXPORT), "high", split="train", cache_dir=tempfile.mkdtemp()).with_transform(transform(data))
shuffled = Rows(data, shuffle=True, seed=SEED)
tokens = 0
for dataset, strategy, workers in ((shuffled, "sequential", 0), (Rows(data), "random", 2), (loaded, "random", 0)):
    with tempfile.TemporaryDirectory() as folder:
        options = {"train_sampling_strategy": strategy, "dataloader_num_workers": workers}
        whole, resumed = Run(dataset, folder, **options), Run(dataset, folder, **options)
        whole.trainer.train()
        resumed.trainer.train(resume_from_checkpoint=f"{folder}/checkpoint-{SAVED}")
    rows = order()[: BATCH * STEPS] if strategy == "sequential" else drawn(whole.received)
    assert len(rows) == BATCH * STEPS
    tokens += received(whole.received, "train", rows)
    tokens += received(resumed.received, "train", rows[BATCH * SAVED :])
    resumed.received.clear()
    resumed.trainer.evaluate(Subset(Rows(opened("validation")), range(EVALUATED)))
    tokens += received(resumed.received, "validation", np.arange(EVALUATED))
report("transformers", "Trainer with a Llama, from Rows and load_dataset, resumed: what the model receives", tokens)
