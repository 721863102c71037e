"""Reads the rows of a finished dataset by number, and checks them before it returns them. numpy and pyarrow only.

A shard is opened when one of its rows is first requested, checked against the manifest's hash, and read one row group
at a time. Of a store that is not mapped only the row groups that are wanted are fetched (`ranges`). `shuffle` defines
the order of rows; `layout` makes a model's inputs from them.
"""

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import numpy as np

from ncagen.dataset.cache import DiskCache
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.gather import HeldGroups, gather
from ncagen.dataset.lru import LruCache
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.dataset.open_shard import naming, open_shard
from ncagen.dataset.ranges import RemoteShards
from ncagen.dataset.shard_file import ShardFile
from ncagen.dataset.shuffle import Shards
from ncagen.dataset.stores import RangesIgnored
from ncagen.dataset.where import Where, parse
from ncagen.errors import NcagenError
from ncagen.numbers import byte_count
from ncagen.row_format import RowFormat, Rows

Value = TypeVar("Value")

VERIFY = ("first-use", "always", "never")

# Enough for two of the windows that `shuffle` uses, so that every row group is decoded once an epoch.
HELD_GROUPS = 36
# Row groups of one call of `rows` that are fetched at the same time.
AHEAD = 32
CACHE_LIMIT = "10GB"
# Opening a shard takes some milliseconds. A mapped one costs addresses, another its bytes of memory.
HELD_SHARDS, HELD_MAPPED_SHARDS = 64, 1024


class Dataset:
    """The rows of one split and band of a dataset.

    `dataset[i]` is a dict of one row's columns, `dataset.rows(numbers)` many rows at once, `len(dataset)` how many
    there are, `dataset.manifest` its manifest, `dataset.revision` the commit of its files, if their store has commits.
    `dataset.selection` is None, or the condition that selected its rows, which are then numbered from 0. An open
    dataset can be pickled, and used after a fork.
    """

    def __init__(
        self,
        path: str | os.PathLike | Folder,
        split: str = "train",
        band: str | None = None,
        verify: str = "first-use",
        where: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        cache_limit: int | str = CACHE_LIMIT,
    ):
        """Opens a folder, or a URL such as s3://bucket/folder.

        `where` selects rows by integer columns, as in "gzip_bytes >= 864 and gzip_bytes < 1000"; see `dataset.where`.
        Every shard is opened for it once, and the columns that it compares are read.

        `band` may be left out if there is only one. `verify` chooses when a shard's bytes are checked against the
        manifest's hash: once in each process ("first-use"), whenever rows are read from the file ("always"), or
        "never". Raises NcagenError.

        "first-use" guarantees that the files matched their hashes when they were opened. A local file is mapped: a
        later write to it changes rows that were not read yet, and truncating it ends this process. ncagen only replaces
        files, which does not affect an open dataset. "always" guarantees that every row comes from bytes that matched
        when they were read; rows read earlier may be cached. With "never", Parquet's page checksums still
        find damaged rows, and nothing finds them in Arrow files. Row groups that are fetched by range are compared with
        their hashes whatever `verify` is.

        `cache_dir`, `cache_limit`: a folder for fetched row groups, shared by the processes of a machine, and its size
        in bytes or as in "10GB"; see `dataset.cache`. Not used where files are mapped.
        """
        if verify not in VERIFY:
            raise NcagenError(f"verify {verify!r} is not known: use {', '.join(VERIFY)}")
        self.cache_dir = None if cache_dir is None else Path(cache_dir).absolute()
        self.cache_limit = byte_count("cache_limit", cache_limit)
        self.folder = folder_at(path)
        self.manifest: Manifest = read_manifest(self.folder)
        names = [b.name for b in self.manifest.spec.bands]
        if band is None and len(names) > 1:
            raise NcagenError(f"{path} holds several bands: choose one of {', '.join(names)}")
        self.split, self.band, self.verify = split, names[0] if band is None else band, verify
        self.records = self.manifest.part(split, self.band)
        if not self.records:
            splits = ", ".join(self.manifest.splits)
            raise NcagenError(
                f"{path} has no {split!r} rows in band {self.band!r}: it has {splits} in {', '.join(names)}"
            )
        self._length = self.manifest.spec.rows(split)
        self._group_rows = self.row_format.group_rows
        self._selected: np.ndarray | None = None
        self.selection: str | None = None
        self._held = HELD_GROUPS
        self._forget()
        if where is not None and (condition := parse(where, self.row_format, self.manifest.measure)).limits:
            self._select(condition)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        if isinstance(row, slice):
            first, end, step = row.indices(len(self))
            raise TypeError(f"a dataset cannot be sliced: use rows(range({first}, {end}, {step}))")
        try:
            number = operator.index(row)
        except TypeError:
            raise TypeError(
                f"row {row!r} is not a whole number: use 0 to {len(self) - 1}, or rows() for many"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {row} is out of range: use 0 to {len(self) - 1}")
        number %= len(self)
        number = number if self._selected is None else int(self._selected[number])
        if self._decoded is not None:
            found = self.row_format.empty(1).columns
            self._gather(np.asarray([number]), found)
            return {name: column[0] for name, column in found.items()}
        shard, group, at = self._place(number)
        return {name: column[at].copy() for name, column in self._group(shard, group).columns.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        where = "" if self.selection is None else f" where {self.selection}"
        return f"<ncagen.Dataset {self.folder}: {len(self):,} {self.split} rows of band {self.band}{where}>"

    def rows(self, numbers: np.ndarray, columns: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of many rows, in the order requested. Raises DamagedShard, NcagenError.

        numbers: integers [row], each 0 to len - 1. Returns the columns named, all if left out, each [row] or [row,
        token].
        """
        known = [column.name for column in self.row_format.columns]
        wanted = known if columns is None else columns
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise NcagenError(f"column {unknown[0]!r} is not known: use {', '.join(known)}")
        numbers = np.asarray(numbers)
        if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and len(numbers)):
            raise TypeError(f"rows takes whole numbers in one dimension, not {numbers.dtype} {numbers.shape}")
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            raise IndexError(f"rows {numbers.min()} to {numbers.max()} are out of range: use 0 to {len(self) - 1}")
        numbers = numbers.astype(np.int64)
        if self._selected is not None:
            numbers = self._selected[numbers]
        empty = self.row_format.empty(len(numbers)).columns
        found = {name: column for name, column in empty.items() if name in wanted}
        in_sequence = (
            len(numbers) > 0 and len(numbers) == numbers[-1] - numbers[0] + 1 and (np.diff(numbers) == 1).all()
        )
        if in_sequence and self.folder.maps:
            self._copy_range(int(numbers[0]), len(numbers), found)
        elif len(numbers):
            self._gather(numbers, found)
        return found

    def prefetch(self, shard: int, first: int, last: int) -> None:
        """Begins to fetch row groups `first` to `last` - 1 of a shard in the background.

        `rows` waits for them instead of requesting them again, and raises the error if they cannot be fetched. Nothing
        happens for row groups that are held or that the shard does not have, and where files are mapped or fetched
        whole.
        """
        groups = range(-(-self.manifest.spec.shard_rows(self.split, shard) // self._group_rows))[first:last]
        wanted = [group for group in groups if (shard, group) not in self._groups]
        if wanted and self._has_ranges:
            self._remote.prefetch(shard, wanted, self._held + AHEAD)

    def hold(self, groups: int) -> None:
        """Keeps at least so many decoded row groups in memory, and as many that were fetched and not read."""
        if groups > self._held:
            self._held = groups
            self._groups.resize(groups)
            self._decoded = self._room_for_groups()

    def shard(self, number: int) -> Rows:
        """The checked rows of one shard; only the selected ones if there is a selection. Raises DamagedShard."""
        rows = self._read(number, ShardFile.rows)
        if self._selected is None:
            return rows
        first = number * self.manifest.spec.rows_per_shard
        here = slice(*np.searchsorted(self._selected, (first, first + len(rows))))
        return rows.take(self._selected[here] - first)

    @property
    def row_format(self) -> RowFormat:
        """The columns of a row, its tokens and its vocabulary."""
        return self.manifest.row_format

    @property
    def revision(self) -> str | None:
        """The commit that the files are of; None for a folder."""
        return self.folder.revision

    @property
    def shards(self) -> Shards:
        """The rows of each shard and row group, by which `shuffle` orders them. They follow from the spec alone.

        With a selection, those of the selected rows.
        """
        count, per_shard = len(self.records), self.manifest.spec.rows_per_shard
        if self._selected is None:
            rows = np.full(count, per_shard)
            rows[-1] = len(self) - (count - 1) * per_shard
            return Shards(rows, group_rows=self._group_rows)
        shards, groups, _ = self._place(self._selected)
        sizes = np.bincount(shards * self._groups_per_shard + groups, minlength=count * self._groups_per_shard)
        return Shards(sizes.reshape(count, -1).sum(axis=1), sizes, self._groups_per_shard)

    @property
    def _groups_per_shard(self) -> int:
        return -(-self.manifest.spec.rows_per_shard // self._group_rows)

    def _place(self, number):
        """Shard, row group and row within it of a row number, or of an array of them."""
        shard, within = divmod(number, self.manifest.spec.rows_per_shard)
        return shard, *divmod(within, self._group_rows)

    def _gather(self, numbers: np.ndarray, found: dict[str, np.ndarray]) -> None:
        """Fills columns with rows of any numbers."""
        shards, groups, at = self._place(numbers)
        groups = groups + shards * self._groups_per_shard
        if self._decoded is None or not self._decoded.gather(groups, at, self._copy_group, found):
            gather(groups, at, lambda number: self._group(*self._shard_of(number)).columns, found, self._fetching)

    def _copy_range(self, first: int, count: int, found: dict[str, np.ndarray]) -> None:
        """Fills columns with rows that follow each other; row groups that are wanted whole are decoded in place."""
        done = 0
        while done < count:
            shard, group, at = self._place(first + done)
            whole = min(self._group_rows, self.records[shard].rows - group * self._group_rows)
            rows = min(whole - at, count - done)
            some = {name: column[done : done + rows] for name, column in found.items()}
            if rows == whole:
                self._copy_group(shard * self._groups_per_shard + group, some)
            else:
                self._gather(np.arange(first + done, first + done + rows), some)
            done += rows

    def _copy_group(self, number: int, into: dict[str, np.ndarray]) -> None:
        """Fills columns with a row group, by its number among those of all shards, and leaves what is beyond it."""
        shard, group = self._shard_of(number)
        self._read(shard, lambda file: file.copy_group(group, into))

    def _shard_of(self, number: int) -> tuple[int, int]:
        """The shard of a row group, and its number there, by its number among those of all shards."""
        return divmod(number, self._groups_per_shard)

    def _fetching(self, numbers: list[int]) -> Iterator[int]:
        """The row groups that are going to be read, fetched some at a time before their turn comes."""
        for start in range(0, len(numbers), AHEAD):
            some = numbers[start : start + AHEAD]
            self._fetch_ahead([self._shard_of(number) for number in some])
            yield from some

    def _fetch_ahead(self, places: Sequence[tuple[int, int]]) -> None:
        """Begins to fetch row groups, each a shard and its number there, neighbours together."""
        if len(places) > 1 and self._has_ranges:
            for shard, some in groupby(sorted(place for place in places if place not in self._groups), itemgetter(0)):
                self._remote.prefetch(shard, [group for _, group in some], self._held + AHEAD)

    @property
    def _has_ranges(self) -> bool:
        """Whether row groups are fetched by range, but for shards without a footer in the manifest."""
        return not self.folder.maps and self._server_has_ranges

    def _group(self, shard: int, group: int) -> Rows:
        def read() -> Rows:
            rows = self._read(shard, lambda file: file.group(group))
            # Of an Arrow file they are views, which would show what is written into it after the check.
            return rows.take(np.arange(len(rows))) if self.verify == "always" else rows

        return self._groups.get((shard, group), read)

    def _read(self, number: int, action: Callable[[ShardFile], Value]) -> Value:
        """What an action reads of a shard. Raises DamagedShard naming it."""
        with naming(self.folder, self.manifest, self.records[number]):
            if self._has_ranges and self._remote.has_footer(number):
                try:
                    return action(self._remote.file(number))
                except RangesIgnored:
                    self._server_has_ranges = False
            return action(self._open_whole(number))

    def _open_whole(self, number: int) -> ShardFile:
        check = self.verify == "always" or (self.verify == "first-use" and number not in self._verified)
        if check:
            self._files.drop(number)
        record = self.records[number]
        trusted = self.verify != "never"  # checked now, or when it was first opened
        file = self._files.get(number, lambda: open_shard(self.folder, self.manifest, record, check, trusted))
        self._verified.add(number)
        return file

    def _select(self, where: Where) -> None:
        """Numbers the rows that a condition holds for. Raises NcagenError if there are none."""
        chosen = []
        for number in range(len(self.records)):
            found = self._read(number, lambda file: where.selects(file.columns(where.columns)))
            chosen.append(number * self.manifest.spec.rows_per_shard + np.flatnonzero(found))
        self._selected = np.concatenate(chosen)
        self._length, self.selection = len(self._selected), str(where)
        if not self._length:
            raise NcagenError(f"{self.folder} has no {self.split} rows of band {self.band} where {where}")

    def _forget(self) -> None:
        self._verified: set[int] = set()
        self._files: LruCache[int, ShardFile] = LruCache(HELD_MAPPED_SHARDS if self.folder.maps else HELD_SHARDS)
        self._groups: LruCache[tuple[int, int], Rows] = LruCache(self._held)
        self._decoded = self._room_for_groups()
        self._server_has_ranges = True
        cache = None if self.cache_dir is None else DiskCache(self.cache_dir, self.cache_limit)
        self._remote: RemoteShards = RemoteShards(self.folder, self.manifest, self.records, cache)

    def _room_for_groups(self) -> HeldGroups | None:
        """Room for decoded row groups.

        Not for those of an Arrow file, which are views of it, nor for fetched ones, of which several threads may wait
        for one.
        """
        groups = self._groups_per_shard * len(self.records)
        is_decoded = self.folder.maps and self.manifest.file_format == "parquet"
        return HeldGroups(self.row_format, min(self._held, groups)) if is_decoded else None

    def __getstate__(self) -> dict:
        process = ("_verified", "_files", "_groups", "_decoded", "_server_has_ranges", "_remote")
        return {name: value for name, value in self.__dict__.items() if name not in process}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()
