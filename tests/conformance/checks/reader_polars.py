"""Polars: eager, lazy and streaming."""

import numpy as np
import polars
from reader_common import COLUMNS, check


def read(pattern: str) -> dict:
    whole = polars.read_parquet(pattern)
    for engine in ("in-memory", "streaming"):
        assert polars.scan_parquet(pattern).collect(engine=engine).equals(whole)
    few = polars.scan_parquet(pattern).slice(100, 7).collect()
    assert np.array_equal(few["input_ids"].to_numpy(), whole["input_ids"].to_numpy()[100:107])
    return {name: whole[name].to_numpy() for name in COLUMNS}


check("polars", "read_parquet; scan_parquet, in memory and streaming, whole and sliced", read)
