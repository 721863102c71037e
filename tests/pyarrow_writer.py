"""How pyarrow writes the table of a shard, which `dataset.parquet_writer` is compared with."""

from collections.abc import Iterable
from inspect import signature
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.row_format import ROW_GROUP_ROWS

PARQUET = {
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "write_page_checksum": True,
    "write_page_index": True,
    "row_group_size": ROW_GROUP_ROWS,
}
# An option that came after the oldest pyarrow which is supported.
if "max_rows_per_page" in signature(pq.write_table).parameters:
    PARQUET["max_rows_per_page"] = ROW_GROUP_ROWS


def parquet_options(columns: Iterable[str]) -> dict[str, Any]:
    """The options of `pyarrow.parquet.write_table` for a shard with these columns, input_ids among them."""
    plain = [name for name in columns if name != "input_ids"]
    encodings = {"input_ids.list.element": "BYTE_STREAM_SPLIT"} | dict.fromkeys(plain, "PLAIN")
    return PARQUET | {"column_encoding": encodings, "write_statistics": plain}


def table_of(columns: dict[str, np.ndarray], metadata: dict[bytes, bytes] | None = None) -> pa.Table:
    """A shard's columns as a table: [row], or [row, token] as lists of one length."""
    arrays = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        if values.ndim == 2
        else pa.array(values)
        for name, values in columns.items()
    }
    return pa.table(arrays).replace_schema_metadata(metadata)
