"""Readers of the same rows compared, in tokens a second of one core.

Each reader delivers one epoch as batches of 32 rows in one array, the way its own documentation reads local files,
in a process of its own. What is counted is processor time of the whole process from opening the files on (threads
included, imports not), so that a busy machine does not favour anyone. Readers alternate, and each ratio is of one
round. The packages are those of `make conformance`, in their environments; ncagen checks every shard's hash meanwhile.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".conformance"
BATCH, ROUNDS = 32, 3


def ncagen(folder: str, shuffle: bool):
    """The project's own stream."""
    from ncagen import Stream, open

    return lambda: (batch["input_ids"] for batch in Stream(open(folder), BATCH, shuffle=shuffle, seed=1))


def datasets(folder: str, shuffle: bool):
    """Hugging Face's streaming, which shuffles in a buffer; ours holds as many rows."""
    from datasets import load_dataset

    def batches():
        rows = load_dataset(folder, split="train", streaming=True).select_columns(["input_ids"]).with_format("numpy")
        rows = rows.shuffle(seed=1, buffer_size=4096) if shuffle else rows
        return (batch["input_ids"] for batch in rows.iter(BATCH))

    return batches


def litdata(folder: str, shuffle: bool):
    """Lightning's StreamingDataset with its loader for tokens."""
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader

    def batches():
        rows = StreamingDataset(f"{folder}/train", item_loader=TokensLoader(block_size=1026), shuffle=shuffle, seed=1)
        return iter(StreamingDataLoader(rows, batch_size=BATCH))

    return batches


def mosaicml(folder: str, shuffle: bool):
    """MosaicML's StreamingDataset."""
    import torch

    operators = torch.library.Library("torchvision", "DEF")  # its import of torchvision fails beside a CPU build
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    def batches():
        rows = StreamingDataset(local=folder, split="train", shuffle=shuffle, batch_size=BATCH, num_canonical_nodes=1)
        return (batch["input_ids"] for batch in DataLoader(rows, batch_size=BATCH))

    return batches


# name, function, environment, folder
READERS = [
    ("ncagen, Arrow", ncagen, None, "arrow"),
    ("ncagen, Parquet", ncagen, None, "parquet"),
    ("datasets, Arrow", datasets, "loaders", "arrow"),
    ("datasets, Parquet", datasets, "loaders", "parquet"),
    ("litdata", litdata, "loaders", "litdata"),
    ("mosaicml-streaming", mosaicml, "mosaic", "mds"),
]


def measure(reader: int, folder: str, shuffle: bool) -> dict:
    """Runs one epoch in this process: tokens, seconds of processor time, peak memory beyond that of the imports."""
    open_epoch = READERS[reader][1](folder, shuffle)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, tokens = time.process_time(), 0
    for batch in open_epoch():
        tokens += batch.shape[0] * batch.shape[1]
    seconds = time.process_time() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"tokens": tokens, "seconds": seconds, "megabytes": grown / 1000}


def run(reader: int, data: Path, shuffle: bool) -> dict:
    """`measure` in a process of its own."""
    _, _, environment, folder = READERS[reader]
    python = ENVIRONMENTS / environment / "bin/python" if environment else sys.executable
    command = [str(python), __file__, str(reader), str(data / folder), str(int(shuffle))]
    clean = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(data / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=clean)
    if done.returncode:
        sys.exit(f"{READERS[reader][0]} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def prepare(data: Path, tokens: str) -> None:
    """The same rows in every format."""
    command = [sys.executable, "-m", "ncagen"]
    for file_format in ("parquet", "arrow"):
        order = ["--tokens", tokens, "--validation", "0", "--band", "high", "--format", file_format]
        subprocess.run([*command, "build", *order, "--out", data / file_format, "--quiet"], check=True, cwd=ROOT)
    for to in ("litdata", "mds"):
        out = ["--to", to, "--out", data / to, "--quiet"]
        subprocess.run([*command, "export", data / "parquet", *out], check=True, cwd=ROOT)


def main(tokens: str) -> None:
    """Prints a table for the stored order and one for a shuffled one."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), tokens)
        for shuffle in (False, True):
            print(f"\n{'shuffled' if shuffle else 'as stored'}: M tokens a second of one core, {ROUNDS} rounds")
            rounds = [[run(r, Path(folder), shuffle) for r in range(len(READERS))] for _ in range(ROUNDS)]
            speeds = [[result["tokens"] / result["seconds"] / 1e6 for result in results] for results in rounds]
            for r, (name, *_) in enumerate(READERS):
                some = [speed[r] for speed in speeds]
                memory = max(results[r]["megabytes"] for results in rounds)
                print(f"{name:20} {median(some):8.1f}   ({min(some):.1f} to {max(some):.1f}), {memory:5.0f} MB more")
            best = [max(speed[2:]) for speed in speeds]
            for r in (0, 1):
                ratios = [speed[r] / other for speed, other in zip(speeds, best, strict=True)]
                print(f"{READERS[r][0]} by the best of the others: {median(ratios):.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "1")))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("tokens", nargs="?", default="40M", help="of the rows that are read  [40M]")
        main(parser.parse_args().tokens)
