"""Lists the formats that a dataset can be exported to, and checks that a dataset fits one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.layout import targets
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.export import datatrove, hf, jsonl, litdata, llmc, mds, megatron, nanogpt, olmo
from ncagen.export.files import Done, File
from ncagen.export.plan import Export
from ncagen.row_format import RowFormat

MOST_SHARD_BYTES = 2**31  # offsets within a file are 32 bits in some formats


class Format(NamedTuple):
    """files: the export's files in the order they are written. settings: the trainer's, as lines to copy.

    dtypes: those that ids can have, narrowest first. zstd: whether files are compressed, None where they cannot be.
    masks: whether the files say that the first tokens have no loss. parquet: whether pyarrow's version decides the
    bytes.
    labels: tokens of a row beyond a model's positions, for the last label: 1 or 0; None where a window may be shorter
    than a row, and the settings say so.
    """

    files: Callable[[Export, Done], Iterator[File]]
    settings: Callable[[Export, Path], list[str]]
    dtypes: tuple[str, ...]
    zstd: bool | None = None
    masks: bool = False
    parquet: bool = False
    labels: int | None = 1


FORMATS = {
    "nanogpt": Format(nanogpt.files, nanogpt.settings, ("uint16",), labels=None),
    "llmc": Format(llmc.files, llmc.settings, ("uint16",), labels=None),
    "megatron": Format(megatron.files, megatron.settings, ("uint16", "int32"), labels=0),
    "litdata": Format(litdata.files, litdata.settings, ("uint16", "uint32")),
    "mds": Format(mds.files, mds.settings, ("uint16", "uint32"), zstd=False),
    "datatrove": Format(datatrove.files, datatrove.settings, ("uint16", "uint32")),
    "olmo": Format(olmo.files, olmo.settings, ("uint16", "uint32"), masks=True, labels=0),
    "jsonl": Format(jsonl.files, jsonl.settings, ("int64",), zstd=True),
    "hf": Format(hf.files, hf.settings, ("int32",), zstd=True, masks=True, parquet=True, labels=0),
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
    dataset = Dataset(folder, read_manifest(folder).first_split, band)
    row_format, shaped = dataset.row_format, FORMATS[to]
    length = row_format.row_tokens if length is None else length
    _check_length(row_format, length, shaped.masks)
    if zstd and shaped.zstd is None:
        some = " or ".join(name for name, format in FORMATS.items() if format.zstd is not None)
        raise NcagenError(f"{to} has no compressed files: leave --zstd out, or use --to {some}")
    dtype = _dtype(to, row_format.vocabulary, token_offset)
    if (size := dataset.records[0].rows * length * dtype.itemsize) > MOST_SHARD_BYTES:
        raise NcagenError(
            f"a shard of {size:,} bytes is too large to export: the limit is {MOST_SHARD_BYTES:,};"
            " build the dataset with fewer --rows-per-shard"
        )
    zstd = bool(shaped.zstd) if zstd is None else zstd
    return Export(folder, dataset.manifest, dataset.band, to, length, token_offset, dtype, zstd, shaped.parquet)


def settings(export: Export, out: Path) -> list[str]:
    """The trainer's settings, as lines to copy, and how to export where its windows exceed the training length."""
    shaped, positions = FORMATS[export.to], export.manifest.row_format.seq_len
    lines = shaped.settings(export, out)
    if shaped.labels is not None and export.length > positions + shaped.labels:
        lines.append(f"# for a model of {positions} positions, export with --length {positions + shaped.labels}")
    return lines


def _check_length(row_format: RowFormat, length: int, masks: bool) -> None:
    """Raises NcagenError unless a row cut to this length has a token with a loss."""
    least = int(targets(row_format, None if masks else 0).argmax()) + 1
    allowed = f"{least} to {row_format.row_tokens}"
    if not 1 <= length <= row_format.row_tokens:
        raise NcagenError(f"--length {length} is out of range: use {allowed}, the tokens of a row")
    if length < least:
        first = row_format.unpredictable
        reason = f"the first {first} tokens are masked" if masks and first else "the first token has none"
        raise NcagenError(f"--length {length} leaves no label, since {reason}: use {allowed}")


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
