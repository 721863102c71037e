"""DataFusion, Arrow's query engine in Rust."""

import pyarrow as pa
from datafusion import SessionContext
from reader_common import COLUMNS, check, stacked


def read(pattern: str) -> dict:
    context = SessionContext()
    folder, _, name = pattern.rpartition("/")
    split = name.split("-")[0]
    context.register_parquet("rows", f"{folder}/{split}-*.parquet")
    batches = context.sql("select * from rows order by candidate").collect()
    table = pa.Table.from_batches(batches).combine_chunks()
    found = {name: table[name].to_numpy() for name in COLUMNS[1:]}
    return found | {"input_ids": stacked(table["input_ids"].to_numpy())}


check("datafusion", "register_parquet, select *", read)
