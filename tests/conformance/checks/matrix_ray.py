"""Ray Train with two workers: what each is given, by readers alone and by what prepare_data_loader makes of them."""

import os
import sys
import tempfile
import warnings
from pathlib import Path

import datasets
from matrix_common import EXPORT, WORLD, Cell, Ledger, Oracle, Placed, attempt, merge_ranks, report_cells, save_rank
from reader_matrix.oracle import BATCH, ROWS, SEED, SETTINGS, flat
from reader_matrix.situations import BASIC, MORE
from reader_matrix.subjects import BatchesSubject, LoaderSubject, StatefulBatchesSubject, StreamSubject, Workers
from torch.utils.data import DataLoader

from ncagen.adapters.huggingface import transform
from ncagen.adapters.torch import Generated, Loader, Rows

FRAMEWORK = "Ray Train, 2 workers"
KINDS = [Workers(), Workers(2, "fork")]


def ordered(oracle: Oracle, ledger: Ledger, rank: int) -> None:
    """Readers that ask torch.distributed for their rank, as Ray Train has set it up."""
    from ray.train.torch import prepare_data_loader

    placed = Placed(oracle, rank)

    class Stream(StreamSubject):
        def make(self, **options):
            return super().make(rank=rank, world=WORLD)

    class PreparedBatches(BatchesSubject):
        def make(self, **options):
            return prepare_data_loader(super().make(**options))

    plain = BASIC | MORE
    kinds = [
        (LoaderSubject, KINDS[:1], plain, ""),
        (LoaderSubject, KINDS[1:], BASIC, ""),
        (Stream, KINDS[:1], plain, ""),
        (BatchesSubject, KINDS, BASIC, ""),
        (StatefulBatchesSubject, KINDS[:1], BASIC, "StatefulDataLoader: "),
        (PreparedBatches, KINDS, BASIC, "prepared: "),
    ]
    for subject, all_workers, situations, words in kinds:
        for workers in all_workers:
            for situation, function in situations.items():
                cell = Cell(subject.reader, FRAMEWORK, str(workers), words + situation)
                passes = function(lambda subject=subject, workers=workers: subject(placed, workers), placed)
                ledger.same(cell, *passes)


def prepared(oracle: Oracle, ledger: Ledger, rank: int) -> None:
    """What Ray's DistributedSampler orders, and rows that are made."""
    from ray.train.torch import prepare_data_loader

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(EXPORT), "high", split="train", cache_dir=tempfile.mkdtemp())
    table = loaded.with_transform(transform(oracle.data))
    for workers in KINDS:
        for reader, dataset in (("Rows", Rows(oracle.data)), ("the datasets transform", table)):
            loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, **workers.options())
            loader = prepare_data_loader(loader)
            passes = []
            for epoch in range(3):
                loader.sampler.set_epoch(epoch)
                passes.append([oracle.numbers(batch) for batch in loader])
            cell = Cell(reader, FRAMEWORK, str(workers), "Ray's sampler")
            ledger.once(cell, gathered(passes), range(ROWS), padded=WORLD - 1)
        loader = prepare_data_loader(DataLoader(Generated(SETTINGS), batch_size=BATCH, **workers.options()))
        both = gathered([[oracle.numbers(batch) for batch in loader] for _ in range(2)])
        cell = Cell("Generated", FRAMEWORK, str(workers), "prepared: fresh")
        ledger.once(cell, both, range(ROWS - ROWS % WORLD))


def refusals(oracle: Oracle, ledger: Ledger, rank: int) -> None:
    """A Loader needs no preparation, and cannot have it."""
    from ray.train.torch import prepare_data_loader

    try:
        prepare_data_loader(Loader(oracle.data, BATCH, seed=SEED))
    except AttributeError as error:
        assert "leave it out of what rebuilds loaders" in str(error), error
        ledger.refused.append(Cell("Loader", FRAMEWORK, "0 workers", "prepare_data_loader"))
    else:
        raise AssertionError("prepare_data_loader took a Loader")


def gathered(passes: list) -> list:
    """The rows of all ranks in each pass."""
    import torch.distributed as dist

    both = [None] * WORLD
    dist.all_gather_object(both, [flat(batches) for batches in passes])
    return [[row for part in both for row in part[number]] for number in range(len(passes))]


def begin_rank(settings: dict) -> None:
    """What Ray Train sends to its workers: this module's name, and the arguments that `common` reads."""
    import sys

    sys.argv[1:] = settings["arguments"]
    from matrix_ray import rank_loop

    rank_loop(settings["folder"])


def rank_loop(folder: str) -> None:
    """What each of Ray Train's workers runs."""
    from ray import train

    warnings.simplefilter("ignore")
    rank = train.get_context().get_world_rank()
    oracle, ledger = Oracle(Path(EXPORT)), Ledger()
    for run in (ordered, prepared, refusals):
        attempt(ledger, Cell("", FRAMEWORK, "", run.__name__), lambda run=run: run(oracle, ledger, rank))
    save_rank(ledger, rank, folder)


def main() -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    warnings.simplefilter("ignore")
    ledger = Ledger()
    here = Path(__file__).resolve()
    paths = os.pathsep.join(
        [str(here.parent), str(here.parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    with tempfile.TemporaryDirectory() as folder:
        ray.init(
            num_cpus=WORLD,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            runtime_env={"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
        )
        trainer = TorchTrainer(
            begin_rank,
            train_loop_config={"arguments": sys.argv[1:], "folder": folder},
            scaling_config=ScalingConfig(num_workers=WORLD),
            run_config=RunConfig(storage_path=folder),
            torch_config=TorchConfig(backend="gloo"),
        )
        errors = ""
        try:
            trainer.fit()
        except Exception as error:
            errors = str(error)
        merge_ranks(ledger, Path(folder), errors)
        ray.shutdown()
    ledger.cannot("grain's map", FRAMEWORK, "grain has loaders and states of its own")
    report_cells("ray", ledger)


if __name__ == "__main__":
    main()
