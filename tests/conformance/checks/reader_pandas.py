"""pandas with its pyarrow engine."""

import pandas
from reader_common import COLUMNS, check, paths, stacked


def read(pattern: str) -> dict:
    frame = pandas.read_parquet(paths(pattern), engine="pyarrow")
    return {name: frame[name].to_numpy() for name in COLUMNS[1:]} | {"input_ids": stacked(frame["input_ids"])}


check("pandas", "pandas.read_parquet", read)
