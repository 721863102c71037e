"""Every format that a dataset can be exported to, and the check that a dataset fits one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.layout import targets
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.export import datatrove, hf, jsonl, litdata, llmc, mds, megatron, nanogpt, olmo
from ncagen.export.files import Done, File
from ncagen.export.plan import Export
from ncagen.spec import Spec

MOST_SHARD_BYTES = 2**31  # offsets within a file are 32 bits in some formats


class Format(NamedTuple):
    """files: the export's files in the order they are written. settings: the trainer's, as lines to copy.

    dtypes: those that ids can have, narrowest first. zstd: whether files are compressed, None where they cannot be.
    masks: whether the files say that the first grid has no loss. parquet: whether pyarrow's version decides the bytes.
    """

    files: Callable[[Export, Done], Iterator[File]]
    settings: Callable[[Export, Path], list[str]]
    dtypes: tuple[str, ...]
    zstd: bool | None = None
    masks: bool = False
    parquet: bool = False


FORMATS = {
    "nanogpt": Format(nanogpt.files, nanogpt.settings, ("uint16",)),
    "llmc": Format(llmc.files, llmc.settings, ("uint16",)),
    "megatron": Format(megatron.files, megatron.settings, ("uint16", "int32")),
    "litdata": Format(litdata.files, litdata.settings, ("uint16", "uint32")),
    "mds": Format(mds.files, mds.settings, ("uint16", "uint32"), zstd=False),
    "datatrove": Format(datatrove.files, datatrove.settings, ("uint16", "uint32")),
    "olmo": Format(olmo.files, olmo.settings, ("uint16", "uint32"), masks=True),
    "jsonl": Format(jsonl.files, jsonl.settings, ("int64",), zstd=True),
    "hf": Format(hf.files, hf.settings, ("int32",), zstd=True, masks=True, parquet=True),
}


def plan(
    place: str | Path | Folder,
    band: str | None,
    to: str,
    length: int | None = None,
    token_offset: int = 0,
    zstd: bool | None = None,
) -> Export:
    """The export of a band. Raises NcagenError where the dataset or an option does not fit the format."""
    folder = folder_at(place)
    dataset = Dataset(folder, "train", band)
    spec, shaped = dataset.manifest.spec, FORMATS[to]
    length = spec.row_tokens if length is None else length
    _check_length(spec, length, shaped.masks)
    if zstd and shaped.zstd is None:
        some = " or ".join(name for name, format in FORMATS.items() if format.zstd is not None)
        raise NcagenError(f"{to} has no compressed files: leave --zstd out, or use --to {some}")
    dtype = _dtype(to, spec.vocabulary, token_offset)
    if (size := dataset.records[0].rows * length * dtype.itemsize) > MOST_SHARD_BYTES:
        raise NcagenError(
            f"a shard of {size:,} bytes is too large to export: the limit is {MOST_SHARD_BYTES:,};"
            " build the dataset with fewer --rows-per-shard"
        )
    zstd = bool(shaped.zstd) if zstd is None else zstd
    return Export(folder, dataset.manifest, dataset.band, to, length, token_offset, dtype, zstd, shaped.parquet)


def _check_length(spec: Spec, length: int, masks: bool) -> None:
    """Raises NcagenError unless a row cut to this length has a token with a loss."""
    least = int(targets(spec, mask_grids=int(masks)).argmax()) + 1
    if not 1 <= length <= spec.row_tokens:
        raise NcagenError(f"--length {length} is out of range: use {least} to {spec.row_tokens}, the tokens of a row")
    if length < least:
        reason = f"the first grid of {spec.tokens_per_grid} tokens is masked" if masks else "the first token has none"
        raise NcagenError(f"--length {length} leaves no label, since {reason}: use {least} to {spec.row_tokens}")


def _dtype(to: str, vocabulary: int, token_offset: int) -> np.dtype:
    """The format's narrowest dtype for these ids. Raises NcagenError where none is wide enough."""
    highest = vocabulary - 1 + token_offset
    for name in FORMATS[to].dtypes:
        if highest <= np.iinfo(name).max:
            return np.dtype(name).newbyteorder("<")
    most = np.iinfo(FORMATS[to].dtypes[-1]).max
    wider = [name for name, format in FORMATS.items() if np.iinfo(format.dtypes[-1]).max >= highest]
    advice = [f"--token-offset {most - vocabulary + 1} at most"] * (vocabulary - 1 <= most)
    advice += [f"--to {', '.join(wider)}"] * bool(wider)
    raise NcagenError(f"{to} holds ids up to {most:,}, these go up to {highest:,}: use {' or '.join(advice)}")
