#!/usr/bin/env bash
# DuckDB 1.5.6 and fastparquet 2026.9.0 refuse integers in BYTE_STREAM_SPLIT ("only supported for FLOAT or DOUBLE",
# "Encoding 9"), which the format allows since version 2.11; DuckDB 2.0.1 reads them. Both read the same values in
# DELTA_BINARY_PACKED. Exits 0 if this is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 1.5.6 2.0.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet duckdb==$version fastparquet==2026.9.0 pandas==3.0.5 pyarrow==26.0.1 numpy==2.4.6
done
cat > "$folder/try.py" <<'PYTHON'
import json
import sys

import duckdb
import fastparquet
import pandas
import pyarrow as pa
import pyarrow.parquet as pq

folder, found = sys.argv[1], {}


def attempt(read) -> str:
    try:
        return "read" if list(read()) == [1, 2, 70000] else "other values"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


for encoding in ("BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"):
    path = f"{folder}/{encoding}.parquet"
    table = pa.table({"a": pa.array([1, 2, 70000], pa.int32())})
    pq.write_table(table, path, use_dictionary=False, column_encoding={"a": encoding})
    engines = {
        f"duckdb {duckdb.__version__}": lambda: duckdb.sql(f"select a from '{path}'").fetchnumpy()["a"],
        f"fastparquet {fastparquet.__version__}": lambda: pandas.read_parquet(path, engine="fastparquet")["a"],
    }
    for name, read in engines.items():
        found[f"{name} {encoding}"] = attempt(read)
        print(f"{name}, int32 in {encoding}: {found[f'{name} {encoding}']}")
refused = {name for name, text in found.items() if text != "read"}
wanted = {f"fastparquet {fastparquet.__version__} BYTE_STREAM_SPLIT"}
wanted |= {"duckdb 1.5.6 BYTE_STREAM_SPLIT"} if duckdb.__version__ == "1.5.6" else set()
sys.exit(refused != wanted)
PYTHON
for version in 1.5.6 2.0.1; do "$folder/$version/bin/python" "$folder/try.py" "$folder"; done
