"""What Hugging Face's `datasets` and `transformers` need beyond `load_dataset(folder, band)`, which works as it is.

    rows = load_dataset("data/nca-high", "high", split="train").with_transform(transform(ncagen.open("data/nca-high")))

gives `input_ids` and `labels` (-100 where there is no loss) for a model that shifts labels itself, as all of
transformers' causal models do. For the Trainer without `datasets`, and for packed rows, use `adapters.torch.Rows`. No
Hub access is here.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np

from ncagen.dataset.layout import Layout
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.spec import Spec


@dataclass(frozen=True)
class Transform:
    """A function of batches, made by `transform`. It pickles, and equal ones pickle to the same bytes.

    So a DataLoader's workers may be spawned, and `datasets` finds what `map` made before by the function's hash.
    """

    spec: Spec
    layout: Layout

    def __call__(self, batch: Mapping) -> dict[str, list]:
        """batch: columns with `input_ids` [row, token], as lists or arrays. Returns the layout's, as lists of arrays.

        Raises NcagenError where these are not rows of the spec.
        """
        laid_out = self.layout(self.spec, self._tokens(batch))
        return {name: list(column) for name, column in laid_out.items()}

    def __reduce__(self):
        return _restored, (self.spec.canonical(), *astuple(self.layout))

    def _tokens(self, batch: Mapping) -> np.ndarray:
        if "input_ids" not in batch:
            raise NcagenError(f"a batch without input_ids: it has {', '.join(batch) or 'no columns'}")
        try:
            tokens = np.asarray(batch["input_ids"])
        except ValueError:  # rows of different lengths
            raise NcagenError("input_ids of different lengths are not rows: give them as they are stored") from None
        kind = self.spec.token_dtype
        if tokens.ndim == 2 and tokens.dtype.kind in "iu" and tokens.dtype != kind:
            outside = (tokens < 0) | (tokens >= self.spec.vocabulary)
            if outside.any():
                first = tokens[outside][0]
                raise NcagenError(f"input_ids hold {first}: use ids below {self.spec.vocabulary}, as they are stored")
            tokens = tokens.astype(kind)
        return tokens


def _restored(canonical: str, *layout) -> Transform:
    return Transform(Spec.from_dict(json.loads(canonical)), Layout(*layout))


def transform(data: Dataset, layout: Layout | None = None) -> Transform:
    """A function for `Dataset.with_transform`, or for `map(..., batched=True, remove_columns=...)`.

    It takes a batch of columns with `input_ids` and gives the layout's, as lists of arrays [place].
    Raises NcagenError for a layout that the data's rows cannot have, or that packs: `datasets` gives a transform one
    batch of rows at a time, and those that fill no pack would be lost.
    """
    chosen, spec = layout or Layout(), data.manifest.spec
    chosen.check(spec)
    if chosen.pack > 1:
        raise NcagenError(
            f"a transform cannot pack {chosen.pack} rows, since it sees one batch of rows at a time: use"
            " adapters.torch.Loader, adapters.torch.Rows or Stream with this layout"
        )
    return Transform(spec, chosen)
