"""Tokens a second of sources beside pptrain's own generators: python benchmarks/generators.py [--rounds N] [--json]

Both run in this process, on one core, in turn, with settings that mean the same. A round makes the tokens of rows of
ncagen alone, then rows as a build does, with their gzip score and columns but without files, and the datasets of
pptrain as its trainer does, which scores nothing. A ratio is the median of each round's own, in seconds of processor
time, so that a busy machine slows both. The first calls are not measured: they compile kernels. Needs `pip install
pptrain==0.3.0`; `CASES` has a line for each pair.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from ncagen.philox import STREAMS
from ncagen.sources import SOURCES

ROWS = 2048  # of ncagen in a round
PEER_ROWS = 200  # of pptrain in a round: as much time as it takes
PEER_VERSION = "0.3.0"
KEY = 0, STREAMS["train"]


@dataclass(frozen=True)
class Case:
    """What is made, by both. options: of the source. config: of the peer's task of the name `task`."""

    name: str
    source: str
    seq_len: int
    task: str
    options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


# The defaults of the peer's procedural tasks: 4 to 24 of 26 letters, numbers below 10,000. Its tokens are characters.
_LETTERS = {"symbols": 26, "input_length": 24, "min_input_length": 4}

# The peer's task dyck draws a number of pairs, opens with 1 - close_probability, and adds a token at each end.
CASES = (
    Case(
        "dyck, 64 types, depth 16, 1,024 tokens",
        source="dyck",
        seq_len=1024,
        task="dyck",
        config={"num_bracket_types": 64, "min_pairs": 512, "max_pairs": 512, "max_depth": 16}
        | {"close_probability": 0.5, "max_length": 1025},
    ),
    Case(
        "dyck, the preset paper_k64",
        source="dyck",
        seq_len=2048,
        task="dyck",
        options={"max_depth": 256, "open_probability": "0.55", "min_length": 256, "length": 1536},
        config={"preset": "paper_k64"},
    ),
    Case(
        "dyck, the preset paper_k8",
        source="dyck",
        seq_len=2048,
        task="dyck",
        options={"k": 8, "max_depth": 32, "open_probability": "0.55", "min_length": 32, "length": 256},
        config={"preset": "paper_k8"},
    ),
    Case(
        "procedural, copy, reverse, sort, addition",
        source="procedural",
        seq_len=1024,
        task="procedural",
        options=_LETTERS | {"task": "copy,reverse,sort,addition", "digits": 4, "min_digits": 1},
    ),
    Case(
        "procedural, union, rows of 4,096",
        source="procedural",
        seq_len=4096,
        task="procedural",
        options=_LETTERS | {"task": "union"},
        config={"tasks": ["union"]},
    ),
)


@dataclass(frozen=True)
class Result:
    """Medians over the rounds: millions of tokens a second of one core, and the ratios to the peer.

    alone: of ncagen's tokens alone. scored: of its rows with score and columns.
    """

    case: str
    alone: float
    scored: float
    pptrain: float
    alone_ratio: float
    scored_ratio: float


def main() -> int:
    """Prints the table, or JSON."""
    parser = argparse.ArgumentParser(description="Compare the speed of ncagen's sources and pptrain's generators.")
    parser.add_argument("--rounds", type=int, default=5, help="of both in turn (default: 5)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    asked = parser.parse_args()
    results = [measure(case, asked.rounds) for case in CASES]
    if asked.as_json:
        print(json.dumps({"peer": f"pptrain {PEER_VERSION}", "results": [asdict(result) for result in results]}))
        return 0
    print(f"{'million tokens a second of one core':<42}  alone  scored  pptrain {PEER_VERSION}  ratios")
    for r in results:
        speeds = f"{r.alone:5.0f}  {r.scored:6.1f}  {r.pptrain:13.2f}"
        print(f"{r.case:<42}  {speeds}  {r.alone_ratio:.0f}, {r.scored_ratio:.0f}")
    return 0


def measure(case: Case, rounds: int) -> Result:
    """Runs both in turn, after a call of each that is not measured."""
    makers = _ours(case, scored=False), _ours(case, scored=True), _theirs(case)
    for make in makers:
        make()
    speeds = [tuple(map(_speed, makers)) for _ in range(rounds)]
    alone, scored, peer = (median(speed) / 1e6 for speed in zip(*speeds, strict=True))
    ratios = (median(speed[at] / speed[2] for speed in speeds) for at in (0, 1))
    return Result(case.name, alone, scored, peer, *ratios)


def _speed(generate: Callable[[], int]) -> float:
    """Tokens a second of processor time."""
    begun = time.process_time()
    return generate() / (time.process_time() - begun)


def _ours(case: Case, scored: bool) -> Callable[[], int]:
    """Makes ROWS rows, with score and columns or as tokens alone, and returns how many tokens they have."""
    source = SOURCES[case.source].from_options(case.options, case.seq_len)
    size = source.batch_candidates()

    def generate() -> int:
        tokens = 0
        for first in range(0, ROWS, size):
            candidates = np.arange(first, min(first + size, ROWS), dtype=np.uint64)
            if scored:
                batch = source.batch(KEY, candidates)
                tokens += batch.rows(np.arange(len(candidates))).input_ids.size
            else:
                tokens += source.tokens(KEY, candidates).size
        return tokens

    return generate


def _theirs(case: Case) -> Callable[[], int]:
    """Makes the peer's training set, and returns how many tokens it has."""
    try:
        import pptrain
    except ImportError as error:
        sys.exit(f"this benchmark compares with pptrain: pip install pptrain=={PEER_VERSION} ({error})")
    task = pptrain.create_task(case.task, case.config | {"sequence_count": PEER_ROWS, "eval_sequence_count": 1})

    def generate() -> int:
        return sum(map(len, task.build_datasets(seed=0).train_dataset.sequences))

    return generate


if __name__ == "__main__":
    sys.exit(main())
