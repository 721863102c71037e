"""Lightning: what a module receives from the code of the page in three epochs, and resumed within the second."""

import lightning
import numpy as np
import torch
from common import report
from consumer_common import order, received
from lightning.pytorch.callbacks import ModelCheckpoint
from page import folder, run
from trainer_models import Recorder

EPOCHS, BATCH, SEED = 3, 8, 1
SAVED = 150  # batches; an epoch has about 110


class Module(lightning.LightningModule):
    """A Recorder under Lightning."""

    def __init__(self):
        super().__init__()
        self.model = Recorder()

    def training_step(self, batch: dict) -> torch.Tensor:
        """The loss."""
        return self.model(**batch).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), 0.1)


whole, resumed = Module(), Module()
quiet = "max_epochs=3, enable_progress_bar=False, logger=False"
with folder() as place:
    kept = ModelCheckpoint(place, filename="{step}", every_n_train_steps=SAVED, save_top_k=-1)
    names = {"module": whole, "kept": kept}
    run("Lightning", changes={"max_epochs=3": f"{quiet}, callbacks=[kept]"}, **names)
    checkpoint = {"fit(module, loader)": f"fit(module, loader, ckpt_path='{place}/step={SAVED}.ckpt')"}
    run("Lightning", changes={"max_epochs=3": quiet, **checkpoint}, module=resumed)
numbers = np.concatenate([order(epoch=epoch, seed=SEED) for epoch in range(EPOCHS)])
tokens = received(whole.model.received, "train", numbers)
start = len(whole.model.received) - len(resumed.model.received)
assert start == SAVED, start
for before, after in zip(whole.model.received[start:], resumed.model.received, strict=True):
    assert torch.equal(before["input_ids"], after["input_ids"])
report("lightning", "Trainer.fit over Loader: three epochs, and resumed within the second", tokens)
