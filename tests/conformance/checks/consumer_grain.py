"""grain: map_dataset by number, in slices, batched, by threads and by worker processes, stopped and taken up again."""

import json
from itertools import islice

import numpy as np
from common import SPLITS, report
from consumer_common import SEED, next_labels, opened, order, received
from grain.multiprocessing import MultiprocessingOptions

from ncagen.adapters.grain import map_dataset


def main() -> None:
    tokens = 0
    for split in SPLITS:
        rows, expected = map_dataset(opened(split), seed=SEED), order(split)
        one_by_one = ({name: value[None] for name, value in rows[i].items()} for i in range(len(rows)))
        tokens += received(one_by_one, split, expected, next_labels)
        for rank in range(3):
            received(rows[rank::3].batch(16).to_iter_dataset(), split, expected[rank::3], next_labels)

    rows, expected = map_dataset(opened(), seed=SEED), order()
    batches = rows.repeat(2).batch(16).to_iter_dataset()
    expected = np.concatenate([expected, expected])  # grain repeats an epoch as it was
    for pipeline in (batches, batches.mp_prefetch(MultiprocessingOptions(num_workers=2))):
        first = iter(pipeline)
        taken = list(islice(first, 7))
        again = iter(pipeline)
        again.set_state(json.loads(json.dumps(first.get_state())))
        received([*taken, *again], "train", expected, next_labels)
        first.close()
        again.close()
    report("grain", "MapDataset by number, in slices, batched; IterDataset resumed, 0 and 2 worker processes", tokens)


if __name__ == "__main__":
    main()
