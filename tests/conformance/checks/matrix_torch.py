"""A plain loop and torchdata's StatefulDataLoader; grain's map and `datasets` with the transform beside them.

The cells of workers that are not forked are slow tests of tests/test_reader_matrix.py.
"""

import json
import pickle
import tempfile
import warnings
from itertools import islice
from pathlib import Path

import datasets
from grain.multiprocessing import MultiprocessingOptions
from matrix_common import EXPORT, Cell, Ledger, Oracle, attempt, report_cells
from reader_matrix.core import IMPOSSIBLE, cases
from reader_matrix.oracle import BATCH, ROWS, SEED, cut, flat
from reader_matrix.situations import TAKEN
from reader_matrix.subjects import Workers, saved
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from ncagen.adapters.grain import map_dataset
from ncagen.adapters.huggingface import transform

PLAIN, STATEFUL = "plain loop", "StatefulDataLoader"
KINDS = [Workers(), Workers(2, "fork"), Workers(2, "fork", True)]


def grain_map(oracle: Oracle, ledger: Ledger) -> None:
    """Three epochs of grain's map, resumed by grain's own state."""
    batches = map_dataset(oracle.data, seed=SEED, epochs=3).batch(BATCH).to_iter_dataset()
    whole = cut([row for epoch in range(3) for row in oracle.order(epoch)], BATCH)
    ends = {"resumed in epoch 0": TAKEN, "resumed at its end": -(-ROWS // BATCH), "resumed in epoch 1": 12}
    for words, pipeline in (
        ("0 workers", batches),
        ("2 workers, spawn", batches.mp_prefetch(MultiprocessingOptions(num_workers=2))),
    ):
        states, found, iterator = {}, [], iter(pipeline)
        for batch in iterator:
            found.append(oracle.numbers(batch))
            states[len(found)] = json.loads(json.dumps(iterator.get_state()))
        ledger.same(Cell("grain's map", PLAIN, words, "fresh, with epochs=3"), [found], [whole])
        for situation, taken in ends.items() if words == "0 workers" else [*ends.items()][-1:]:
            again = iter(pipeline)
            again.set_state(states[taken])
            rest = [oracle.numbers(batch) for batch in again]
            ledger.same(Cell("grain's map", PLAIN, words, situation), [rest], [whole[taken:]])


def transformed(oracle: Oracle, ledger: Ledger) -> None:
    """`datasets` with the transform, which pickles; its order is that of `datasets`."""
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(EXPORT), "high", split="train", cache_dir=tempfile.mkdtemp())
    table = loaded.with_transform(pickle.loads(pickle.dumps(transform(oracle.data))))
    stored = cut(list(range(ROWS)), BATCH)
    for workers in [*KINDS, Workers(2, "forkserver")]:
        options = {"batch_size": BATCH, **workers.options()}
        cell = Cell("the datasets transform", PLAIN, str(workers), "fresh")
        loader = DataLoader(table, **options)
        found = [[oracle.numbers(batch) for batch in loader] for _ in range(3)]
        ledger.same(cell, found, [stored] * 3)
        loader = DataLoader(table, shuffle=True, **options)
        found = [flat(oracle.numbers(batch) for batch in loader) for _ in range(3)]
        ledger.once(cell._replace(situation="torch's sampler"), found, range(ROWS))
        if workers.method == "forkserver":
            continue
        first, again = StatefulDataLoader(table, **options), StatefulDataLoader(table, **options)
        list(islice(first, TAKEN))
        again.load_state_dict(saved(first.state_dict()))
        found = [[oracle.numbers(batch) for batch in again] for _ in range(2)]
        cell = cell._replace(framework=STATEFUL, situation="resumed in epoch 0")
        ledger.same(cell, found, [stored[TAKEN:], stored])


def main() -> None:
    warnings.simplefilter("ignore")
    oracle, ledger = Oracle(Path(EXPORT)), Ledger()
    for case in cases():
        if case.workers.method in (None, "fork"):
            attempt(ledger, case.cell, lambda case=case: case.run(oracle, ledger))
    for run in (grain_map, transformed):
        attempt(ledger, Cell("", PLAIN, "", run.__name__), lambda run=run: run(oracle, ledger))
    for (reader, framework), reason in IMPOSSIBLE.items():
        ledger.cannot(reader, framework, reason)
    report_cells("torchdata", ledger)


if __name__ == "__main__":
    main()
