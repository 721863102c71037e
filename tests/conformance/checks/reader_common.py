"""What the checks of Parquet readers share: they read a finished dataset's own files, as each reader documents it.

A reader is given one split's files as a pattern and returns its columns as NumPy arrays: input_ids [row, token] and
the columns beside it. All four are compared with the source, value by value, for both splits.
"""

import importlib.metadata
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import EXPORT, SPLITS, same, source

COLUMNS = ("input_ids", "candidate", "gzip_bytes", "gzip_ratio")

Read = Callable[[str], dict[str, np.ndarray]]


def pattern(split: str) -> str:
    """The files of a split, as a glob."""
    return str(EXPORT / "data" / "high" / f"{split}-*.parquet")


def paths(pattern: str) -> list[str]:
    """The files of a pattern, for readers that take no glob."""
    folder, _, name = pattern.rpartition("/")
    return sorted(map(str, Path(folder).glob(name)))


def check(package: str, how: str, read: Read, needed: str = "") -> None:
    """Every value of every column of both splits is the source's. needed: what the reader has to be told for that."""
    tokens = 0
    for split in SPLITS:
        found = read(pattern(split))
        for column in COLUMNS:
            values = np.asarray(found[column])
            assert values.dtype.kind == source(split, column).dtype.kind, (column, values.dtype)
            count = same(values, split, column)
            tokens += count if column == "input_ids" else 0
    _report(package, how, tokens, needed)


def check_refusal(read: Read, line: str) -> None:
    """The reader refuses the tokens of both splits with an error that has `line` in it, and gives no row."""
    for split in SPLITS:
        try:
            read(pattern(split))
        except Exception as error:
            assert line in f"{error!r} {error}", f"{type(error).__name__}: {error}"
        else:
            raise AssertionError("it read the tokens, and the table says that it does not")


def report_refusal(package: str, how: str, needed: str) -> None:
    """The line of a check that saw nothing but refusals. needed: what to use instead."""
    _report(package, how, 0, needed)


def stacked(lists) -> np.ndarray:
    """Rows that come as one sequence each: [row, token]."""
    return np.stack([np.asarray(row) for row in lists])


def _report(package: str, how: str, tokens: int, needed: str) -> None:
    result = {"package": package, "version": importlib.metadata.version(package), "loaded": how, "tokens": tokens}
    print(json.dumps({**result, "needed": needed, "python": platform.python_version(), "numpy": np.__version__}))
