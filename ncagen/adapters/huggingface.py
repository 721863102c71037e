"""What Hugging Face's `datasets` and `transformers` need beyond `load_dataset(folder, band)`, which works as it is.

    rows = load_dataset("data/nca-high", "high", split="train").with_transform(transform(ncagen.open("data/nca-high")))

gives `input_ids` and `labels` (-100 where there is no loss) for a model that shifts labels itself, as all of
transformers' causal models do. For the Trainer without `datasets` use `adapters.torch.Rows`. No Hub access is here.
"""

from collections.abc import Callable

import numpy as np

from ncagen.dataset.layout import Layout
from ncagen.dataset.reader import Dataset


def transform(data: Dataset, layout: Layout | None = None) -> Callable[[dict], dict[str, list]]:
    """A function for `Dataset.with_transform`, or for `map(..., batched=True, remove_columns=...)`.

    It takes a batch of columns with `input_ids` and gives the layout's, as lists of int64 arrays [place].
    Raises NcagenError for a layout that the data's rows cannot have.
    """
    chosen, spec = layout or Layout(), data.manifest.spec
    chosen.check(spec)

    def apply(batch: dict) -> dict[str, list]:
        laid_out = chosen(spec, np.asarray(batch["input_ids"], spec.token_dtype))
        return {name: list(column) for name, column in laid_out.items()}

    return apply
