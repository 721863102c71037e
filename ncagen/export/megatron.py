"""Megatron-LM: one .bin of tokens and one .idx for each split; every row is a document of one sequence."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ncagen.export.files import Done, File, Part
from ncagen.export.plan import Export

MAGIC, VERSION = b"MMIDIDX\0\0", 1
CODES = {"uint16": 8, "int32": 4}
FLAGS = {"train": "train", "validation": "valid", "test": "test"}
BLOCK = 2**20  # values of the index that are made at a time


def files(export: Export, done: Done) -> Iterator[File]:
    """The .idx after its .bin."""
    for split in export.splits:
        yield export.tokens_file(f"{split}.bin", split)
        yield File(f"{split}.idx", _index(export, export.row_count(split)))


def _index(export: Export, rows: int) -> Iterator[Part]:
    """Header, int32 lengths, int64 byte positions, int64 documents' bounds in sequences."""
    row_bytes = export.length * export.dtype.itemsize
    header = MAGIC + struct.pack("<QBQQ", VERSION, CODES[export.dtype.name], rows, rows + 1)
    yield Part(0, lambda: header)
    yield from _steps(rows, "<i4", lambda numbers: np.full(len(numbers), export.length))
    yield from _steps(rows, "<i8", lambda numbers: numbers * row_bytes)
    yield from _steps(rows + 1, "<i8", lambda numbers: numbers)


def _steps(count: int, dtype: str, values: Callable[[np.ndarray], np.ndarray]) -> Iterator[Part]:
    """values(0 to count - 1) as dtype, a block at a time."""
    for start in range(0, count, BLOCK):
        yield Part(0, partial(_block, start, min(start + BLOCK, count), dtype, values))


def _block(start: int, end: int, dtype: str, values: Callable[[np.ndarray], np.ndarray]) -> bytes:
    return values(np.arange(start, end, dtype=np.int64)).astype(dtype).tobytes()


def settings(export: Export, out: Path) -> list[str]:
    """Flags of pretrain_gpt.py."""
    return [
        *(f"--{FLAGS[split]}-data-path {out}/{split}" for split in export.splits),
        f"--seq-length {export.length}",
        f"--max-position-embeddings {export.length}",
        "--tokenizer-type NullTokenizer",
        f"--vocab-size {export.vocabulary + 1}",
        "# --seq-length of a row's tokens makes each sample one row; its last label is the next row's first token",
        f"# --vocab-size is one more than the rows' {export.vocabulary} ids: NullTokenizer's eod is that number, or in",
        "# Megatron-LM since April 2026 the one before, and no row may hold it. So --reset-position-ids,",
        "# --reset-attention-mask and --eod-mask-loss do nothing. With another tokenizer, eod and pad must be none of",
        "# the rows' ids either, least of all a delimiter: Megatron leaves out the loss of labels that equal pad",
    ]
