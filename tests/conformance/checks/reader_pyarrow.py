"""pyarrow.dataset over the files of a split."""

import pyarrow.dataset as ds
from reader_common import COLUMNS, check, paths


def read(pattern: str) -> dict:
    table = ds.dataset(paths(pattern)).to_table().combine_chunks()
    ids = table["input_ids"].chunk(0)
    tokens = ids.flatten().to_numpy().reshape(len(ids), ids.type.list_size)
    return {name: table[name].to_numpy() for name in COLUMNS[1:]} | {"input_ids": tokens}


check("pyarrow", "pyarrow.dataset", read)
