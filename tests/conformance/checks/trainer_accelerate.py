"""accelerate: what models receive from the code of the page, in one process and in two; saved and resumed."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import report
from consumer_common import order, received
from page import folder, run
from trainer_models import Recorder

EPOCHS, SEED, WORLD = 3, 1, 2


def train(into: Path) -> None:
    """Runs the page's code, saves what this rank received, and checks that a saved state resumes."""
    recorder = Recorder()
    with folder():
        names = run("accelerate", model=recorder, optimizer=torch.optim.SGD(recorder.parameters(), 0.1))
        accelerator, loader = names["accelerator"], names["loader"]
        for _ in zip(range(5), loader, strict=False):
            state = loader.state_dict()
        accelerator.save_state(str(into / "state"))
        accelerator.wait_for_everyone()
        loader.set_epoch(0)
        accelerator.load_state(str(into / "state"))
        assert loader.state_dict() == state
    names = ("input_ids", "labels")
    rows = {name: np.concatenate([batch[name].numpy() for batch in recorder.received]) for name in names}
    np.savez(into / f"{accelerator.process_index}.npz", **rows)
    accelerator.end_training()


def launch(world: int, into: Path) -> None:
    """Runs `train` in this many processes, with the environment that `accelerate launch` gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    common |= {"ACCELERATE_USE_CPU": "true", "LOCAL_WORLD_SIZE": str(world)}
    ranks = []
    for rank in range(world):
        environment = common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        ranks.append(subprocess.Popen([sys.executable, *sys.argv, str(into)], env=environment, stdout=sys.stderr))
    assert [rank.wait() for rank in ranks] == [0] * world


def main() -> None:
    """One process, then two."""
    tokens = 0
    epochs = [order(epoch=epoch, seed=SEED) for epoch in range(EPOCHS)]
    for world in (1, WORLD):
        with tempfile.TemporaryDirectory() as name:
            launch(world, Path(name))
            for rank in range(world):
                rows = np.load(Path(name) / f"{rank}.npz")
                expected = [numbers[: len(numbers) // world * world][rank::world] for numbers in epochs]
                tokens += received([rows], "train", np.concatenate(expected))
    report("accelerate", "Loader beside prepare(): three epochs, 1 and 2 processes; save_state, load_state", tokens)


if __name__ == "__main__":
    train(Path(sys.argv[3])) if len(sys.argv) > 3 else main()
