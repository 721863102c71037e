"""TRL: what a Llama under SFTTrainer receives from the code of the page."""

import numpy as np
from common import report
from expected import drawn, received
from page import folder, run
from trainer_models import llama

STEPS, BATCH = 3, 2

settings = f'"runs", max_steps={STEPS}, per_device_train_batch_size={BATCH}, bf16=False, use_cpu=True'
model = llama()
with folder("nca-hf"):
    run("TRL", model=model, changes={'"runs"': settings})
numbers = drawn(model.received)
assert len(numbers) == STEPS * BATCH
assert all(np.isfinite(parameter.detach().numpy()).all() for parameter in model.parameters())
report("trl", "SFTTrainer with a Llama", received(model.received, "train", numbers))
