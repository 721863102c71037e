"""Spark in this process; it needs a Java runtime, 17 or newer."""

import numpy as np
from common import source
from pyspark.sql import SparkSession
from reader_common import COLUMNS, check, check_refusal, stacked


def read(pattern: str) -> dict:
    rows = session.read.parquet(pattern).orderBy("candidate").collect()
    assert min(min(row["input_ids"]) for row in rows) >= 0
    types = {"candidate": np.uint64, "gzip_bytes": np.int32, "gzip_ratio": np.float32}
    found = {name: np.array([row[name] for row in rows], types[name]) for name in COLUMNS[1:]}
    return found | {"input_ids": stacked([row["input_ids"] for row in rows]).astype(np.uint32)}


session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
session.sparkContext.setLogLevel("OFF")
if source("train").dtype == np.uint16:
    check("pyspark", "spark.read.parquet", read)
else:
    check_refusal(read, "readUnsignedIntegers")
    setting = "spark.sql.parquet.enableNestedColumnVectorizedReader"
    session.conf.set(setting, "false")
    check("pyspark", "spark.read.parquet", read, f"`{setting}=false`")
