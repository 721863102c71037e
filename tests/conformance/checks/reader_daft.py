"""Daft."""

import daft
from reader_common import COLUMNS, check, stacked


def read(pattern: str) -> dict:
    table = daft.read_parquet(pattern).sort("candidate").to_arrow().combine_chunks()
    found = {name: table[name].to_numpy() for name in COLUMNS[1:]}
    return found | {"input_ids": stacked(table["input_ids"].to_numpy())}


check("daft", "daft.read_parquet", read)
