#!/usr/bin/env bash
# "ratio > 0.6" over the same Parquet file selects different rows in different engines if the column is float32: the
# float32 next to 0.6 is a little more than 0.6. NumPy, pandas 3.0.5, Polars 2.1.0 and DuckDB 2.0.1 round the literal to
# float32 and leave the row out; pyarrow 26.0.1, DataFusion 55.0.0, chdb 4.4.0 (ClickHouse) and datasets 5.2.0 compare
# in double precision and keep it. Exits 0 if this is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pyarrow==26.0.1 pandas==3.0.5 polars==2.1.0 duckdb==2.0.1 \
    datafusion==55.0.0 chdb==4.4.0 datasets==5.2.0
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder/a.parquet" <<'PYTHON' 2>/dev/null
import sys

import chdb
import datasets
import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

path = sys.argv[1]
ratios = np.array([0.5, 0.6, 0.7], np.float32)
pq.write_table(pa.table({"ratio": ratios}), path)
context = SessionContext()
context.register_parquet("t", path)
query = "select count(*) as n from {} where ratio > 0.6"
rows = datasets.load_dataset("parquet", data_files=path, split="train")
counts = {
    "numpy": int((ratios > 0.6).sum()),
    "pandas": int((pandas.read_parquet(path)["ratio"] > 0.6).sum()),
    "polars": polars.scan_parquet(path).filter(polars.col("ratio") > 0.6).collect().height,
    "duckdb": duckdb.sql(query.format(f"'{path}'")).fetchall()[0][0],
    "pyarrow": pq.read_table(path, filters=[("ratio", ">", 0.6)]).num_rows,
    "datafusion": context.sql(query.format("t")).collect()[0].to_pydict()["n"][0],
    "chdb": int(chdb.query(query.format(f"file('{path}', Parquet)"), "CSV").bytes()),
    "datasets": rows.filter(lambda row: row["ratio"] > 0.6).num_rows,
}
for name, count in counts.items():
    print(f"{name}: {count} of 3 rows have ratio > 0.6")
sys.exit(list(counts.values()) != [1, 1, 1, 1, 2, 2, 2, 2])
PYTHON
