"""Rows without files: what a build would write, yielded as soon as it is made.

The kernels are imported when rows are asked for, so that this module costs nothing where they are not installed. It
runs in one thread and holds no lock, file or process: any worker of a data loader can run its own. Who splits the
work among workers passes `rank` and `world`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count

import numpy as np

from ncagen.dataset.manifest import SPLITS
from ncagen.errors import NcagenError
from ncagen.spec import Band, Spec, from_settings


def generate(
    spec: Spec | Mapping,
    split: str = "train",
    band: str | None = None,
    rank: int = 0,
    world: int = 1,
    start_shard: int = 0,
    endless: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of one split and band, as `ncagen.open` gives them after a build of the same spec, in the same order.

    spec: a Spec, or settings such as {"tokens": "164M", "band": "high"}, with the names that an order in TOML has.
    band: may be left out where the spec has one. Shard k goes to rank k % world; those before `start_shard` are left
    out. With `endless` every shard is full and there is always another: the rows that builds of ever more tokens
    would hold, those of this spec first, whose number of tokens decides nothing then and may be left out.

    Yields dicts: input_ids, uint16 or uint32 [token]; candidate, uint64; gzip_bytes, int32; gzip_ratio, float32.
    Raises NcagenError for what no dataset has, and, when the first rows turn out to be rare, for a band out of reach.
    """
    spec = as_spec(spec, endless)
    if split not in SPLITS:
        raise NcagenError(f"split {split!r} is not known: use {' or '.join(SPLITS)}")
    chosen = _band(spec, band)
    if not (type(rank) is type(world) is int and 0 <= rank < world):
        raise NcagenError(f"rank {rank!r} of world {world!r} is not possible: use 0 of 1, or 0 to 7 of 8")
    if type(start_shard) is not int or not 0 <= start_shard < 2**31:
        raise NcagenError(f"start_shard {start_shard!r} is out of range: use 0 to {2**31 - 1}")
    try:
        import ncagen.factory.search  # noqa: F401
    except ModuleNotFoundError as error:
        raise NcagenError(f"ncagen.generate needs {error.name}: pip install 'ncagen[build]'") from None
    first = start_shard + (rank - start_shard) % world
    shards = count(first, world) if endless else range(first, spec.shards(split), world)
    return _rows(spec, split, chosen, shards, endless)


def as_spec(spec: Spec | Mapping, endless: bool = False) -> Spec:
    """The spec of settings, which need no `tokens` where rows have no end. Raises NcagenError."""
    if isinstance(spec, Spec):
        return spec
    if not isinstance(spec, Mapping):
        raise NcagenError(f"{spec!r} is no spec: use settings such as {{'tokens': '164M', 'band': 'high'}}")
    return from_settings({"tokens": 1, **spec} if endless else spec)


def _band(spec: Spec, name: str | None) -> Band:
    names = [band.name for band in spec.bands]
    if name is None and len(names) > 1:
        raise NcagenError(f"the spec has several bands: say which of {', '.join(names)}")
    if name is not None and name not in names:
        raise NcagenError(f"band {name!r} is not in the spec: use {' or '.join(names)}")
    return spec.bands[0 if name is None else names.index(name)]


def _rows(spec: Spec, split: str, band: Band, shards: Iterable[int], endless: bool) -> Iterator[dict[str, np.ndarray]]:
    from ncagen.complexity.bands import Tally
    from ncagen.factory.plan import pilot
    from ncagen.factory.search import search

    reached = False
    for shard in shards:
        wanted = spec.rows_per_shard if endless else spec.shard_rows(split, shard)
        for step in search(spec, split, shard, wanted, {band: Tally()}):
            if not reached and not step.kept:
                pilot(replace(spec, bands=(band,)))  # refuses a band that no candidate reaches
            reached = True
            for rows in step.kept.values():
                for at in range(len(rows.candidate)):
                    yield {name: column[at].copy() for name, column in rows._asdict().items()}
