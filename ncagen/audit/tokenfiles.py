"""Reads flat token files: headerless, llm.c's, or NumPy's. Files are mapped into memory, not copied.

Not covered: files whose rows differ in length (with an index file), compressed files, text.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ncagen.dataset.experiment_files import no_dataset
from ncagen.dataset.folder import Folder
from ncagen.errors import NcagenError

DTYPES = ("uint16", "uint32")
SUFFIXES = (".bin", ".npy")

LLMC_MAGIC, LLMC_HEADER = 20240520, 1024  # 256 int32: magic, version, tokens
LLMC_DTYPES = {1: "uint16", 7: "uint32"}

# First bytes of files that do not contain plain tokens.
OTHERS = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip or .npz archive",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x89HDF": "an HDF5 file",
    b"MMIDIDX": "an index of Megatron-LM, not its tokens",
}
LOOKED_AT = 1 << 16


@dataclass(frozen=True)
class TokenFile:
    """A file of tokens.

    tokens: integers [token], or [row, token] if the file has two axes. promised: the number of tokens in its header.
    """

    path: Path
    tokens: np.ndarray
    promised: int | None = None


def token_files(place: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Lists train, validation and test files of a folder, or the file as train. Raises NcagenError without train."""
    if place.is_file():
        return [place], [], []
    files = sorted(path for path in place.iterdir() if path.suffix in SUFFIXES and path.is_file())
    train, validation, test = ([path for path in files if word in path.name] for word in ("train", "val", "test"))
    if not train:
        problem = no_dataset(Folder(place))
        if problem is not None:
            raise problem
        raise NcagenError(
            f"{place} holds neither a dataset (manifest.json) nor train*.bin: use a dataset's folder, or name a file"
        )
    return train, validation, test


def read(path: Path, dtype: str, vocabulary: int) -> TokenFile:
    """Maps the tokens of a file.

    dtype: of a file without a header, "uint16" or "uint32". vocabulary: number of ids, to detect the other dtype.
    Raises NcagenError for a file that cannot be read or does not contain tokens.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
    except OSError as error:
        raise NcagenError(f"{path} cannot be read: {error.strerror}") from None
    if not start:
        raise NcagenError(f"{path} is empty: it holds no tokens")
    for magic, what in OTHERS.items():
        if start.startswith(magic):
            raise NcagenError(f"{path} is {what}: use flat tokens (.bin, .npy), or a dataset's folder")
    if start.startswith(b"\x93NUMPY"):
        return TokenFile(path, _numpy(path))
    if set(start) <= {*range(9, 14), *range(32, 127)}:
        raise NcagenError(f"{path} is text: use flat tokens (.bin, .npy), or a dataset's folder")
    if len(start) >= LLMC_HEADER and int.from_bytes(start[:4], "little") == LLMC_MAGIC:
        return _llmc(path, start)
    tokens = _flat(path, dtype, 0)
    _check_dtype(path, tokens[: LOOKED_AT // 4], dtype, vocabulary)
    return TokenFile(path, tokens)


def _flat(path: Path, dtype: str, offset: int) -> np.ndarray:
    size, each = path.stat().st_size - offset, np.dtype(dtype).itemsize
    if size % each or not size:
        raise NcagenError(f"{path} has {size} bytes of tokens, no whole number of {dtype}: it is cut or damaged")
    return np.memmap(path, np.dtype(dtype).newbyteorder("<"), "r", offset)


def _llmc(path: Path, start: bytes) -> TokenFile:
    _, version, promised = np.frombuffer(start, "<i4", 3).tolist()
    if version not in LLMC_DTYPES:
        known = " and ".join(map(str, LLMC_DTYPES))
        raise NcagenError(f"{path} is llm.c's format in version {version}: versions {known} can be read")
    return TokenFile(path, _flat(path, LLMC_DTYPES[version], LLMC_HEADER), promised)


def _numpy(path: Path) -> np.ndarray:
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise NcagenError(f"{path} is a damaged NumPy file: its header does not fit it") from None
    if tokens.dtype.kind not in "iu" or tokens.ndim not in (1, 2) or not tokens.size:
        shape = " x ".join(map(str, tokens.shape))
        raise NcagenError(f"{path} holds {tokens.dtype} {shape or 'alone'}: use integers, as [token] or [row, token]")
    return tokens


def _check_dtype(path: Path, tokens: np.ndarray, dtype: str, vocabulary: int) -> None:
    """Raises NcagenError for tokens that are clearly of the other dtype."""
    if dtype == "uint16" and vocabulary <= 2**16 and len(tokens) > 1 and not tokens[1::2].any() and tokens.any():
        raise NcagenError(f"{path} looks like uint32, every second uint16 is 0: use --dtype uint32")
    if dtype == "uint32" and vocabulary <= 2**16 and (tokens >= 2**16).mean() > 0.9:
        raise NcagenError(f"{path} looks like uint16, as uint32 its ids are over 65,535: use --dtype uint16")
