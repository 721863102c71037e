"""DuckDB 1.5, which decodes byte-stream split of floating-point numbers alone; it reads the other columns."""

import duckdb
from common import same
from reader_common import COLUMNS, check_refusal, report_refusal


def read(pattern: str) -> dict:
    others = duckdb.sql(f"select candidate, gzip_bytes, gzip_ratio from '{pattern}' order by candidate").fetchnumpy()
    for name in COLUMNS[1:]:
        same(others[name], pattern.rpartition("/")[2].split("-")[0], name)
    return duckdb.sql(f"select input_ids from '{pattern}'").fetchnumpy()


check_refusal(read, "BYTE_STREAM_SPLIT")
report_refusal("duckdb", "select * from 'train-*.parquet'", "DuckDB 2.0; the other columns are read")
