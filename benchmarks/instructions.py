"""Counts the instructions of a candidate, without a GPU: python benchmarks/instructions.py [--rows 12] [--json].

They are those that a warp issues. The PTX of the CUDA kernels runs on the emulator of the tests (`tests/ptx.py`), for
candidates of the training stream with the default settings; printed are the means. PTX is not what a card runs: ptxas
joins some instructions and splits others. What follows from the counts is a floor by the rate of 32-bit integer
operations, which most of them are: 64 a cycle of each multiprocessor on the cards below (NVIDIA's CUDA programming
guide, "Arithmetic Instructions"). Sizes and boost clocks are NVIDIA's. A floor is no measurement.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from test_ptx import Launch

from ncagen.cuda.program import KERNELS
from ncagen.sources.nca.settings import Settings

# Multiprocessors and boost clock in GHz.
CARDS = {"A100 SXM": (108, 1.41), "H100 SXM": (132, 1.98), "H200": (132, 1.98), "B200": (148, 1.965)}
LANES, WARP = 64, 32
KEPT = 0.459  # of candidates, in the high band


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--rows", type=int, default=12, help="candidates to count  [12]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    counts = {kernel: [] for kernel in KERNELS}
    for candidate in tqdm(range(given.rows), unit="candidate", leave=False, disable=None):
        launch = Launch(Settings(), candidate)
        for kernel in KERNELS:
            counts[kernel].append(launch.run(kernel).counts.total())
    means = {kernel: float(np.mean(each)) for kernel, each in counts.items()}
    a_row = (means["rollout"] + means["score"]) / KEPT + means["rows"]
    floors = {card: size * LANES * clock * 1e9 / WARP / a_row for card, (size, clock) in CARDS.items()}
    if given.json:
        print(json.dumps({"instructions": means, "instructions_a_kept_row": a_row, "rows_a_second": floors}, indent=1))
        return
    for kernel, mean in means.items():
        print(f"{kernel:10} {mean:9,.0f} instructions, {min(counts[kernel]):,} to {max(counts[kernel]):,}")
    print(f"{'kept row':10} {a_row:9,.0f} instructions, of {1 / KEPT:.2f} candidates")
    for card, rows in floors.items():
        print(f"{card:10} {rows:9,.0f} rows a second at most, {rows * 1024 / 1e9:.2f} billion tokens")


if __name__ == "__main__":
    main()
