"""transformers' Trainer, with Rows and in the form of run_clm.py: what a model receives from the code of the page."""

from common import report
from consumer_common import whole_epochs
from page import folder, run
from trainer_models import Recorder

tokens = 0
for section in ("transformers", "transformers, run_clm.py"):
    model = Recorder()
    with folder():
        run(section, model=model, changes={'"runs"': '"runs", num_train_epochs=1, disable_tqdm=True'})
    tokens += whole_epochs(model.received, 1) + whole_epochs(model.evaluated, 1, split="validation")
report("transformers", "Trainer over Rows, and as in run_clm.py: an epoch, and the evaluation", tokens)
