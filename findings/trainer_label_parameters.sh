#!/bin/sh
# transformers 5.23.0: Trainer takes every parameter of forward() whose name contains "label" for a key that a batch must
# have. A model with forward(input_ids, labels=None, label_smoothing=0.0), batches with labels and a loss in its output
# is evaluated without eval_loss and without a message; with the parameter named "smoothing" it has one.
# TrainingArguments(label_names=["labels"]) helps. Observed: no eval_loss, then eval_loss twice. Exits 0 if so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cat > "$work/try.py" <<'PROGRAM'
import logging
import sys
import warnings

import torch
import transformers
from transformers import Trainer, TrainingArguments


class Smoothed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Embedding(8, 8)

    def loss(self, input_ids, labels, smoothing):
        logits = self.head(input_ids)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing)
        return {"loss": loss, "logits": logits}


class Named(Smoothed):
    def forward(self, input_ids, labels=None, label_smoothing=0.0):
        return self.loss(input_ids, labels, label_smoothing)


class Renamed(Smoothed):
    def forward(self, input_ids, labels=None, smoothing=0.0):
        return self.loss(input_ids, labels, smoothing)


rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(4)]
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("transformers").addHandler(handler)


def keys(model, **options):
    arguments = TrainingArguments("out", report_to=[], disable_tqdm=True, use_cpu=True, **options)
    with warnings.catch_warnings(record=True) as caught:
        found = Trainer(model, arguments, eval_dataset=rows).evaluate()
    messages.extend(str(warning.message) for warning in caught)
    return "eval_loss" in found


found = keys(Named()), keys(Renamed()), keys(Named(), label_names=["labels"])
about = [message for message in messages if "label" in message.lower()]
print("transformers", transformers.__version__, "eval_loss:", found, "messages about labels:", about)
sys.exit(0 if found == (False, True, True) and not about else 1)
PROGRAM
cd "$work" && "$work/venv/bin/python" try.py
