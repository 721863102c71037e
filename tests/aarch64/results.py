"""Prints what every processor must compute, a line each: kernels, scores, and the hashes of small datasets.

A kernel that differs from its definition, or a length from zlib's, ends it. What differs between processors goes to the
standard error. Run by run.sh, here and under emulation.
"""

import hashlib
import platform
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_identity import CASES, TRAIN, assert_identical, case
from test_score import KNOWN_ANSWERS, known_input

import ncagen
from ncagen.deflate import lengths
from ncagen.sources.nca import batch, vectors

CANDIDATES = 12  # of each case; the definition takes most of the time
COMMON = {"validation": 10 * 128, "seq_len": 128, "rows_per_shard": 20}
DATASETS = {
    "two bands": {"band": ["high", "medium"], "tokens": 49 * 1024, "validation": 10 * 1024, "seq_len": 1024},
    "control": {"band": ["high"], "control": "shuffle-time"},
    "new rule": {"band": ["high"], "control": "new-rule"},
    "facts": {"band": ["high"], "facts": "oracle,lambda,period,changed,states,entropy"},
    "33 states": {"band": ["0.1-0.6"], "states": 33, "patch": 1, "grid": 9},
    "life": {"source": "life", "band_normalised": ["0.3-1.1"]},
    "elementary": {"source": "elementary", "rule": "disjoint"},
    "dyck": {"source": "dyck", "k": 8, "max_depth": 6, "band": ["0.1-0.3"]},
    "procedural": {"source": "procedural", "task": "sort,addition", "symbols": 30, "input_length": 20},
}


def say(*what: object) -> None:
    print(*what, flush=True)


def kernels() -> None:
    """Compares the kernels with the definition, and prints the hash of the tokens and scores of each case."""
    for name in CASES:
        settings, count = case(name)
        assert_identical(settings, min(count, CANDIDATES), TRAIN)
        found = batch.run(settings, TRAIN, np.arange(CANDIDATES, dtype=np.uint64))
        digest = hashlib.sha256(found.token_rows(np.arange(CANDIDATES)).tobytes()).hexdigest()
        say("kernels", name, digest[:16], found.score.tolist())


def scores() -> None:
    """Compares lengths with known answers, and with zlib's where it is the common one."""
    for what, length in KNOWN_ANSWERS:
        assert lengths.gzip_length(known_input(*what)) == length, what
    same = sum(len(zlib.compress(known_input(*what), 9)) + 12 == length for what, length in KNOWN_ANSWERS)
    say("scores", len(KNOWN_ANSWERS))
    print(f"zlib gives {same} of these", file=sys.stderr)


def dataset(name: str, settings: dict, folder: Path) -> None:
    manifest = ncagen.build({"source": "nca", "tokens": 50 * 128, **COMMON, **settings}, folder, workers=1)
    say("dataset", name, manifest.rows, manifest.dataset_sha256)


def main() -> None:
    print(platform.machine(), *sorted(vectors.FEATURES), file=sys.stderr, flush=True)
    kernels()
    scores()
    with tempfile.TemporaryDirectory() as place:
        for name, settings in DATASETS.items():
            dataset(name, settings, Path(place, name))


if __name__ == "__main__":
    main()
