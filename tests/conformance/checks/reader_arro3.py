"""arro3, the Rust readers of Arrow for Python."""

import numpy as np
import pyarrow as pa
from arro3.io import read_parquet
from reader_common import COLUMNS, check, paths, stacked


def read(pattern: str) -> dict:
    tables = [pa.table(read_parquet(path).read_all()) for path in paths(pattern)]
    found = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in COLUMNS[1:]}
    return found | {"input_ids": np.concatenate([stacked(table["input_ids"].to_numpy()) for table in tables])}


check("arro3-io", "arro3.io.read_parquet", read)
