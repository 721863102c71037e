"""A data loader for torchtitan: batches in ncagen's order for each data-parallel rank, in its checkpoints.

    config.dataloader = NcaDataLoader.Config(dataset_path="data/nca-high")

in a config function of one's own. torchtitan resumes with as many ranks as it saved with or with others, since the
state is the same on every rank. Its validator wants a loader of text, and is not served here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torchtitan.components.dataloader import BaseDataLoader

from ncagen.adapters.torch import Loader
from ncagen.dataset.layout import Layout
from ncagen.opening import open as open_dataset


class NcaDataLoader(BaseDataLoader):
    """Yields ({"input": ids, "positions": places}, labels): int64 [sequence, place], already shifted, -100 for no loss.

    It has no end: epoch follows epoch, each in an order of its own.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """dataset_path: a folder, a URL or user/name. band: which, where it has several. seed: of the order."""

        band: str | None = None
        seed: int = 0
        num_workers: int = 0

    def __init__(
        self,
        config: "NcaDataLoader.Config",
        *,
        dp_rank: int,
        dp_world_size: int,
        seq_len: int,
        local_batch_size: int,
        **_,
    ):
        """What torchtitan's trainer passes. Raises NcagenError."""
        layout = Layout(labels="next", seq_len=seq_len)
        self._loader = Loader(
            open_dataset(config.dataset_path, band=config.band),
            local_batch_size,
            layout=layout,
            seed=config.seed,
            epochs=None,
            rank=dp_rank,
            world=dp_world_size,
            num_workers=config.num_workers,
        )

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        for batch in self._loader:
            ids = batch["input_ids"]
            places = torch.arange(ids.shape[1]).expand_as(ids)
            yield {"input": ids, "positions": places}, batch["labels"]

    def state_dict(self) -> dict[str, Any]:
        """What resumes after the last batch given."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes at a state. Raises NcagenError."""
        self._loader.load_state_dict(state_dict)
