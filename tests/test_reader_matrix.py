"""The cells of the reader matrix that torch and torchdata suffice for; the trainers' are in tests/conformance.

A cell's name says reader / loader / workers / situation. Workers that are not forked take seconds: the slow tests have
one situation of each reader with spawned ones; the other situations, which the quick tests try with forked workers, and
those of forkserver, are nightly.
"""

import pytest
from conftest import make, spec_of

pytest.importorskip("torch")
pytest.importorskip("torchdata")

from reader_matrix.core import cases
from reader_matrix.ledger import Ledger, difference
from reader_matrix.oracle import ROWS, SETTINGS, Oracle, flat

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """The matrix's dataset; row numbers are recognised by tokens, so every row must be another."""
    folder = tmp_path_factory.mktemp("matrix") / "dataset"
    make(folder, spec_of(**SETTINGS))
    return Oracle(folder)


def parameters():
    everything = list(cases())
    kept = {}
    for case in everything:
        if case.workers.method == "forkserver":
            continue
        group = case.cell.reader, case.workers
        if group not in kept or case.cell.situation == "resumed in epoch 1":
            kept[group] = case.cell
    for case in everything:
        marks = []
        if case.workers.method in ("forkserver", "spawn"):
            marks = [pytest.mark.slow if case.cell in kept.values() else pytest.mark.nightly]
        yield pytest.param(case, id=str(case.cell).replace(" ", "_"), marks=marks)


@pytest.mark.parametrize("case", list(parameters()))
def test_cell(case, oracle):
    ledger = Ledger()
    case.run(oracle, ledger)
    assert not ledger.failures, ledger.failures[0]
    assert ledger.exact == [case.cell] or ledger.refused == [case.cell]


def test_the_oracle_is_a_pure_order(oracle):
    epochs = [oracle.order(epoch) for epoch in range(3)]
    assert all(sorted(rows) == list(range(ROWS)) for rows in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    ranks = [flat(oracle.rest(1, 30, rank=rank, world=3, batch=4)) for rank in range(3)]
    together = [rows[i] for i in range(len(ranks[0])) for rows in ranks]
    assert together == epochs[1][30 : 30 + len(together)]
    assert ROWS - 30 - len(together) < 3


def test_a_difference_names_the_passes_that_differ():
    found = [[[1, 2], [3]], [[4]]]
    assert difference(found, found) == ""
    assert difference(found, [[[1, 2], [3]], [[5]], [[6]]]) == (
        "    pass 1 found    1 rows in 1 batches [1]: 4\n"
        "    pass 1 expected 1 rows in 1 batches [1]: 5\n"
        "    pass 2 found    nothing\n"
        "    pass 2 expected 1 rows in 1 batches [1]: 6"
    )
