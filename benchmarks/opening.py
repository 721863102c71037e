"""Opening a dataset by its number of files: processor seconds and memory to the first batch.

The manifest is of made-up records, and of real ones for the shards that a first batch needs: the first in stored order
and the first in shuffled order. Each measurement is a process of its own; imports are not counted. `listed` is the same
manifest without an index, every file listed in manifest.json, up to 400,000 files.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ncagen import NcagenError, Stream, open
from ncagen.dataset import manifest as manifests
from ncagen.dataset.index import INDEX, shard_keys
from ncagen.dataset.manifest import MANIFEST, Manifest
from ncagen.dataset.shard import File, Record, content_sha256, relative_path, to_bytes
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources import source_of
from ncagen.spec import BuildSpec

BATCH = 32
CHILD = """
import sys, time
from pathlib import Path
import ncagen

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

before, begun = peak(), time.process_time()
rows = ncagen.open(sys.argv[1])
opened = time.process_time()
next(iter(ncagen.Stream(rows, 32, shuffle=sys.argv[2] == "shuffled", seed=1)))
print(opened - begun, time.process_time() - begun, peak() - before)
"""


def main() -> None:
    """Prints a table, a line for each number of files and order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=int, default=[100, 1000, 10_000, 238_420], help="how many")
    parser.add_argument("--listed", action="store_true", help="measure manifests without an index too")
    wanted = parser.parse_args()
    print("files    form    order     manifest MB  index MB  open CPU s  first batch CPU s  memory MB")
    for files in wanted.files:
        for form in ("indexed", "listed") if wanted.listed else ("indexed",):
            with tempfile.TemporaryDirectory(prefix="ncagen-opening-") as folder:
                measure(Path(folder), files, form)


def measure(folder: Path, files: int, form: str) -> None:
    """Writes a dataset of so many files and measures both orders."""
    manifests.LISTED_FILES = 0 if form == "indexed" else sys.maxsize
    manifests.MOST_BYTES = sys.maxsize
    spec = from_settings({"tokens": (files - 1) * 4096 * 1024, "validation": 1, "band": "high"})
    write(folder, spec, {0, first_shuffled(folder, spec)})
    sizes = [(folder / name).stat().st_size / 1e6 if (folder / name).exists() else 0 for name in (MANIFEST, INDEX)]
    for order in ("stored", "shuffled"):
        child = CHILD if form == "indexed" else CHILD.replace("import ncagen", f"import ncagen{UNLIMITED}")
        done = subprocess.run([sys.executable, "-c", child, folder, order], capture_output=True, text=True, check=True)
        opened, first, memory = map(float, done.stdout.split())
        figures = f"{sizes[0]:11.2f} {sizes[1]:9.2f} {opened:11.3f} {first:18.3f} {memory:10.1f}"
        print(f"{files:<8} {form:7} {order:9} {figures}", flush=True)


UNLIMITED = "\nimport ncagen.dataset.manifest as manifests; manifests.MOST_BYTES = sys.maxsize"


def first_shuffled(folder: Path, spec: BuildSpec) -> int:
    """The shard that a shuffled first batch needs: the one that it finds missing."""
    write(folder, spec, ())
    try:
        next(iter(Stream(open(folder), BATCH, seed=1)))
    except NcagenError as error:
        return int(re.search(r"train-(\d+)-of", str(error))[1])
    raise SystemExit("a dataset without a shard has been read")


def write(folder: Path, spec: BuildSpec, real: Collection[int]) -> None:
    """Writes a manifest, its index and the real shards of the training split."""
    records, files = [], {}
    for number, key in enumerate(shard_keys(spec)):
        path = relative_path(spec, "parquet", *key)
        if key.split == "train" and key.shard in real:
            record, files[path] = write_shard(folder / path, spec, key.shard)
        else:
            made_up = hashlib.sha256(str(number).encode()).hexdigest()
            count = spec.shard_rows(key.split, key.shard)
            record = Record(spec.sha256, *key, count, 2 * count, count, 0, made_up)
            files[path] = File(7_000_000, made_up, 13_000, made_up)
        records.append(record)
    source = source_of(spec)
    manifest = Manifest(spec, source.row_format, source.measures, records, "parquet", manifests.toolchain(), files)
    for name, document in manifest.documents().items():
        (folder / name).write_bytes(document)


def write_shard(path: Path, spec: BuildSpec, number: int) -> tuple[Record, File]:
    """Writes one shard of random rows."""
    rows = random_rows(spec, spec.shard_rows("train", number))
    record = Record(spec.sha256, "train", "high", number, len(rows), len(rows), 0, 0, content_sha256(rows))
    data = to_bytes(rows, record, "parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return record, File.of(data, "parquet")


def random_rows(spec: BuildSpec, count: int) -> Rows:
    """Rows that no source made; a reader cannot tell."""
    source, draw = source_of(spec), np.random.default_rng(0)
    rows = source.row_format.empty(count)
    for name, column in rows.columns.items():
        column[:] = draw.integers(0, source.row_format.vocabulary if name == "input_ids" else 1000, column.shape)
    return rows


if __name__ == "__main__":
    main()
