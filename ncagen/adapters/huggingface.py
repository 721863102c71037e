"""Transforms for `datasets` and `transformers`. `load_dataset(folder, band)` works without them.

    rows = load_dataset("data/nca-high", "high", split="train").with_transform(transform(ncagen.open("data/nca-high")))

gives `input_ids` and `labels` (-100 where there is no loss) for a model that shifts labels itself, as all of
transformers' causal models do. For the Trainer without `datasets`, and for packed rows, use `adapters.torch.Rows`. The
Hub is not accessed here.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np

from ncagen.dataset.layout import Layout
from ncagen.dataset.options import LAYOUT, check_data, check_layout, redirect
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.row_format import RowFormat


@dataclass(frozen=True)
class Transform:
    """A function of batches, made by `transform`. It pickles, and equal ones pickle to the same bytes.

    So a DataLoader's workers may be spawned, and `datasets` finds what `map` made before by the function's hash.
    """

    row_format: RowFormat
    layout: Layout

    def __call__(self, batch: Mapping) -> dict[str, list]:
        """batch: columns with `input_ids` [row, token], as lists or arrays. Returns the layout's, as lists of arrays.

        Raises NcagenError where these are not rows of the format.
        """
        laid_out = self.layout(self.row_format, self._tokens(batch))
        return {name: list(column) for name, column in laid_out.items()}

    def __reduce__(self):
        return _restored, (json.dumps(self.row_format.to_dict(), sort_keys=True), *astuple(self.layout))

    def _tokens(self, batch: Mapping) -> np.ndarray:
        if "input_ids" not in batch:
            raise NcagenError(f"a batch without input_ids: it has {', '.join(batch) or 'no columns'}")
        try:
            tokens = np.asarray(batch["input_ids"])
        except ValueError:  # rows of different lengths
            raise NcagenError("input_ids of different lengths are not rows: give them as they are stored") from None
        kind = self.row_format.token_dtype
        if tokens.ndim == 2 and tokens.dtype.kind in "iu" and tokens.dtype != kind:
            outside = (tokens < 0) | (tokens >= self.row_format.vocabulary)
            if outside.any():
                first = tokens[outside][0]
                raise NcagenError(
                    f"input_ids hold {first}: use ids below {self.row_format.vocabulary}, as they are stored"
                )
            tokens = tokens.astype(kind)
        return tokens


def _restored(row_format: str, *layout) -> Transform:
    return Transform(RowFormat.from_dict(json.loads(row_format)), Layout(*layout))


@redirect(LAYOUT)
def transform(data: Dataset, layout: Layout | None = None) -> Transform:
    """A function for `Dataset.with_transform`, or for `map(..., batched=True, remove_columns=...)`.

    It takes a batch of columns with `input_ids` and gives the layout's, as lists of arrays [position].
    Raises NcagenError for a layout that the data's rows cannot have, or that packs: `datasets` gives a transform one
    batch of rows at a time, and those that fill no pack would be lost.
    """
    check_data(data)
    check_layout(layout)
    chosen = layout or Layout()
    chosen.check(data.row_format)
    if chosen.pack > 1:
        raise NcagenError(
            f"a transform cannot pack {chosen.pack} rows, since it sees one batch of rows at a time: use"
            " adapters.torch.Loader, adapters.torch.Rows or Stream with this layout"
        )
    return Transform(data.row_format, chosen)
