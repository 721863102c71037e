"""Yields the rows that a build would write, as soon as they are made, without files.

The kernels are imported when rows are asked for, so that this module costs nothing where they are not installed. It
runs in one thread and holds no lock, file or process: any worker of a data loader can run its own. `generate` gives
whole shards to each rank; `share` gives equally many rows to each, as training in step needs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count, islice

import numpy as np

from ncagen.dataset.manifest import SPLITS
from ncagen.errors import NcagenError
from ncagen.factory.settings import from_settings
from ncagen.hints import needed_by
from ncagen.numbers import whole
from ncagen.row_format import RowFormat
from ncagen.selection import Band
from ncagen.sources import source_of
from ncagen.spec import BuildSpec


def generate(
    spec: BuildSpec | Mapping,
    split: str = "train",
    band: str | None = None,
    rank: int = 0,
    world: int = 1,
    start_shard: int = 0,
    endless: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of one split and band, as `ncagen.open` gives them after a build of the same spec, in the same order.

    spec: a BuildSpec, or settings such as {"tokens": "164M", "band": "high"}, with the names that a TOML file has.
    band: may be left out where the spec has one. Shard k goes to rank k % world; those before `start_shard` are left
    out. With `endless` every shard is full and there is always another: the rows that builds of ever more tokens
    would hold, those of this spec first, whose number of tokens decides nothing then and may be left out.

    Yields dicts: input_ids, uint16 or uint32 [token]; candidate, uint64; gzip_bytes, int32; gzip_ratio, float32.
    The first use on a machine compiles the kernels, and says so on standard error; see `compile_notice`.
    Raises NcagenError for what no dataset has, and, when the first rows turn out to be rare, for a band out of reach;
    MissingPackage, which is a ModuleNotFoundError too, without the packages of the extra `build`.
    """
    spec, chosen, start_shard = _checked(spec, split, band, start_shard, endless)
    world = whole("world", world, 1)
    rank = whole("rank", rank, 0, world - 1)
    return _rows(spec, split, chosen, _shards(spec, split, rank, world, start_shard, endless), endless)


def share(
    spec: BuildSpec | Mapping,
    rank: int = 0,
    world: int = 1,
    worker: int = 0,
    workers: int = 1,
    split: str = "train",
    band: str | None = None,
    start_shard: int = 0,
    endless: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """One worker's part of the rows of `generate`, such that all ranks get equally many; fewer than `world` are left.

    Full shards go round the workers of all ranks. Those that are left when there is none for everybody, and a short
    last one, are made by every worker, which gives its part of their rows: row i of them belongs to rank i % world.

    worker, workers: this process's number within its rank, and how many there are. The others are those of `generate`.
    Raises NcagenError, also where a rank would have no row.
    """
    spec, chosen, start_shard = _checked(spec, split, band, start_shard, endless)
    parts = world * workers
    if endless:
        return _rows(spec, split, chosen, _shards(spec, split, rank * workers + worker, parts, start_shard, True), True)
    shards = range(start_shard, spec.shards(split))
    total = max(0, spec.rows(split) - start_shard * spec.rows_per_shard)
    if total < world:
        raise NcagenError(f"{total} rows are too few for {world} ranks: use fewer ranks or more tokens")
    dealt = total // spec.rows_per_shard // parts * parts
    own = _rows(spec, split, chosen, shards[rank * workers + worker : dealt : parts], False)
    left = total - dealt * spec.rows_per_shard
    rows = range(rank + worker * world, left - left % world, parts)
    return chain(own, _picked(_rows(spec, split, chosen, shards[dealt:], False), rows))


def _picked(rows: Iterator[dict[str, np.ndarray]], numbers: range) -> Iterator[dict[str, np.ndarray]]:
    """Some rows by their numbers; none is made after the last of them, or where there is none."""
    return islice(rows, numbers.start, numbers.stop, numbers.step) if numbers else iter(())


def _shards(spec: BuildSpec, split: str, rank: int, world: int, start: int, endless: bool) -> Iterable[int]:
    """The shards of a rank: shard k goes to rank k % world."""
    first = start + (rank - start) % world
    return count(first, world) if endless else range(first, spec.shards(split), world)


def _checked(
    spec: BuildSpec | Mapping, split: str, band: str | None, start_shard: int, endless: bool
) -> tuple[BuildSpec, Band, int]:
    """The spec, the band and the first shard that are meant. Raises NcagenError."""
    spec = as_spec(spec, endless)
    if split not in SPLITS:
        raise NcagenError(f"split {split!r} is not known: use {', '.join(SPLITS)}")
    chosen = _band(spec, band)
    start_shard = whole("start_shard", start_shard, 0, 2**31 - 1)
    with needed_by("ncagen.generate"):
        source_of(spec).batch_candidates()  # imports the kernels
    return spec, chosen, start_shard


def as_spec(spec: BuildSpec | Mapping, endless: bool = False) -> BuildSpec:
    """The spec of settings, which need no `tokens` where rows have no end. Raises NcagenError."""
    if isinstance(spec, BuildSpec):
        return spec
    if not isinstance(spec, Mapping):
        raise NcagenError(f"{spec!r} is no spec: use settings such as {{'tokens': '164M', 'band': 'high'}}")
    return from_settings({"tokens": 1, **spec} if endless else spec)


def row_format_of(spec: BuildSpec) -> RowFormat:
    """The columns and tokens of a spec's rows. Raises NcagenError."""
    return source_of(spec).row_format


def _band(spec: BuildSpec, name: str | None) -> Band:
    names = [band.name for band in spec.bands]
    if name is None and len(names) > 1:
        raise NcagenError(f"the spec has several bands: say which of {', '.join(names)}")
    if name is not None and name not in names:
        raise NcagenError(f"band {name!r} is not in the spec: use {' or '.join(names)}")
    return spec.bands[0 if name is None else names.index(name)]


def _rows(
    spec: BuildSpec, split: str, band: Band, shards: Iterable[int], endless: bool
) -> Iterator[dict[str, np.ndarray]]:
    from ncagen.factory.plan import pilot
    from ncagen.factory.search import search
    from ncagen.selection import Tally

    reached = False
    for shard in shards:
        wanted = spec.rows_per_shard if endless else spec.shard_rows(split, shard)
        for step in search(spec, split, shard, wanted, {band: Tally()}):
            if not reached and not step.kept:
                pilot(replace(spec, bands=(band,)))  # refuses a band that no candidate reaches
            reached = True
            for rows in step.kept.values():
                for at in range(len(rows)):
                    yield {name: column[at].copy() for name, column in rows.columns.items()}
