"""datatrove: .ds files of tokens, and for each an .index of uint64, where each row ends."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ncagen.export.files import Done, File, whole
from ncagen.export.plan import Export


def files(export: Export, done: Done) -> Iterator[File]:
    """A .ds after its .index, for it is the .ds that readers look for."""
    for split in export.splits:
        for number, shards in enumerate(export.groups(split)):
            path, rows = f"{split}/{number:05d}_unshuffled.ds", export.row_count(split, shards)
            yield whole(f"{path}.index", partial(_ends, export, rows))
            yield export.tokens_file(path, split, shards)


def _ends(export: Export, rows: int) -> bytes:
    return (np.arange(1, rows + 1) * export.length).astype("<u8").tobytes()


def settings(export: Export, out: Path) -> list[str]:
    """Python for datatrove."""
    size = export.dtype.itemsize
    return [
        f"DatatroveFolderDataset({str(out / export.first_split)!r}, seq_len={export.length - 1}, token_size={size},",
        "                       filename_pattern='*.ds')",
        f"# an item has seq_len + 1 = {export.length} tokens, which is one row",
        f"# vocabulary {export.vocabulary:,}",
    ]
