"""transformers: the oracle model under its Trainer, mistakes planted there, and a saved Llama scored by its folder."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import report
from consumer_common import LENGTH, opened
from torch.utils.data import Subset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, default_data_collator

import ncagen
from ncagen.adapters.torch import Rows
from ncagen.evaluate import check_training, score
from ncagen.evaluate.run_model import run_model

ROWS, SCORED = 4, 6
PACKED = ncagen.Layout(pack=2)
data = opened()


def evaluated(collator=default_data_collator, layout=None):
    """A loop: the Trainer's evaluation of four rows, and next-token accuracy from what it gathers."""

    def accuracy(given):
        labels = given.label_ids[:, 1:]
        return {"accuracy": (given.predictions[:, :-1].argmax(-1) == labels)[labels != -100].mean()}

    def loop(model):
        with tempfile.TemporaryDirectory() as folder:
            options = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "per_device_eval_batch_size": 2}
            rows = Subset(Rows(data, layout or ncagen.Layout()), range(ROWS))
            arguments = TrainingArguments(folder, **options)
            trainer = Trainer(model, arguments, eval_dataset=rows, data_collator=collator, compute_metrics=accuracy)
            return trainer.evaluate()

    return loop


def shifted(rows):
    """A collator that shifts labels beside the inputs, which the model does once more."""
    batch = default_data_collator(rows)
    return {"input_ids": batch["input_ids"][:, :-1], "labels": batch["labels"][:, 1:]}


def without_positions(rows):
    """A collator that drops what keeps packed rows apart."""
    batch = default_data_collator(rows)
    return {name: batch[name] for name in ("input_ids", "labels")}


def names(loop):
    return [mistake.name for mistake in check_training(loop, data).mistakes]


right = check_training(evaluated(), data)
assert right.ok and right.loss < 1e-6 and right.accuracy == 1.0, right
assert names(evaluated(shifted)) == ["labels shifted twice"], names(evaluated(shifted))
assert names(evaluated(layout=ncagen.Layout(mask_first=0))) == ["mask off by a grid"]
assert names(evaluated(layout=PACKED)) == []  # the Trainer turns the cache off
assert names(evaluated(without_positions, PACKED)) == ["packed rows leaking"]

torch.manual_seed(0)
sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
model = LlamaForCausalLM(LlamaConfig(vocab_size=10_048, **sizes)).eval()


def logits(tokens):
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(tokens)).logits.numpy()


with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(Path(folder) / "llama")
    found = run_model(Path(folder) / "llama", data, rows=SCORED)
expected = score(logits, data, rows=SCORED)
assert np.allclose(found.rung.nats[1:], expected.rung.nats[1:], atol=2e-5)
assert np.allclose(found.rung.accuracy[1:], expected.rung.accuracy[1:], atol=1e-6)
report("transformers", "Trainer over an oracle model, right and wrong, and a Llama's score", (ROWS + SCORED) * LENGTH)
