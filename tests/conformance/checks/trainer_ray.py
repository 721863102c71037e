"""Ray Train: what two workers receive from the code of the page."""

import tempfile
from pathlib import Path

import numpy as np
import ray
from common import report
from consumer_common import order, received
from page import folder, run
from ray_common import start_ray

WORLD, EPOCHS, SEED = 2, 3, 1


class Kept:
    """A model that writes what this rank received into a folder when the loop is over."""

    def __init__(self, into: str):
        self.into, self.batches = into, []

    def __call__(self, **batch):
        self.batches.append({name: value.numpy() for name, value in batch.items()})
        columns = {name: np.concatenate([kept[name] for kept in self.batches[-1:]]) for name in batch}
        rank = ray.train.get_context().get_world_rank()
        np.savez(Path(self.into) / f"{rank}-{len(self.batches):05d}.npz", **columns)


def main() -> None:
    """Three epochs in two workers on this machine."""
    import ray.train

    with tempfile.TemporaryDirectory() as into, folder() as place:
        start_ray(WORLD)
        model = Kept(into)
        changes = {'"data/nca-high"': repr(str(place / "data" / "nca-high"))}
        run("Ray Train", model=model, changes=changes)
        ray.shutdown()
        tokens = 0
        for rank in range(WORLD):
            batches = [dict(np.load(path)) for path in sorted(Path(into).glob(f"{rank}-*.npz"))]
            numbers = [order(epoch=epoch, seed=SEED) for epoch in range(EPOCHS)]
            expected = [every[: len(every) // WORLD * WORLD][rank::WORLD] for every in numbers]
            tokens += received(batches, "train", np.concatenate(expected))
    report("ray", "TorchTrainer with two workers, Loader within: three epochs", tokens)


if __name__ == "__main__":
    main()
