"""transformers' Trainer: what the model is given, with checkpoints within an epoch and at its end."""

import json
import tempfile
import warnings
from pathlib import Path

import datasets
import torch
from matrix_common import EXPORT, Cell, Ledger, Oracle, attempt, report_cells
from reader_matrix.oracle import BATCH, ROWS, SEED, SETTINGS, cut, flat
from reader_matrix.situations import TAKEN
from reader_matrix.subjects import Workers
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from ncagen.adapters.huggingface import transform
from ncagen.adapters.torch import Batches, Generated, Loader, Rows

FRAMEWORK, EPOCHS = "transformers' Trainer", 3
KINDS = [Workers(), Workers(2, "fork")]
STEPS = -(-ROWS // BATCH)  # of an epoch
SAVED = {"resumed in epoch 0": TAKEN, "resumed at its end": STEPS, "resumed in epoch 1": STEPS + TAKEN}
STATE = "ncagen.json"


class Model(torch.nn.Module):
    """Records the rows of every step."""

    def __init__(self, oracle: Oracle):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.oracle, self.given = oracle, []

    def forward(self, input_ids, labels, **others):
        self.given.append(self.oracle.numbers(input_ids))
        return {"loss": self.weight.sum()}


class Keep(TrainerCallback):
    """Saves a reader's own state beside each checkpoint."""

    def __init__(self, state):
        self.state = state

    def on_save(self, arguments, state, control, **others):
        path = Path(arguments.output_dir, f"checkpoint-{state.global_step}", STATE)
        path.write_text(json.dumps(self.state(state.global_step)))


def train(oracle: Oracle, folder: str, *, loader=None, dataset=None, resume=None, keep=None, **options) -> list:
    """The batches of a run."""

    class Given(Trainer):
        def get_train_dataloader(self):
            return super().get_train_dataloader() if loader is None else loader

    options = {"num_train_epochs": EPOCHS} | options
    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=BATCH,
        save_strategy="no" if keep is None else "steps",
        save_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
        remove_unused_columns=False,
        **options,
    )
    model = Model(oracle)
    callbacks = [Keep(keep)] if callable(keep) else []
    trainer = Given(model, arguments, train_dataset=dataset, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return model.given


def whole(oracle: Oracle) -> list:
    """The batches of all epochs."""
    return [batch for epoch in range(EPOCHS) for batch in oracle.rest(epoch)]


def loaders(oracle: Oracle, ledger: Ledger) -> None:
    """A Loader from get_train_dataloader; its own state resumes, with ignore_data_skip."""
    own = {"ignore_data_skip": True}
    for workers in [*KINDS, Workers(2, "fork", True)]:

        def new(workers=workers):
            return Loader(oracle.data, BATCH, seed=SEED, **workers.options())

        def cell(situation, workers=workers):
            return Cell("Loader", FRAMEWORK, str(workers), situation)

        folder, loader = tempfile.mkdtemp(), new()
        found = train(oracle, folder, loader=loader, keep=lambda step, loader=loader: loader.state_dict())
        ledger.same(cell("fresh"), [found], [whole(oracle)])
        for situation, step in SAVED.items():
            checkpoint, again = f"{folder}/checkpoint-{step}", new()
            again.load_state_dict(json.loads(Path(checkpoint, STATE).read_text()))
            found = train(oracle, tempfile.mkdtemp(), loader=again, resume=checkpoint, **own)
            ledger.same(cell(situation), [found], [whole(oracle)[step:]])
        found = train(oracle, tempfile.mkdtemp(), loader=new(), resume=f"{folder}/checkpoint-{STEPS}")
        ledger.same(cell("resumed at its end, without its state"), [found], [whole(oracle)[STEPS:]])
    try:
        train(oracle, tempfile.mkdtemp(), loader=new(), resume=f"{folder}/checkpoint-{TAKEN}")
    except AttributeError as error:
        ledger.expect_message(
            cell("resumed in epoch 0 by skipping"),
            str(error),
            "a Loader has no dataset, since it only yields batches: leave it out of what rebuilds loaders, such as"
            " Ray's prepare_data_loader; to resume under transformers' Trainer, use ignore_data_skip=True and load the"
            " loader's own state",
        )


def batches(oracle: Oracle, ledger: Ledger) -> None:
    """Batches in a DataLoader from get_train_dataloader, with `state_after`."""
    for workers in KINDS:

        def new(workers=workers):
            dataset = Batches(oracle.data, BATCH, seed=SEED)
            return dataset, DataLoader(dataset, batch_size=None, **workers.options())

        folder, (dataset, loader) = tempfile.mkdtemp(), new()
        keep = lambda step, dataset=dataset: dataset.state_after((step - 1) % STEPS + 1)  # noqa: E731
        cell = Cell("Batches", FRAMEWORK, str(workers), "fresh")
        ledger.same(cell, [train(oracle, folder, loader=loader, keep=keep)], [whole(oracle)])
        for situation, step in SAVED.items():
            checkpoint, (again, loader) = f"{folder}/checkpoint-{step}", new()
            again.load_state_dict(json.loads(Path(checkpoint, STATE).read_text()))
            found = train(oracle, tempfile.mkdtemp(), loader=loader, resume=checkpoint, ignore_data_skip=True)
            ledger.same(cell._replace(situation=situation), [found], [whole(oracle)[step:]])


def datasets_by_number(oracle: Oracle, ledger: Ledger) -> None:
    """Rows, `datasets` with the transform, and Generated as train_dataset; the Trainer skips by itself."""
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(EXPORT), "high", split="train", cache_dir=tempfile.mkdtemp())
    table = loaded.with_transform(transform(oracle.data))
    stored = cut(list(range(ROWS)), BATCH) * EPOCHS
    kinds = {
        "Rows": (lambda: Rows(oracle.data, shuffle=True, seed=SEED), whole(oracle), KINDS),
        "the datasets transform": (lambda: table, stored, KINDS),
        "Generated": (lambda: Generated(SETTINGS), stored, KINDS[:1]),
    }
    for reader, (new, expected, all_workers) in kinds.items():
        for workers in all_workers:
            options = {"dataloader_num_workers": workers.count, "train_sampling_strategy": "sequential"}
            if reader == "Generated":
                options["max_steps"] = STEPS * EPOCHS
            cell, folder = Cell(reader, FRAMEWORK, str(workers), "fresh"), tempfile.mkdtemp()
            found = train(oracle, folder, dataset=new(), keep=True, **options)
            ledger.same(cell, [found], [expected])
            for situation, step in SAVED.items():
                if reader == "Generated" and step > STEPS:
                    continue  # has no length: the Trainer skips within its first pass alone, whatever the epoch
                checkpoint = f"{folder}/checkpoint-{step}"
                found = train(oracle, tempfile.mkdtemp(), dataset=new(), resume=checkpoint, **options)
                ledger.same(cell._replace(situation=situation), [found], [expected[step:]])
            if reader != "Generated":
                options["train_sampling_strategy"] = "random"
                found = train(oracle, tempfile.mkdtemp(), dataset=new(), **options)
                passes = [flat(found[at : at + STEPS]) for at in range(0, len(found), STEPS)]
                ledger.once(cell._replace(situation="the Trainer's sampler"), passes, range(ROWS))


def main() -> None:
    warnings.simplefilter("ignore")
    oracle, ledger = Oracle(Path(EXPORT)), Ledger()
    for run in (loaders, batches, datasets_by_number):
        attempt(ledger, Cell("", FRAMEWORK, "", run.__name__), lambda run=run: run(oracle, ledger))
    ledger.cannot("Stream", FRAMEWORK, "gives NumPy arrays: Loader is it as tensors")
    ledger.cannot("grain's map", FRAMEWORK, "grain has loaders and states of its own")
    report_cells("transformers", ledger)


if __name__ == "__main__":
    main()
