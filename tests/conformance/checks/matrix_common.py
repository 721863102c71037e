"""What the checks of the reader matrix share: the oracle of tests/reader_matrix, and the line that they print.

They run with ncagen importable and with the matrix's dataset; ranks are processes of one launch, each of which compares
what it was given and leaves its ledger in a folder.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import EXPORT, versions

sys.path.insert(0, str(Path(__file__).parents[2]))

from reader_matrix.ledger import Cell, Ledger
from reader_matrix.oracle import Oracle

# A worker of the forkserver imports the check itself, whose framework takes seconds, unless the server has it.
multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__"])

WORLD = 2
RANKS_FOLDER = "NCAGEN_MATRIX_RANKS"

__all__ = ["EXPORT", "WORLD", "Cell", "Ledger", "Oracle", "Placed"]


class Placed:
    """The oracle of one rank."""

    def __init__(self, oracle: Oracle, rank: int):
        self.oracle, self.rank = oracle, rank
        self.data, self.numbers, self.order = oracle.data, oracle.numbers, oracle.order

    def rest(self, epoch: int, position: int = 0) -> list:
        """This rank's batches; positions of the situations are those of one rank."""
        return self.oracle.rest(epoch, position * WORLD, rank=self.rank, world=WORLD)


def launched() -> bool:
    """Whether this process is one of `run_ranks`."""
    return RANKS_FOLDER in os.environ


def run_ranks(ledger: Ledger) -> None:
    """Runs this very script again as WORLD ranks of one launch, and adds what they compared."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={WORLD}", "--standalone"]
        environment = os.environ | {RANKS_FOLDER: folder, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *sys.argv], env=environment, capture_output=True, text=True, timeout=300)
        merge_ranks(ledger, Path(folder), done.stderr)


def merge_ranks(ledger: Ledger, folder: Path, errors: str) -> None:
    """Adds the ledgers that the ranks left; one that is missing is a failure."""
    for rank in range(WORLD):
        path = folder / f"{rank}.json"
        if path.is_file():
            ledger.merge(path, count=rank == 0)
        else:
            ledger.failures.append(f"rank {rank} ended early\n{errors[-3000:]}")


def save_rank(ledger: Ledger, rank: int, folder: str | None = None) -> None:
    """Leaves a rank's ledger for the process that started it."""
    ledger.save(Path(folder or os.environ[RANKS_FOLDER]) / f"{rank}.json")


def attempt(ledger: Ledger, cell: Cell, run: Callable[[], None]) -> None:
    """Runs a cell; an error is its failure, and the next cell runs."""
    try:
        run()
    except Exception as error:
        ledger.failures.append(f"{cell}\n    {type(error).__name__}: {str(error)[-600:]}")


def report_cells(package: str, ledger: Ledger) -> None:
    """The check's one line; before it, on stderr, what failed. Exits with 1 if anything did."""
    print("\n".join(ledger.failures), file=sys.stderr)
    summary = ledger.summary()
    exact, refused = (sum(cells[i] for cells in summary["cells"]) for i in (2, 3))
    loaded = f"reader matrix: {exact} cells exact, {refused} refused"
    if ledger.failures:
        sys.exit(f"{len(ledger.failures)} cells of {package} failed; {loaded}")
    result = {"package": package, "loaded": loaded, "tokens": summary["rows"] * 1024, "cells": summary["cells"]}
    print(json.dumps(result | versions(package)))
