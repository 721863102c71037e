"""Hashes and index of a manifest by docs/format.md, from the values of its JSON: NumPy, and nothing of ncagen."""

import hashlib
import json
from itertools import groupby

import numpy as np

RECORD = np.dtype([("tried", "<u8"), ("below", "<u8"), ("above", "<u8"), ("content_sha256", "V32")])
FILE = np.dtype([("bytes", "<u8"), ("footer_bytes", "<u8"), ("sha256", "V32"), ("footer_sha256", "V32")])


def packed(dtype: np.dtype, values: list[dict]) -> bytes:
    """Values as records of a dtype; what a value lacks is zero."""
    table = np.zeros(len(values), dtype)
    for row, value in zip(table, values, strict=True):
        for name in dtype.names:
            if name in value:
                row[name] = bytes.fromhex(value[name]) if name.endswith("sha256") else value[name]
    return table.tobytes()


def leaves(dataset: dict) -> list[slice]:
    """The shards of each leaf."""
    found, first = [], 0
    for _, some in groupby(dataset["shards"], key=lambda shard: (shard["split"], shard["band"])):
        count = len(list(some))
        found += [slice(first + at, first + min(at + 512, count)) for at in range(0, count, 512)]
        first += count
    return found


def hashes(dtype: np.dtype, values: list[dict], dataset: dict) -> list[str]:
    """The sha256 of each leaf."""
    return [hashlib.sha256(packed(dtype, values[leaf])).hexdigest() for leaf in leaves(dataset)]


def identity(dataset: dict) -> str:
    """dataset_sha256 of a manifest that lists its shards."""
    hashed = dataset | {"shards": hashes(RECORD, dataset["shards"], dataset)}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def indexed(value: dict) -> tuple[dict, bytes]:
    """A manifest that lists its shards as one with an index, and its index.bin."""
    dataset, files = value["dataset"], list(value["storage"]["files"].values())
    index = b"ncagen index v1\n" + bytes.fromhex(dataset["spec_sha256"])
    for leaf in leaves(dataset):
        index += packed(RECORD, dataset["shards"][leaf]) + packed(FILE, files[leaf])
    described = {"bytes": len(index), "sha256": hashlib.sha256(index).hexdigest()}
    storage = value["storage"] | {"files": hashes(FILE, files, dataset), "index": described}
    dataset = dataset | {"shards": hashes(RECORD, dataset["shards"], dataset)}
    return value | {"dataset": dataset, "storage": storage}, index
