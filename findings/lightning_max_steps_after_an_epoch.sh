#!/bin/sh
# Lightning 2.6.6: a run that is limited by max_steps and resumed from a checkpoint at the end of an epoch takes one
# batch, ends that epoch, and starts the next one. With max_epochs it starts the next epoch at once. So it trains on the
# first batch of an epoch and skips the other nine of ten, or trains on the first batch twice, depending on the loader.
# Observed: {0: 1, 1: 10, 2: 9} steps by epoch instead of {1: 10, 2: 10}. Exits 1 if this is no longer so.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 lightning==2.6.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import sys, tempfile, warnings, logging
import lightning, torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
warnings.simplefilter("ignore"); logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.given = torch.nn.Parameter(torch.zeros(1)), {}
    def training_step(self, batch, number):
        self.given.setdefault(self.current_epoch, []).append(len(batch))
        return self.weight.sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

def fit(resume=None, **limit):
    model = Model()
    save = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    trainer = lightning.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
                                enable_model_summary=False, callbacks=[save], **limit)
    trainer.fit(model, DataLoader(range(100), batch_size=10), ckpt_path=resume)
    return {epoch: len(steps) for epoch, steps in model.given.items()}

folder = tempfile.mkdtemp()
print("lightning", lightning.__version__)
print("from the start, max_steps=30: steps of each epoch", fit(max_epochs=-1, max_steps=30))
by_epochs = fit(f"{folder}/epoch=0.ckpt", max_epochs=3)
by_steps = fit(f"{folder}/epoch=0.ckpt", max_epochs=-1, max_steps=30)
print("resumed from the checkpoint of epoch 0's end, max_epochs=3: ", by_epochs)
print("resumed from the same checkpoint, max_steps=30:             ", by_steps)
sys.exit(not (by_epochs == {1: 10, 2: 10} and next(iter(by_steps.values())) == 1))
END
