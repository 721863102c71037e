"""Keeps ladders in a small JSON file beside a dataset, under the dataset's hash.

A file of another dataset, of other definitions or with damage is ignored and written again. A folder that cannot be
written is no error: the ladder is then computed each time.
"""

import json
from contextlib import suppress

import pyarrow as pa

from ncagen.dataset.card import LADDER
from ncagen.dataset.folder import Folder
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.evaluate.ladder import Ladder

VERSION = 1  # rises with any change of a rung's definition
MOST_BYTES = 2**24


def ladders(folder: Folder, dataset_sha256: str) -> list[Ladder]:
    """Every ladder that is kept beside this dataset; none if there is no such file."""
    try:
        values = json.loads(folder.read(LADDER, MOST_BYTES).to_pybytes())
        if (values["version"], values["dataset_sha256"]) != (VERSION, dataset_sha256):
            return []
        return [Ladder.from_dict(ladder) for ladder in values["ladders"]]
    except (OSError, NcagenError, ValueError, TypeError, KeyError):
        return []


def largest(folder: Folder, dataset_sha256: str) -> list[Ladder]:
    """The ladder of the most rows of each band and split that is kept."""
    found: dict[tuple[str, str], Ladder] = {}
    for ladder in sorted(ladders(folder, dataset_sha256), key=lambda ladder: ladder.rows):
        if ladder.rungs:
            found[ladder.band, ladder.split] = ladder
    return list(found.values())


def read(dataset: Dataset, wanted: Ladder) -> Ladder:
    """The kept ladder of the same sample, or `wanted`, which has no rungs."""
    kept = ladders(dataset.folder, wanted.dataset_sha256)
    return next((ladder for ladder in kept if _sample(ladder) == _sample(wanted)), wanted)


def write(dataset: Dataset, ladder: Ladder) -> None:
    """Puts a ladder in the place of the one of the same sample, if the folder can be written."""
    others = [kept for kept in ladders(dataset.folder, ladder.dataset_sha256) if _sample(kept) != _sample(ladder)]
    listed = sorted([*others, ladder], key=_sample)
    values = {
        "version": VERSION,
        "dataset_sha256": ladder.dataset_sha256,
        "ladders": [each.to_dict() for each in listed],
    }
    with suppress(OSError, NcagenError):
        dataset.folder.write(LADDER, pa.py_buffer(json.dumps(values).encode()))


def _sample(ladder: Ladder) -> tuple:
    return ladder.band, ladder.split, ladder.rows, ladder.seed
