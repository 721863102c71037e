"""The readers of Parquet that the checks try on a dataset's own files, and their table in docs/conformance.md.

A reader is checks/reader_<name>.py, run in its environment over a dataset of 16-bit tokens and one of 32-bit tokens. It
asserts that every value of every column is right, or that the reader refuses the tokens with the error that it is known
for; so a reader that learns them fails its check, and the table is made anew.
"""

from itertools import groupby

# reader: environment
READERS = {
    "pyarrow": "readers",
    "pandas": "readers",
    "polars": "readers",
    "duckdb": "readers",
    "duckdb1": "readers2",
    "datafusion": "readers",
    "arro3": "readers",
    "daft": "readers2",
    "ray": "readers",
    "clickhouse": "readers",
    "spark": "spark",
    "fastparquet": "readers",
}

HEAD = """
## Readers of the Parquet files

Every column of every row, read by the packages themselves from the files as they are and compared value by value. Name
the files of one split, as in `data/high/train-*.parquet`: beside them are those of validation. Thresholds are exact on
`gzip_bytes` alone: `gzip_ratio > 0.6` keeps a row of 864 bytes of 1,440 in pyarrow, DataFusion, ClickHouse, Daft, Spark
and `datasets`, and not in NumPy, pandas, Polars and DuckDB.

| reader | version | read with | uint16 tokens | uint32 tokens | what is needed |
|---|---|---|---|---|---|
""".splitlines()


def readers_table(checks: list, results: list[dict | str]) -> list[str]:
    """The lines of the table; none where no reader was tried."""
    tried = [(c.script, r) for c, r in zip(checks, results, strict=True) if c.script.startswith("reader_")]
    rows = [_row(script, [result for _, result in some]) for script, some in groupby(tried, key=lambda pair: pair[0])]
    return [*HEAD, *rows] if rows else []


def _row(script: str, results: list[dict | str]) -> str:
    """results: of 16-bit and of 32-bit tokens."""
    failed = [result for result in results if isinstance(result, str)]
    if failed:
        return f"| {script.removeprefix('reader_')} | | **failed**: {failed[0]} | | | |"
    tokens = ["yes" if result["tokens"] else "refused" for result in results]
    needed = list(dict.fromkeys(result["needed"] for result in results if result["needed"]))
    if len(needed) == 1 and not results[0]["needed"]:
        needed = [f"for uint32 {needed[0]}"]
    first = results[0]
    facts = [first["package"], first["version"], first["loaded"], *tokens, "; ".join(needed) or "nothing"]
    return f"| {' | '.join(facts)} |"
