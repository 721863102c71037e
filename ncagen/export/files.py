"""Types that an exporter passes to the engine: files, each a sequence of parts that are made on demand."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class Part(NamedTuple):
    """A piece of a file: the dataset's rows in it, 0 where it holds none, and what makes its bytes."""

    rows: int
    data: Callable[[], bytes]


class File(NamedTuple):
    """A file of an export. Its path is within the export's folder; its parts follow one another without gaps."""

    path: str
    parts: Iterable[Part]


class Written(NamedTuple):
    """A finished file: its size in bytes and the hash of them."""

    bytes: int
    sha256: str


def whole(path: str, data: Callable[[], bytes], rows: int = 0) -> File:
    """A file that is made in one piece."""
    return File(path, [Part(rows, data)])


Done = Mapping[str, Written]
