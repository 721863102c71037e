"""DuckDB from 2.0 on."""

import duckdb
from reader_common import COLUMNS, check, stacked


def read(pattern: str) -> dict:
    found = duckdb.sql(f"select * from '{pattern}' order by candidate").fetchnumpy()
    return {name: found[name] for name in COLUMNS[1:]} | {"input_ids": stacked(found["input_ids"])}


check("duckdb", "select * from 'train-*.parquet'", read)
