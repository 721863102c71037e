"""How a build's cost grows: with its tokens, and with its workers.

Each line is a process of its own, `ncagen build` as a user runs it; its peak resident memory and the seconds of
processor time are the operating system's own figures. The first build is small and not shown: it compiles the kernels
if need be. Time should grow as tokens do, memory not at all, and two workers should take half the time of one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

SIZES = "10M", "100M", "1B"
WORKERS_SIZE = "100M"  # that one worker and two are compared on


def measure(tokens: str, *flags: str) -> tuple[float, float, float]:
    """Seconds, seconds of processor time and peak memory in MB of one build."""
    folder = tempfile.mkdtemp(prefix="ncagen-growth-")
    command = [sys.executable, "-m", "ncagen", "build", "--band", "high", "--tokens", tokens, "--quiet", *flags]
    try:
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--out", f"{folder}/dataset"])
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"the build of {tokens} failed")
        return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", nargs="*", default=SIZES, help=f"of each build  [{' '.join(SIZES)}]")
    sizes = parser.parse_args().tokens
    measure("100K", "--validation=0")
    print("tokens  workers  seconds  core-seconds  peak MB")
    lines = [(size, os.cpu_count() or 1) for size in sizes]
    for tokens, workers in [*lines, (WORKERS_SIZE, 1), (WORKERS_SIZE, 2)]:
        seconds, core_seconds, peak = measure(tokens, f"--workers={workers}")
        print(f"{tokens:>6}  {workers:7}  {seconds:7.1f}  {core_seconds:12.1f}  {peak:7.0f}", flush=True)


if __name__ == "__main__":
    main()
