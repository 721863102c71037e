"""accelerate with two processes: what each is given by what `prepare` returns, fresh, resumed and with set_epoch."""

import tempfile
import warnings
from pathlib import Path

import datasets
import torch
import torch.distributed as dist
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import DataLoaderConfiguration
from matrix_common import (
    EXPORT,
    WORLD,
    Cell,
    Ledger,
    Oracle,
    Placed,
    attempt,
    launched,
    report_cells,
    run_ranks,
    save_rank,
)
from reader_matrix.oracle import BATCH, ROWS, SEED, SETTINGS, dealt, flat
from reader_matrix.situations import BASIC, MORE, TAKEN
from reader_matrix.subjects import LoaderSubject, StreamSubject, Workers
from torch.utils.data import DataLoader

from ncagen.adapters.huggingface import transform
from ncagen.adapters.torch import Batches, Generated, Loader, Rows

FRAMEWORK = "accelerate, 2 processes"
KINDS = [Workers(), Workers(2, "fork")]
REFUSED = {
    "Batches": "use ncagen.adapters.torch.Loader, which prepare() leaves as it is",
    "Generated": "leave its DataLoader out of prepare(), or have accelerate alone divide it with rank=0 and world=1",
}


def loaders(oracle: Oracle, ledger: Ledger, accelerator: Accelerator, early: Loader) -> None:
    """A Loader, which prepare leaves as it is, and a Stream with an explicit rank."""
    placed = Placed(oracle, accelerator.process_index)

    class Prepared(LoaderSubject):
        framework = FRAMEWORK

        def make(self, **options):
            return accelerator.prepare(super().make(**options))

    class Stream(StreamSubject):
        framework = FRAMEWORK

        def make(self, **options):
            place = {"rank": accelerator.process_index, "world": accelerator.num_processes}
            return accelerator.prepare(super().make(**place))

    for subject, kinds in ((Prepared, [*KINDS, Workers(2, "fork", True)]), (Stream, KINDS[:1])):
        for workers in kinds:
            for situation, function in (BASIC | MORE).items():
                cell = Cell(subject.reader, FRAMEWORK, str(workers), situation)
                found = function(lambda subject=subject, workers=workers: subject(placed, workers), placed)
                ledger.same(cell, *found)
    found = [[oracle.numbers(batch) for batch in accelerator.prepare(early)] for _ in range(2)]
    cell = Cell("Loader", FRAMEWORK, "0 workers", "made before Accelerator()")
    ledger.same(cell, found, [placed.rest(0), placed.rest(1)])


def refusals(oracle: Oracle, ledger: Ledger, accelerators: dict[str, Accelerator]) -> None:
    """Datasets that are one rank's share already."""
    for words, accelerator in accelerators.items():
        for reader, dataset in (("Batches", Batches(oracle.data, BATCH)), ("Generated", Generated(SETTINGS))):
            for workers in KINDS:
                size = None if reader == "Batches" else BATCH
                loader = accelerator.prepare(DataLoader(dataset, batch_size=size, **workers.options()))
                cell = Cell(reader, FRAMEWORK, str(workers), words)
                line = f"accelerate would divide {reader} among the ranks again: {REFUSED[reader]}"
                ledger.refuses(cell, lambda loader=loader: list(loader), line)
        # What the line advises.
        dataset = Generated(SETTINGS, rank=0, world=1)
        loader = accelerator.prepare(DataLoader(dataset, batch_size=BATCH))
        both = gathered([[oracle.numbers(batch) for batch in loader] for _ in range(2)])
        cell = Cell("Generated", FRAMEWORK, "0 workers", f"{words}, with rank=0 and world=1")
        ledger.once(cell, both, range(ROWS), padded=2 * BATCH)


def rows(oracle: Oracle, ledger: Ledger, accelerator: Accelerator) -> None:
    """Rows: accelerate calls their set_epoch, and deals batches of the order in turn."""
    rank = accelerator.process_index

    def expected(epoch: int) -> list:
        order = oracle.order(epoch)
        whole = order + order[: -len(order) % (BATCH * WORLD)]  # filled up from the start
        return dealt(whole, rank, WORLD, BATCH)

    for workers in KINDS:

        def new(workers=workers, **options):
            dataset = Rows(oracle.data, shuffle=True, seed=SEED)
            return accelerator.prepare(DataLoader(dataset, batch_size=BATCH, **workers.options(), **options))

        def cell(situation, workers=workers):
            return Cell("Rows", FRAMEWORK, str(workers), situation)

        def passes(loader, count=3):
            return [[oracle.numbers(batch) for batch in loader] for _ in range(count)]

        ledger.same(cell("fresh"), passes(new()), [expected(epoch) for epoch in range(3)])
        loader = new()
        loader.set_epoch(4)
        ledger.same(cell("set_epoch"), passes(loader, 2), [expected(4), expected(5)])
        for situation, epoch in (("resumed in epoch 0", 0), ("resumed in epoch 1", 1)):
            loader = new()
            loader.set_epoch(epoch)
            left = passes(skip_first_batches(loader, 2), 1)
            loader.set_epoch(epoch + 1)
            ledger.same(cell(situation), left + passes(loader, 1), [expected(epoch)[2:], expected(epoch + 1)])
        both = gathered(passes(new(shuffle=True), 2))
        ledger.once(cell("accelerate's sampler"), both, range(ROWS), padded=2 * BATCH)


def transformed(oracle: Oracle, ledger: Ledger, accelerator: Accelerator) -> None:
    """`datasets` with the transform."""
    datasets.disable_progress_bars()
    cache = [tempfile.mkdtemp()]
    dist.broadcast_object_list(cache)
    with accelerator.main_process_first():
        loaded = datasets.load_dataset(str(EXPORT), "high", split="train", cache_dir=cache[0])
    table = loaded.with_transform(transform(oracle.data))
    for workers in KINDS:
        loader = accelerator.prepare(DataLoader(table, batch_size=BATCH, shuffle=True, **workers.options()))
        found = [[oracle.numbers(batch) for batch in loader] for _ in range(2)]
        cell = Cell("the datasets transform", FRAMEWORK, str(workers), "accelerate's sampler")
        ledger.once(cell, gathered(found), range(ROWS), padded=2 * BATCH)


def gathered(passes: list) -> list:
    """The rows of all ranks in each pass."""
    both = [None] * WORLD
    dist.all_gather_object(both, [flat(batches) for batches in passes])
    return [[row for part in both for row in part[number]] for number in range(len(passes))]


def skipped(oracle: Oracle, ledger: Ledger) -> None:
    """skip_first_batches would read a Loader's dataset in an order of its own."""
    loader = Loader(oracle.data, BATCH, seed=SEED)
    cell = Cell("Loader", FRAMEWORK, "0 workers", "skip_first_batches")
    try:
        skip_first_batches(loader, TAKEN)
    except AttributeError as error:
        assert "use ignore_data_skip=True" in str(error), error
        ledger.refused.append(cell)
    else:
        raise AssertionError("skip_first_batches took a Loader")


def main() -> None:
    warnings.simplefilter("ignore")
    oracle, ledger = Oracle(Path(EXPORT)), Ledger()
    if not launched():
        run_ranks(ledger)
        ledger.cannot("grain's map", FRAMEWORK, "grain has loaders and states of its own")
        report_cells("accelerate", ledger)
        return
    early = Loader(oracle.data, BATCH, seed=SEED)
    ways = {"divided by rank 0": None, "divided by each rank": False}
    accelerators = {
        words: Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=way))
        for words, way in ways.items()
    }
    accelerator = accelerators["divided by rank 0"]
    runs = {
        "Loader": lambda: loaders(oracle, ledger, accelerator, early),
        "Batches": lambda: refusals(oracle, ledger, accelerators),
        "Rows": lambda: rows(oracle, ledger, accelerator),
        "the datasets transform": lambda: transformed(oracle, ledger, accelerator),
        "skip": lambda: skipped(oracle, ledger),
    }
    for reader, run in runs.items():
        attempt(ledger, Cell(reader, FRAMEWORK, "", "all"), run)
    save_rank(ledger, torch.distributed.get_rank())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
