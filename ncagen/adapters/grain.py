"""A grain MapDataset of a dataset or a mixture, in ncagen's order; grain then shards, batches and keeps the state."""

import grain

from ncagen.adapters.examples import Examples
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture


def map_dataset(
    data: Part | Mixture, layout: Layout | None = None, *, shuffle: bool = True, seed: int = 0, epochs: int = 1
) -> grain.MapDataset:
    """Examples of int64 arrays [place]; `[rank::world]`, `.batch(n)` and `.to_iter_dataset()` as grain has them.

    layout: `Layout(labels="next")` if left out, since JAX trainers shift by themselves seldom. epochs: each has an
    order of its own, which grain's `repeat` does not give.
    """
    examples = Examples(data, layout or Layout(labels="next"), shuffle=shuffle, seed=seed, epochs=epochs)
    return grain.MapDataset.source(examples)
