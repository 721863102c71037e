"""fastparquet, which decodes byte-stream split of floating-point numbers alone."""

import pandas
from reader_common import check_refusal, paths, report_refusal, stacked


def read(pattern: str) -> dict:
    frame = pandas.read_parquet(paths(pattern), engine="fastparquet")
    return {"input_ids": stacked(frame["input_ids"])}


check_refusal(read, "Encoding 9")
report_refusal("fastparquet", "pandas.read_parquet", '`engine="pyarrow"`')
