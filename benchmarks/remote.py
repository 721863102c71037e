"""Readers of datasets in a bucket compared, by what one shuffled epoch fetches.

Counted: the same rows in each reader's format behind an S3 server on this machine that counts requests and bytes, read
once in full. A rank is a process with an empty cache of its own; figures are sums over all ranks. The time to the first
batch is taken with a store that answers each request after 50 ms.

Simulated: each reader's own order and partition, and what it keeps, for 2,385 shards of 4,096 rows (10B tokens). From
them also the shuffle's quality: how far apart two neighbours of a shard come in an epoch, and how many shards 1,024
consecutive rows are of.

The packages are those of `make conformance`, in their environments. Some minutes on two cores. Not compared: speed, see
readers.py.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "benchmarks" / "remote_parts"
ENVIRONMENTS = ROOT / ".conformance"
sys.path.insert(0, str(ROOT / "tests"))

# Ranks, and DataLoader workers of each.
COUNTED = [(1, 0), (2, 0), (4, 0), (8, 0), (3, 0), (5, 0), (1, 4)]
SIMULATED = [1, 2, 4, 8, 24, 3, 5, 16, 64, 128]
QUALITY = [1, 8, 64]  # those whose order is shown
SHARDS, SHARD_ROWS, NODE_RANKS = 2385, 4096, 8
ROW_MB = 1026 * 2 / 1e6
COUNTED_SHARD_ROWS = 1024
DELAY, ROUNDS = 0.05, 3
AT_A_TIME = 2


class Reader(NamedTuple):
    """environment: None for this one. folder: of its format, a bucket; files: a pattern of those that hold rows."""

    name: str
    environment: str | None
    folder: str
    files: str


READERS = {
    "ncagen": Reader("ncagen, Parquet", None, "parquet", "data/**/*.parquet"),
    "mosaicml": Reader("mosaicml-streaming", "mosaic", "mds", "train/*.mds"),
    "litdata": Reader("litdata", "loaders", "litdata", "train/*.bin"),
}

# Script in PARTS, its first argument, and the reader whose order it prints.
ORDERS = {
    "ncagen": ("ncagen_order.py", "ncagen"),
    "mosaicml-streaming": ("peer_orders.py", "mosaicml"),
    "the same, 24 canonical nodes": ("peer_orders.py", "mosaicml_24"),
    "litdata": ("peer_orders.py", "litdata"),
}


def python_of(reader: Reader) -> str:
    """The interpreter of a reader's environment. Exits if it was not made."""
    if reader.environment is None:
        return sys.executable
    python = ENVIRONMENTS / reader.environment / "bin/python"
    if not python.exists():
        sys.exit(f"{reader.name} is not installed: python tests/conformance/run.py --make {reader.environment}")
    return str(python)


def run(script: str, reader: str, arguments: list[str], **environment: str) -> list[dict]:
    """The lines of JSON that a script of remote_parts prints, run in a reader's environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    clean |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environment}
    command = [python_of(READERS[reader]), str(PARTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean)
    if done.returncode:
        sys.exit(f"{READERS[reader].name} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def prepare(data: Path, tokens: str) -> None:
    """The same rows in every format."""
    command = [sys.executable, "-m", "ncagen"]
    # Every candidate is a row, which is made soonest; and shards are small, so that there are many.
    order = ["--tokens", tokens, "--validation", "0", "--band", "0-2", "--rows-per-shard", str(COUNTED_SHARD_ROWS)]
    subprocess.run([*command, "build", *order, "--out", data / "parquet", "--quiet"], check=True, cwd=ROOT)
    for to in ("litdata", "mds"):
        out = ["--to", to, "--out", data / to, "--quiet"]
        subprocess.run([*command, "export", data / "parquet", *out], check=True, cwd=ROOT)


def read(reader: str, data: Path, worlds: list, delay: float = 0.0, first_only: bool = False) -> tuple[list, list]:
    """Runs epochs against a store of their own. Returns the store's requests, and what the ranks print."""
    from s3_folder import S3Folder

    scratch = data / f"scratch-{reader}"
    shutil.rmtree(scratch, ignore_errors=True)
    with S3Folder(data, delay) as store:
        url, keys = f"s3://{READERS[reader].folder}", {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        order = {"url": url, "endpoint": store.endpoint, "scratch": str(scratch), "worlds": worlds}
        arguments = [reader, json.dumps(order | {"first_only": first_only})]
        environment = {"AWS_ENDPOINT_URL": store.endpoint, "AWS_DEFAULT_REGION": "us-east-1", **keys}
        printed = run("epoch.py", reader, arguments, **environment)
        return store.take(), printed


def counted(reader: str, data: Path, expected: dict[int, int]) -> list[dict]:
    """For each world: requests, bytes over those of the files that hold rows, and rows left out or given again."""
    size = sum(path.stat().st_size for path in (data / READERS[reader].folder).glob(READERS[reader].files))
    requests, _ = read(reader, data, COUNTED)
    results: list[dict] = []
    for request in requests:
        if not request.key.startswith("-/"):
            results[-1]["requests"] += 1
            results[-1]["fetched"] += request.bytes / size
        elif request.key != "-/first":
            world, workers = map(int, request.key.removeprefix("-/").split("-"))
            rows = given(data / f"scratch-{reader}", world, workers, expected)
            results.append({"reader": reader, "world": world, "workers": workers, "requests": 0, "fetched": 0.0} | rows)
    return results


def given(scratch: Path, world: int, workers: int, expected: dict[int, int]) -> dict[str, int]:
    """How many rows no rank was given, and how many were given again, by their crc32."""
    import numpy as np

    files = [np.load(scratch / f"rows-{world}-{workers}-{rank}.npy") for rank in range(world)]
    numbers, times = np.unique(np.concatenate(files), return_counts=True)
    found = dict(zip(numbers.tolist(), times.tolist(), strict=True))
    missing = sum(max(0, count - found.get(row, 0)) for row, count in expected.items())
    return {"missing": missing, "repeated": sum(max(0, count - expected.get(row, 0)) for row, count in found.items())}


def row_sums(folder: Path) -> dict[int, int]:
    """The crc32 of each row of a dataset, and how many rows have it."""
    from collections import Counter

    from ncagen import Layout, Stream, open

    batches = Stream(open(folder), 256, shuffle=False, layout=Layout(labels=None))
    return Counter(zlib.crc32(row.astype("uint16")) for batch in batches for row in batch["input_ids"])


def first_batch(reader: str, data: Path) -> dict:
    """Seconds from opening to the first batch, and what was requested until then; medians of some rounds."""
    rounds = [read(reader, data, [(1, 0)], DELAY, first_only=True) for _ in range(ROUNDS)]
    before = []
    for requests, _ in rounds:
        end = next(request.seconds for request in requests if request.key == "-/first")
        before.append([r for r in requests if r.seconds < end and not r.key.startswith("-/")])
    return {
        "reader": reader,
        "seconds": median(printed[0]["first_seconds"] for _, printed in rounds),
        "requests": median(len(requests) for requests in before),
        "bytes": median(sum(request.bytes for request in requests) for requests in before),
    }


def simulated(name: str) -> list[dict]:
    """For each world, the figures of measure.py."""
    script, order = ORDERS[name]
    sizes = {
        "shards": SHARDS,
        "shard_rows": SHARD_ROWS,
        "worlds": SIMULATED,
        "node_ranks": NODE_RANKS,
        "quality": QUALITY,
    }
    reader = order.removesuffix("_24")
    return [{"reader": name, **line} for line in run(script, reader, [order, json.dumps(sizes)])]


def count_all(tokens: str) -> dict[str, Any]:
    """All that is counted."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        prepare(data, tokens)
        expected = row_sums(data / "parquet")
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            results = list(pool.map(lambda reader: counted(reader, data, expected), READERS))
        return {
            "rows": sum(expected.values()),
            "counted": [line for lines in results for line in lines],
            "first_batch": [first_batch(reader, data) for reader in READERS],
        }


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table in Markdown."""
    print(f"\n{title}\n")
    for cells in [["", *columns], ["---"] * (len(columns) + 1), *rows]:
        print(f"| {' | '.join(cells)} |")


def ranks_of(world: int, workers: int = 0) -> str:
    """A column's title."""
    return f"{world} rank{'s' * (world > 1)}" + (f", {workers} workers" if workers else "")


def print_counted(results: dict[str, Any]) -> None:
    """Three tables."""
    lines = {reader: [line for line in results["counted"] if line["reader"] == reader] for reader in READERS}
    for title, show in (
        ("bytes fetched over bytes of the dataset (requests)", "{fetched:.3f} ({requests})"),
        ("rows not given, rows given again", "{missing}, {repeated}"),
    ):
        rows = [[READERS[r].name, *(show.format(**line) for line in lines[r])] for r in READERS]
        table(
            f"Counted, {results['rows']:,} rows in shards of {COUNTED_SHARD_ROWS:,}: {title}",
            [ranks_of(*world) for world in COUNTED],
            rows,
        )
    first = [
        [READERS[line["reader"]].name, f"{line['seconds']:.2f}", f"{line['requests']:g}", f"{line['bytes'] / 1e6:.1f}"]
        for line in results["first_batch"]
    ]
    table(f"First batch, {1000 * DELAY:g} ms a request", ["seconds", "requests", "MB"], first)


def print_simulated(lines: list[dict]) -> None:
    """Six tables."""
    for title, worlds, show in (
        ("bytes fetched over bytes of the dataset", SIMULATED, "{fetched:.3f}"),
        (
            f"the same, where the {NODE_RANKS} ranks of a node share what they fetch",
            [world for world in SIMULATED if world % NODE_RANKS == 0],
            "{fetched_by_nodes:.3f}",
        ),
        ("MB that a rank keeps (row groups, or shards that are open)", SIMULATED, "{kept_mb:,.0f}"),
        (
            "rows between neighbours of a shard: median (1 % to 99 %)",
            QUALITY,
            "{apart_50:,.0f} ({apart_1:,.0f} to {apart_99:,.0f})",
        ),
        ("shards that 1,024 consecutive rows are of", QUALITY, "{shards_a_step:g}"),
        ("rows not given, rows given again", SIMULATED, "{missing}, {repeated}"),
    ):
        rows = [[name, *(shown(lines, name, world, show) for world in worlds)] for name in ORDERS]
        full = f"Simulated, {SHARDS:,} shards of {SHARD_ROWS:,} rows: {title}"
        table(full, [ranks_of(world) for world in worlds], rows)


def shown(lines: list[dict], name: str, world: int, show: str) -> str:
    """A cell."""
    line = next(line for line in lines if (line["reader"], line["world"]) == (name, world))
    return "refused" if "refused" in line else show.format(**line, kept_mb=line["kept"] * ROW_MB)


def main() -> None:
    """Prints tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", nargs="?", default="120M", help="of the rows that are read  [120M]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--only", choices=["counted", "simulated"], help="one of the two parts")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    if arguments.only != "simulated":
        results |= count_all(arguments.tokens)
    if arguments.only != "counted":
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            results["simulated"] = [line for lines in pool.map(simulated, ORDERS) for line in lines]
    if arguments.json:
        return print(json.dumps(results, indent=1))
    if "counted" in results:
        print_counted(results)
    if "simulated" in results:
        print_simulated(results["simulated"])


if __name__ == "__main__":
    main()
