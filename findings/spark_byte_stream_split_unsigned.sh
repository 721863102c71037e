#!/usr/bin/env bash
# Spark 4.3.0 reads BYTE_STREAM_SPLIT columns of int32, int64 and uint16, and refuses the same values as uint32 or uint64:
# its vectorized reader of that encoding has no readUnsignedIntegers and no readUnsignedLongs. In a list,
# spark.sql.parquet.enableNestedColumnVectorizedReader=false reads them (with the row-based reader). Parquet allows the
# encoding for every INT32 and INT64 since format version 2.11.
# Needs Java 17. Exits 0 if this is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyspark==4.3.0 pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import sys
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import SparkSession

folder, seen = sys.argv[1], {}
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("OFF")


def outcome(path: str) -> str:
    try:
        return str([tuple(row) for row in spark.read.parquet(path).collect()])
    except Exception as error:
        names = ("readUnsignedIntegers", "readUnsignedLongs")
        return next((f"refused: {name}" for name in names if name in str(error)), f"other error: {error}")


print("pyspark", pyspark.__version__)
for kind in ("int32", "int64", "uint16", "uint32", "uint64"):
    path = f"{folder}/{kind}.parquet"
    options = {"use_dictionary": False, "column_encoding": {"a.list.element": "BYTE_STREAM_SPLIT"}}
    pq.write_table(pa.table({"a": pa.array([[1, 2], [3, 60000]], pa.list_(getattr(pa, kind)()))}), path, **options)
    for vectorized in ("true", "false"):
        spark.conf.set("spark.sql.parquet.enableNestedColumnVectorizedReader", vectorized)
        seen[kind, vectorized] = outcome(path)
        print(f"list of {kind}, nested vectorized reader {vectorized}: {seen[kind, vectorized]}")
refused = {key for key, text in seen.items() if text.startswith("refused")}
sys.exit(refused != {("uint32", "true"), ("uint64", "true")})
PYTHON
