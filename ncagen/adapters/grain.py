"""A grain MapDataset of a dataset or a mixture, in ncagen's order; grain then shards, batches and keeps the state."""

from ncagen.hints import needed_by

with needed_by(__name__):
    import grain

from ncagen.adapters.examples import Examples
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.options import LAYOUT, redirect


@redirect(LAYOUT)
def map_dataset(
    data: Part | Mixture, layout: Layout | None = None, *, shuffle: bool = True, seed: int = 0, epochs: int = 1
) -> grain.MapDataset:
    """Examples of int64 arrays [position], with grain's `[rank::world]`, `.batch(n)` and `.to_iter_dataset()`.

    layout: `Layout(labels="next")` if left out, since few JAX trainers shift labels. epochs: each has a different
    order, which grain's `repeat` does not give. Raises NcagenError.
    """
    examples = Examples(data, layout or Layout(labels="next"), shuffle=shuffle, seed=seed, epochs=epochs)
    return grain.MapDataset.source(examples)
