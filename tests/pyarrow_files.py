"""Shards as pyarrow writes them: what `parquet_writer` is compared with, and other layouts that readers must take."""

from collections.abc import Iterable
from inspect import signature
from typing import Any

import pyarrow.parquet as pq

from ncagen.row_format import ROW_GROUP_ROWS

# The first six are pyarrow's defaults of today, named so that another default changes nothing.
PYARROW: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "write_batch_size": 1024,
    "use_compliant_nested_type": True,
    "store_schema": True,
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
    "write_page_checksum": True,
    "write_page_index": True,
    "row_group_size": ROW_GROUP_ROWS,
}
# Options that came after the oldest pyarrow which is supported.
_NEWER = {"use_content_defined_chunking": False, "max_rows_per_page": ROW_GROUP_ROWS}
PYARROW |= {name: value for name, value in _NEWER.items() if name in signature(pq.write_table).parameters}


def pyarrow_options(columns: Iterable[str]) -> dict[str, Any]:
    """Options of `pyarrow.parquet.write_table` that give the layout of a shard with these columns."""
    plain = [name for name in columns if name != "input_ids"]
    encodings = {"input_ids.list.element": "BYTE_STREAM_SPLIT"} | dict.fromkeys(plain, "PLAIN")
    return PYARROW | {"column_encoding": encodings, "write_statistics": plain}
