"""Lightning's Trainer: what training_step is given, resumed within an epoch and at its end; one and two ranks."""

import gc
import logging
import tempfile
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from matrix_common import EXPORT, WORLD, Cell, Ledger, Oracle, attempt, launched, report_cells, run_ranks, save_rank
from reader_matrix.oracle import BATCH, ROWS, SEED, SETTINGS, cut, flat
from reader_matrix.situations import TAKEN
from reader_matrix.subjects import Workers
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ncagen.adapters.torch import Batches, Generated, Loader, Rows

FRAMEWORK, EPOCHS = "Lightning", 3
KINDS = [Workers(), Workers(2, "fork")]
FRESH_ONLY = (Workers(2, "fork", True), Workers(2, "forkserver"))  # seconds to end, or to start
RANKS = [Workers(), Workers(2, "forkserver")]  # a worker forked beside DDP's threads may hang
SAVES = {"resumed in epoch 0": (0, TAKEN), "resumed at its end": (0, None), "resumed in epoch 1": (1, TAKEN)}


class Model(lightning.LightningModule):
    """Records the rows of every step, by epoch."""

    def __init__(self, oracle: Oracle):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.oracle, self.given = oracle, {}

    def training_step(self, batch, number):
        self.given.setdefault(self.current_epoch, []).append(self.oracle.numbers(batch))
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Save(Callback):
    """Saves where ModelCheckpoint does: after a batch, and at an epoch's end."""

    def __init__(self, folder: str):
        self.folder = folder

    def on_train_batch_end(self, trainer, model, outputs, batch, number):
        if number + 1 == TAKEN:
            trainer.save_checkpoint(f"{self.folder}/{trainer.current_epoch}-{TAKEN}")
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(f"{self.folder}/{trainer.current_epoch}-last")

    def on_train_epoch_end(self, trainer, model):
        trainer.save_checkpoint(f"{self.folder}/{trainer.current_epoch}-None")


class SetEpoch(Callback):
    """What a dataset that is no Loader needs where its rows depend on the epoch."""

    def __init__(self, dataset):
        self.dataset = dataset

    def on_train_epoch_start(self, trainer, model):
        self.dataset.set_epoch(trainer.current_epoch)


def fit(oracle: Oracle, loader, *callbacks, resume: str | None = None, **options) -> list:
    """The batches of each epoch."""
    model = Model(oracle)
    options = {"max_epochs": EPOCHS, "devices": 1} | options
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, loader, ckpt_path=resume)
    del trainer, loader
    gc.collect()  # a Trainer is a cycle, which a worker that is forked meanwhile would collect as well
    return list(model.given.values())


def loaders(oracle: Oracle, ledger: Ledger, **options) -> None:
    """A Loader, which Lightning's checkpoints hold the state of."""
    place = {"rank": torch.distributed.get_rank(), "world": WORLD} if launched() else {}
    words = f"{WORLD} ranks, " if launched() else ""
    for workers in RANKS if launched() else [*KINDS, FRESH_ONLY[0]]:

        def new(workers=workers):
            return Loader(oracle.data, BATCH, seed=SEED, **workers.options())

        def cell(situation: str, workers=workers) -> Cell:
            return Cell("Loader", FRAMEWORK, f"{words}{workers}", situation)

        folder = shared_folder()
        whole = [oracle.rest(epoch, **place) for epoch in range(EPOCHS + 1)]
        ledger.same(cell("fresh"), fit(oracle, new(), Save(folder), **options), whole[:EPOCHS])
        for situation, (epoch, taken) in (SAVES | {"resumed at its last batch": (0, "last")}).items():
            if workers in FRESH_ONLY:
                break
            found = fit(oracle, new(), resume=f"{folder}/{epoch}-{taken}", **options)
            left = [oracle.rest(epoch, TAKEN * BATCH * len(place or [0]), **place)] if taken == TAKEN else []
            ledger.same(cell(situation), found, [*left, *whole[epoch + 1 : EPOCHS]])
        if workers in FRESH_ONLY:
            continue
        set_before = new()
        set_before.set_epoch(1)
        ledger.same(cell("set_epoch"), fit(oracle, set_before, **options), whole[:EPOCHS])


def shared_folder() -> str:
    """A new folder, the same in all ranks."""
    folder = [tempfile.mkdtemp()]
    if launched():
        torch.distributed.broadcast_object_list(folder)
    return folder[0]


def without_end(oracle: Oracle, ledger: Ledger) -> None:
    """epochs=None: Lightning reads one batch ahead, so the state of the steps taken is `state_after`'s."""

    class Keep(Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, number):
            self.state = loader.state_after(number + 1)

    def new():
        return Loader(oracle.data, BATCH, seed=SEED, epochs=None)

    loader, again, keep = new(), new(), Keep()
    taken = fit(oracle, loader, keep, max_epochs=-1, max_steps=TAKEN)
    again.load_state_dict(keep.state)
    taken += fit(oracle, again, max_epochs=-1, max_steps=12)
    expected = cut(oracle.order(0) + oracle.order(1), BATCH)[: TAKEN + 12]
    ledger.same(Cell("Loader", FRAMEWORK, "0 workers", "no end, state_after"), [flat(taken)], [expected])


def batches(oracle: Oracle, ledger: Ledger) -> None:
    """Batches, in a DataLoader and, for a state within an epoch, in a StatefulDataLoader."""
    whole = [oracle.rest(epoch) for epoch in range(EPOCHS)]
    for workers in KINDS:

        def new(kind, workers=workers):
            dataset = Batches(oracle.data, BATCH, seed=SEED)
            return dataset, kind(dataset, batch_size=None, **workers.options())

        def cell(situation, workers=workers):
            return Cell("Batches", FRAMEWORK, str(workers), situation)

        folder = tempfile.mkdtemp()
        ledger.same(cell("fresh"), fit(oracle, new(DataLoader)[1]), whole)
        fit(oracle, new(StatefulDataLoader)[1], Save(folder))
        for situation, (epoch, taken) in SAVES.items():
            dataset, loader = new(StatefulDataLoader)
            if taken is None:  # Lightning loads no loader's state at an epoch's end
                dataset.set_epoch(epoch + 1)
            found = fit(oracle, loader, resume=f"{folder}/{epoch}-{taken}")
            left = [oracle.rest(epoch, TAKEN * BATCH)] if taken else []
            ledger.same(cell(f"{situation}, StatefulDataLoader"), found, [*left, *whole[epoch + 1 :]])


def rows(oracle: Oracle, ledger: Ledger) -> None:
    """Rows: in their own order with set_epoch, and in that of torch's sampler."""
    whole = [oracle.rest(epoch) for epoch in range(EPOCHS)]
    for workers in KINDS:

        def new(workers=workers):
            dataset = Rows(oracle.data, shuffle=True, seed=SEED)
            return dataset, StatefulDataLoader(dataset, batch_size=BATCH, **workers.options())

        def cell(situation, workers=workers):
            return Cell("Rows", FRAMEWORK, str(workers), situation)

        folder = tempfile.mkdtemp()
        dataset, loader = new()
        ledger.same(cell("set_epoch"), fit(oracle, loader, Save(folder), SetEpoch(dataset)), whole)
        for situation, (epoch, taken) in SAVES.items():
            dataset, loader = new()
            dataset.set_epoch(epoch if taken else epoch + 1)
            found = fit(oracle, loader, SetEpoch(dataset), resume=f"{folder}/{epoch}-{taken}")
            left = [oracle.rest(epoch, TAKEN * BATCH)] if taken else []
            ledger.same(cell(f"{situation}, StatefulDataLoader"), found, [*left, *whole[epoch + 1 :]])
        sampled = DataLoader(Rows(oracle.data), batch_size=BATCH, shuffle=True, **workers.options())
        ledger.once(cell("torch's sampler"), [flat(epoch) for epoch in fit(oracle, sampled)], range(ROWS))


def generated(oracle: Oracle, ledger: Ledger) -> None:
    """Generated rows, which have no length: Lightning reads one batch ahead, so only an epoch's end resumes exactly."""
    whole = cut(list(range(ROWS)), BATCH)

    def new():
        return StatefulDataLoader(Generated(SETTINGS), batch_size=BATCH)

    cell, folder = Cell("Generated", FRAMEWORK, "0 workers", "fresh"), tempfile.mkdtemp()
    ledger.same(cell, fit(oracle, new(), Save(folder)), [whole] * EPOCHS)
    found = fit(oracle, new(), resume=f"{folder}/0-None")
    ledger.same(cell._replace(situation="resumed at its end"), found, [whole] * (EPOCHS - 1))


def transformed(oracle: Oracle, ledger: Ledger) -> None:
    """`datasets` with the transform, in its own order and in that of torch's sampler."""
    import datasets

    from ncagen.adapters.huggingface import transform

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(EXPORT), "high", split="train", cache_dir=tempfile.mkdtemp())
    table = loaded.with_transform(transform(oracle.data))
    whole = cut(list(range(ROWS)), BATCH)
    for workers in KINDS:
        options = {"batch_size": BATCH, **workers.options()}
        cell = Cell("the datasets transform", FRAMEWORK, str(workers), "fresh")
        folder = tempfile.mkdtemp()
        ledger.same(cell, fit(oracle, StatefulDataLoader(table, **options), Save(folder)), [whole] * EPOCHS)
        found = fit(oracle, StatefulDataLoader(table, **options), resume=f"{folder}/1-{TAKEN}")
        resumed = cell._replace(situation="resumed in epoch 1, StatefulDataLoader")
        ledger.same(resumed, found, [whole[TAKEN:], *[whole] * (EPOCHS - 2)])
        shuffled = fit(oracle, DataLoader(table, shuffle=True, **options))
        ledger.once(cell._replace(situation="torch's sampler"), [flat(epoch) for epoch in shuffled], range(ROWS))


def ranks(oracle: Oracle, ledger: Ledger) -> None:
    """Two ranks: loaders that were made before fit, before there is a process group."""
    ddp = {"strategy": "ddp", "devices": WORLD}
    made_before = Loader(oracle.data, BATCH, seed=SEED)
    before_too = DataLoader(Batches(oracle.data, BATCH, seed=SEED), batch_size=None)
    found = fit(oracle, made_before, **ddp)
    rank = torch.distributed.get_rank()
    expected = [oracle.rest(epoch, rank=rank, world=WORLD) for epoch in range(EPOCHS)]
    ledger.same(Cell("Loader", FRAMEWORK, "2 ranks, 0 workers", "made before fit"), found, expected)
    found = fit(oracle, before_too, **ddp)
    ledger.same(Cell("Batches", FRAMEWORK, "2 ranks, 0 workers", "made before fit"), found, expected)
    loaders(oracle, ledger, **ddp)
    found = fit(oracle, DataLoader(Rows(oracle.data), batch_size=BATCH), **ddp)
    both = [None] * WORLD
    torch.distributed.all_gather_object(both, [flat(epoch) for epoch in found])
    together = [[row for part in both for row in part[epoch]] for epoch in range(EPOCHS)]
    cell = Cell("Rows", FRAMEWORK, "2 ranks, 0 workers", "Lightning's sampler")
    ledger.once(cell, together, range(ROWS), padded=WORLD - 1)
    save_rank(ledger, rank)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    oracle, ledger = Oracle(Path(EXPORT)), Ledger()
    if launched():
        ranks(oracle, ledger)
        return
    for run in (loaders, without_end, batches, rows, generated, transformed):
        attempt(ledger, Cell("", FRAMEWORK, "", run.__name__), lambda run=run: run(oracle, ledger))
    run_ranks(ledger)
    ledger.cannot("Stream", FRAMEWORK, "gives NumPy arrays: Loader is it as tensors")
    ledger.cannot("grain's map", FRAMEWORK, "grain has loaders and states of its own")
    report_cells("lightning", ledger)


if __name__ == "__main__":
    main()
