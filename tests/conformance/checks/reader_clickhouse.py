"""ClickHouse, in this process as chdb."""

import chdb
import numpy as np
import pyarrow as pa
from common import source
from reader_common import COLUMNS, check, pattern, stacked


def read(pattern: str) -> dict:
    table = chdb.query(f"select * from file('{pattern}', Parquet) order by candidate", "ArrowTable")
    table = pa.table(table).combine_chunks()
    found = {name: table[name].to_numpy() for name in COLUMNS[1:]}
    return found | {"input_ids": stacked(table["input_ids"].to_numpy())}


def check_functions() -> None:
    """Functions of arrays refuse the type that is inferred, whose elements may be null."""
    query = f"select arraySum(input_ids) from file('{pattern('train')}', Parquet) order by candidate"
    try:
        chdb.query(query, "ArrowTable")
    except RuntimeError as error:
        assert "Nullable" in str(error), error
    else:
        raise AssertionError("it summed the tokens without the setting")
    sums = pa.table(chdb.query(f"{query} settings {SETTING}", "ArrowTable")).column(0).to_numpy()
    assert np.array_equal(sums, source("train").sum(axis=1))


SETTING = "schema_inference_make_columns_nullable=0"
check_functions()
needed = f"for functions of arrays `{SETTING}`"
check("chdb", "select * from file('train-*.parquet', Parquet)", read, needed)
