"""Ray Train: what two workers receive from the code of the page."""

import os
import tempfile
from pathlib import Path

import numpy as np
import ray
from common import report
from consumer_common import order, received
from page import folder, run

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

    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    with tempfile.TemporaryDirectory() as into, folder() as place:
        paths = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parent)])
        variables = {"PYTHONPATH": paths, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        ray.init(num_cpus=WORLD + 1, include_dashboard=False, runtime_env={"env_vars": variables})
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
