"""A data loader for torchtitan: batches in ncagen's order for each data-parallel rank, with its state in checkpoints.

    config.dataloader = NcaDataLoader.Config(dataset_path="data/nca-high")

in your config function. torchtitan resumes with the same or another number of ranks, since the state is the same on
every rank. torchtitan's validator needs a text loader and is not supported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ncagen.hints import needed_by

with needed_by(__name__):
    import torch
    from torchtitan.components.dataloader import BaseDataLoader

from ncagen.adapters.torch import Loader
from ncagen.dataset.layout import Layout
from ncagen.opening import open as open_dataset


class NcaDataLoader(BaseDataLoader):
    """Yields ({"input": ids, "positions": positions}, labels), all int64 [sequence, position].

    Labels are already shifted, and -100 where there is no loss. It has no end: each epoch has another order.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """dataset_path: a folder, a URL or user/name. band: needed if it has several. seed: of the row order."""

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
            positions = torch.arange(ids.shape[1]).expand_as(ids)
            yield {"input": ids, "positions": positions}, batch["labels"]

    def state_dict(self) -> dict[str, Any]:
        """What resumes after the last batch given."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resumes at a state. Raises NcagenError."""
        self._loader.load_state_dict(state_dict)
