"""Checks and plans an export: rows cut to a length, ids shifted by an offset, in the format's dtype.

Rows keep the dataset's order. Shuffling, mixing of bands and tokenizers are not here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.reader import Dataset
from ncagen.export.files import File, Part
from ncagen.row_format import Rows

EXPORT_VERSION = 1
ZSTD_LEVEL = 3

# Where a format may have several files, about this many tokens a file at most: 200 MB of uint16.
FILE_TOKENS = 100_000_000


@dataclass(frozen=True)
class Export:
    """One band of a dataset in one format. Equal identities are equal bytes."""

    folder: Folder
    manifest: Manifest
    band: str
    to: str
    length: int
    token_offset: int
    dtype: np.dtype
    zstd: bool
    parquet: bool = False

    @property
    def identity(self) -> dict:
        """All that decides the bytes; those of zstd and Parquet depend on pyarrow's version."""
        return {
            "export_version": EXPORT_VERSION,
            "dataset_sha256": self.manifest.dataset_sha256,
            "band": self.band,
            "format": self.to,
            "length": self.length,
            "token_offset": self.token_offset,
            "zstd": self.zstd,
            "pyarrow": pa.__version__ if self.zstd or self.parquet else None,
        }

    @property
    def vocabulary(self) -> int:
        """Ids in use, or left out below them: the highest id and one."""
        return self.manifest.row_format.vocabulary + self.token_offset

    @cached_property
    def splits(self) -> dict[str, Dataset]:
        """The dataset's splits, train first."""
        return {split: Dataset(self.folder, split, self.band) for split in self.manifest.splits}

    @property
    def first_split(self) -> str:
        """The split that settings name where they name one: train, if it has rows."""
        return self.manifest.first_split

    def shards(self, split: str) -> range:
        """The numbers of a split's shards."""
        return range(len(self.splits[split].records))

    def shard_rows(self, split: str, shard: int) -> int:
        """Rows of one shard."""
        return self.splits[split].records[shard].rows

    def row_count(self, split: str, shards: range | None = None) -> int:
        """Rows of a split, or of some of its shards."""
        return sum(self.shard_rows(split, shard) for shard in shards or self.shards(split))

    def rows(self, split: str, shard: int) -> Rows:
        """A shard's rows; input_ids are self.dtype [row, token], cut and shifted."""
        rows = self.splits[split].shard(shard)
        ids = rows.input_ids[:, : self.length].astype(self.dtype) + self.dtype.type(self.token_offset)
        return Rows(rows.columns | {"input_ids": ids})

    def stream(self, split: str, shards: range | None = None) -> Iterator[Part]:
        """The tokens of shards, row after row, with nothing between them."""
        for shard in shards or self.shards(split):
            yield Part(self.shard_rows(split, shard), partial(self._tokens, split, shard))

    def _tokens(self, split: str, shard: int) -> bytes:
        return self.rows(split, shard).input_ids.tobytes()

    def tokens_file(self, path: str, split: str, shards: range | None = None) -> File:
        """A file of tokens alone."""
        return File(path, self.stream(split, shards))

    def groups(self, split: str) -> list[range]:
        """Neighbouring shards for files of about equal size, about FILE_TOKENS at most."""
        shards = self.shards(split)
        most = min(len(shards), -(-self.row_count(split) * self.length // FILE_TOKENS))
        ends = [len(shards) * number // most for number in range(most + 1)]
        return [shards[start:end] for start, end in pairwise(ends)]


def compress(data: bytes) -> bytes:
    """One zstd frame with its size in it: some readers stop after the first frame, some need the size."""
    return pa.Codec("zstd", ZSTD_LEVEL).compress(data, asbytes=True)
