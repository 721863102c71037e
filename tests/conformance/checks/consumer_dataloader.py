"""torch: DataLoader over Batches and Rows with any workers, forked and spawned; Loader stopped and taken up again."""

import json
from itertools import islice

import numpy as np
from common import SPLITS, report
from consumer_common import SEED, next_labels, opened, order, received
from torch.utils.data import DataLoader

import ncagen
from ncagen.adapters.torch import Batches, Loader, Rows

FORK, SPAWN = ({"num_workers": 2, "multiprocessing_context": context} for context in ("fork", "spawn"))


def main() -> None:
    tokens = 0
    for split in SPLITS:
        data, expected = opened(split), order(split)
        for workers in ({}, FORK, SPAWN):
            found = received(DataLoader(Batches(data, 16, seed=SEED), batch_size=None, **workers), split, expected)
            received(DataLoader(Rows(data), batch_size=16, **workers), split, np.arange(len(data)))
        tokens += found
        received(Loader(data, 16, seed=SEED, layout=ncagen.Layout(labels="next")), split, expected, next_labels)

    data, two_epochs = opened(), np.concatenate([order(), order(epoch=1)])
    for before, after, batches in ((0, 2, 5), (2, 0, 60), (2, 1, 109)):
        first = Loader(data, 16, seed=SEED, epochs=2, num_workers=before)
        received(islice(first, batches), "train", two_epochs[: batches * 16])
        again = Loader(data, 24, seed=SEED, epochs=2, num_workers=after)
        again.load_state_dict(json.loads(json.dumps(first.state_dict())))
        received(again, "train", two_epochs[batches * 16 :])
    report("torch", "DataLoader over Batches and Rows: 0 and 2 workers, forked, spawned; Loader resumed", tokens)


if __name__ == "__main__":
    main()
