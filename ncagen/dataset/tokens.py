"""Reads a user's tokens as rows: a part of a mixture with datasets, or the only data of a stream. NumPy only.

    row r of tokens [n]:           tokens[r * seq_len : r * seq_len + seq_len + 1], the last token only as a label
    row r of tokens [row, token]:  tokens[r]

Rows are cut at fixed lengths: documents, their delimiters and an attention mask between them are not supported. Tokens
are not copied, a file is mapped into memory, and nothing is tokenized.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ncagen.dataset.layout import Layout
from ncagen.dataset.shuffle import Shards
from ncagen.errors import NcagenError
from ncagen.numbers import shown, whole
from ncagen.row_format import RowFormat

DTYPES = ("uint16", "uint32")
SEQ_LEN = 1024
LLM_C_MAGIC, LLM_C_HEADER = 20240520, 1024  # llm.c's dev/data/data_common.py: 256 int32, the first is the magic

SHARD_ROWS = 4096  # as `ncagen build` has it where nothing else is given

_READ_TOKENS = 2**22  # hashed at a time


class Tokens:
    """Rows of tokens that were made elsewhere.

    `sha256` is that of the tokens' little-endian bytes: of a flat file without a header, of the file. A state of a
    stream holds for the same tokens, in the same dtype and cut into the same rows.
    """

    revision = None  # no commit of the Hub

    def __init__(
        self,
        source: str | os.PathLike | np.ndarray,
        seq_len: int | None = None,
        *,
        dtype: str = "uint16",
        skip: int = 0,
        vocabulary: int | None = None,
        sha256: str | None = None,
    ):
        """source: a flat file of tokens such as nanoGPT's train.bin, a .npy file, or an array; [n] or [row, token].

        seq_len: tokens of a row that a model is given; 1024 if left out, or all of [row, token]. What does not fill a
        last row is left out. dtype, skip: of a flat file, uint16 or uint32, and how many bytes of a header come first.
        vocabulary: ids are below it; the largest and one if left out.
        sha256: with a vocabulary, the hash that an earlier `Tokens` of this source had, which is then trusted.
        Without it all tokens are read once, to hash them and to find the largest: about a second a GB. A pickled copy,
        as in a DataLoader's worker, knows both. Arrays, np.memmap too, are pickled whole; files are not.
        Raises NcagenError.
        """
        self._path = None if isinstance(source, np.ndarray) else _path(source)
        self._array = source if isinstance(source, np.ndarray) else None
        if dtype not in DTYPES:
            raise NcagenError(f"dtype {dtype!r} is not known: use {' or '.join(DTYPES)}")
        self._dtype, self._skip = dtype, whole("skip", skip, 0)
        tokens = self._tokens()
        _check_array(self.folder, tokens)
        self._length, self._seq_len, self._row_tokens = _rows(self.folder, tokens, seq_len)
        if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", str(sha256)):
            raise NcagenError(f"sha256 {shown(sha256)} is not a hash: use the sha256 of Tokens, 64 hexadecimal digits")
        most = None if vocabulary is None else whole("vocabulary", vocabulary, 1, 2**32)
        self.sha256, largest = (sha256, 0) if sha256 and most else _hashed(tokens)
        if sha256 not in (None, self.sha256):
            raise NcagenError(f"{self.folder} has the sha256 {self.sha256}, not {sha256}: leave sha256 out to take it")
        self.row_format = RowFormat(most or largest + 1, self._row_tokens, self._seq_len)
        self._check_ids(largest)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<ncagen.Tokens {self.folder}: {len(self):,} rows of {self._row_tokens:,} tokens>"

    @property
    def folder(self) -> str:
        """The name of the tokens in errors."""
        return "the array" if self._path is None else str(self._path)

    @property
    def shards(self) -> Shards:
        """Rows that are shuffled as those of a dataset's shards of the usual size are."""
        whole_shards, rest = divmod(len(self), SHARD_ROWS)
        return Shards(np.asarray([SHARD_ROWS] * whole_shards + [rest] * (rest > 0), np.int64))

    @property
    def identity(self) -> list:
        """Identifies the tokens of each row, as plain values for JSON."""
        shape = [int(size) for size in self._tokens().shape]
        return ["tokens", self.sha256, self._tokens().dtype.name, shape, self._seq_len]

    def rows(self, numbers: np.ndarray, columns: Sequence[str] = ("input_ids",)) -> dict[str, np.ndarray]:
        """Copies of many rows, in the order requested, as `Dataset.rows`. Raises NcagenError.

        numbers: integers [row], each 0 to len - 1. Returns `input_ids`, uint16 or uint32 [row, token].
        """
        if list(columns) != ["input_ids"]:
            raise NcagenError(f"{self.folder} has input_ids alone: give a layout, as in layout=ncagen.Layout()")
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            raise IndexError(f"rows {numbers.min()} to {numbers.max()} are out of range: use 0 to {len(self) - 1}")
        tokens = self._tokens()
        if tokens.ndim == 1:
            numbers = numbers[:, None] * self._seq_len + np.arange(self._row_tokens)
        found = tokens[numbers]
        self._check_ids(int(found.max(initial=0)))
        return {"input_ids": found.astype(self.row_format.token_dtype, copy=False)}

    def own_layout(self, layout: Layout) -> Layout:
        """The layout for these rows: no token is masked by its id, and ids are unchanged."""
        return replace(layout, mask_first=0, mask_structural=False, token_offset=0)

    def _check_ids(self, largest: int) -> None:
        if largest >= self.row_format.vocabulary:
            raise NcagenError(
                f"{self.folder} has the id {largest}, the vocabulary is {self.row_format.vocabulary}: use"
                f" {largest + 1} or more, or the dtype it was written with"
            )

    def _tokens(self) -> np.ndarray:
        if self._array is None:
            assert self._path is not None
            self._array = _mapped(self._path, self._dtype, self._skip)
        return self._array

    def __getstate__(self) -> dict:
        return self.__dict__ if self._path is None else self.__dict__ | {"_array": None}


def _path(source: str | os.PathLike) -> Path:
    try:
        return Path(source)
    except TypeError:
        raise NcagenError(
            f"tokens cannot be a {type(source).__name__}: use a path or a NumPy array, as in np.array(some, np.uint16)"
        ) from None


def _mapped(path: Path, dtype: str, skip: int) -> np.ndarray:
    """The tokens of a file, read where they are asked for. Raises NcagenError."""
    try:
        if path.suffix == ".npy":
            found = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(found, np.ndarray):
                raise ValueError("it holds several arrays")
            return found
        _check_file(path, np.dtype(dtype).itemsize, skip)
        return np.memmap(path, np.dtype(dtype).newbyteorder("<"), "r", skip)
    except OSError as error:
        raise NcagenError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise NcagenError(f"{path} is not a file of tokens: {str(error).splitlines()[0]}") from None


def _check_file(path: Path, itemsize: int, skip: int) -> None:
    size = path.stat().st_size - skip
    if size <= 0 or size % itemsize:
        raise NcagenError(
            f"{path} has {size} bytes after skip={skip}, which are not tokens of {itemsize} bytes: use the dtype it was"
            f" written with ({' or '.join(DTYPES)}), and skip= for a header"
        )
    with path.open("rb") as file:
        if not skip and int.from_bytes(file.read(4), "little") == LLM_C_MAGIC:
            raise NcagenError(f"{path} starts with the header of llm.c: use skip={LLM_C_HEADER}")


def _check_array(name: str, tokens: np.ndarray) -> None:
    if tokens.dtype.kind != "u" or tokens.dtype.itemsize not in (2, 4):
        raise NcagenError(f"{name} is of {tokens.dtype}: use {' or '.join(DTYPES)}, as in tokens.astype(np.uint16)")
    if tokens.ndim not in (1, 2):
        raise NcagenError(f"{name} has the shape {tokens.shape}: use tokens [n] or [row, token]")


def _rows(name: str, tokens: np.ndarray, seq_len: int | None) -> tuple[int, int, int]:
    """How many rows there are, the tokens of each that a model is given, and all its tokens. Raises NcagenError."""
    if tokens.ndim == 1:
        seq_len = whole("seq_len", SEQ_LEN if seq_len is None else seq_len, 2)
        rows, row_tokens = max(0, tokens.size - 1) // seq_len, seq_len + 1
    else:
        rows, row_tokens = tokens.shape
        seq_len = whole("seq_len", row_tokens if seq_len is None else seq_len, 2, max(row_tokens, 2))
    if not rows or row_tokens < seq_len:
        raise NcagenError(f"{name} has no row of {max(seq_len, row_tokens)} tokens: it has {tokens.size} tokens")
    return rows, seq_len, row_tokens


def _hashed(tokens: np.ndarray) -> tuple[str, int]:
    """The sha256 of the tokens' little-endian bytes, and the largest token."""
    digest, largest = hashlib.sha256(), 0
    for some in _pieces(tokens):
        digest.update(np.ascontiguousarray(some, some.dtype.newbyteorder("<")).data)
        largest = max(largest, int(some.max(initial=0)))
    return digest.hexdigest(), largest


def _pieces(tokens: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _READ_TOKENS // max(1, tokens[:1].size))
    return (tokens[start : start + step] for start in range(0, len(tokens), step))
