"""Ray Train, from stage 1 to text, by the code of docs/recipes.md: two workers and a Llama of two layers."""

import pickle
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import ray
from common import report
from consumer_common import order, received
from page import RECIPES, folder, run
from ray_common import start_ray
from recipe_common import handed_over, text_order, text_rows
from recipe_llama import LENGTH, NEW, SEED, config

WORLD, STEPS = 2, 4
FEWER = {
    "Loader(ncagen.open(folder), 8, seed=1)": f"islice(Loader(ncagen.open(folder), 2, seed=1), {STEPS})",
    "    stage1 = ": "    watched = begin()\n    stage1 = ",
    "    if ray.train": "    end(watched, stage1)\n    if ray.train",
}


def begin():
    """In a worker: notes what the models are given."""
    from recipe_watched import Watched

    watched = Watched()
    watched.watch()
    return watched


def end_in(into: Path):
    """A function for the end of a worker, which writes what it noted."""

    def end(watched, stage1):
        from recipe_watched import weights

        noted = watched.start, watched.batches, watched.losses, weights(stage1)
        (into / f"{ray.train.get_context().get_world_rank()}.pickle").write_bytes(pickle.dumps(noted))

    return end


def main() -> None:
    """Runs the recipe, and compares what both workers noted."""
    import ray.train

    with tempfile.TemporaryDirectory() as into, folder() as place:
        start_ray(WORLD)
        hand_over = run("Models of transformers", page=RECIPES)["hand_over"]
        given = {
            "config": config(),
            "hand_over": hand_over,
            "islice": islice,
            "begin": begin,
            "end": end_in(Path(into)),
        }
        run("Ray Train", page=RECIPES, changes=FEWER | {'"data/': f'"{place}/data/'}, **given)
        ray.shutdown()
        assert (place / "data" / "model" / "config.json").is_file()
        tokens = sum(check(pickle.loads((Path(into) / f"{rank}.pickle").read_bytes()), rank) for rank in range(WORLD))
    report("ray", "stage 1 and text in two workers: the weights kept, and what the models receive", tokens)


def check(noted: tuple, rank: int) -> int:
    """Asserts what one worker noted; returns how many tokens it received."""
    start, (first, second), losses, stage1 = noted
    assert np.isfinite(losses).all() and len(losses) == 2 * STEPS
    handed_over(stage1, start[1], NEW)
    received(first, "train", order(seed=SEED)[rank::WORLD][: 2 * STEPS])
    expected = text_rows()[text_order(SEED)[rank::WORLD]][: 2 * STEPS, :LENGTH]
    assert np.array_equal(np.concatenate([batch["input_ids"] for batch in second]), expected)
    return sum(batch["input_ids"].size for batch in first + second)


if __name__ == "__main__":
    main()
