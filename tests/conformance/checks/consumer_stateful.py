"""torchdata: StatefulDataLoader over Batches and over Rows, stopped and resumed from its own state, saved by torch."""

import io
from itertools import islice

import torch
from common import report
from consumer_common import SEED, drawn, opened, order, received
from torchdata.stateful_dataloader import StatefulDataLoader

from ncagen.adapters.torch import Batches, Rows


def saved(state: dict) -> dict:
    """The state as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


data, expected = opened(), order()
tokens = 0
for workers in (0, 2):
    for batches in (1, 21):

        def streaming(workers=workers):
            return StatefulDataLoader(Batches(data, 16, seed=SEED), batch_size=None, num_workers=workers)

        first, again = streaming(), streaming()
        taken = list(islice(first, batches))
        again.load_state_dict(saved(first.state_dict()))
        tokens = received([*taken, *again], "train", expected)

        def sampling(workers=workers):
            torch.manual_seed(SEED)  # its sampler draws the epoch's order from this
            return StatefulDataLoader(Rows(data), batch_size=16, shuffle=True, num_workers=workers)

        whole = list(sampling())
        assert len(drawn(whole)) == len(data)
        first = sampling()
        taken = list(islice(first, batches))
        again = sampling()
        again.load_state_dict(saved(first.state_dict()))
        received([*taken, *again], "train", drawn(whole))
report("torchdata", "StatefulDataLoader over Batches, and over Rows with its sampler: resumed, 0 and 2 workers", tokens)
