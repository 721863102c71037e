"""Peak memory and time of whole builds of growing size: python benchmarks/memory.py [TOKENS ...]

Each size is a process of its own, `ncagen build` as a user runs it, and its peak resident memory is the operating
system's own figure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time


def measure(tokens: str) -> tuple[float, float]:
    """Peak memory in MB and seconds of one build."""
    folder = tempfile.mkdtemp(prefix="ncagen-memory-")
    command = [sys.executable, "-m", "ncagen", "build", "--band", "high", "--tokens", tokens, "--quiet"]
    try:
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--out", f"{folder}/dataset"])
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"the build of {tokens} failed")
        return usage.ru_maxrss / 1000, time.perf_counter() - begun
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    print("tokens  peak MB  seconds")
    for tokens in sys.argv[1:] or ["20M", "200M"]:
        peak, seconds = measure(tokens)
        print(f"{tokens:>6}  {peak:7.0f}  {seconds:7.1f}", flush=True)
