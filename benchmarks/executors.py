"""Compares the executor of threads with that of a local Ray.

First whole builds, in turn, on workers that are started and warm before the clock is. Then the cost of handing out
tasks, for the process that does it: tasks that do nothing, in a new process for each row of the table.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ncagen.cores import cores
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File
from ncagen.dataset.shard import Record
from ncagen.factory.events import ShardDone, ShardResult, ShardTask
from ncagen.factory.executor import Executor, Report, ThreadExecutor
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.ray.connection import joined
from ncagen.factory.ray.executor import Cluster, Done, maker
from ncagen.factory.scheduler import build, run, threads
from ncagen.factory.settings import from_settings

COUNTS = 1_000, 10_000, 100_000
EXECUTORS = "threads", "ray"
WARM_UP = "4M"


def main() -> None:
    """Both measurements, as two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", nargs="?", default="50M", help="of each build  [50M]")
    parser.add_argument("turns", nargs="?", type=int, default=3, help="builds with each executor  [3]")
    parser.add_argument("--hand-out", nargs=2, metavar=("EXECUTOR", "TASKS"), help="one row of the second table only")
    arguments = parser.parse_args()
    if arguments.hand_out:
        hand_out(arguments.hand_out[0], int(arguments.hand_out[1]))
        return
    compare_builds(arguments.tokens, arguments.turns)
    print("\nexecutor   tasks  ms a task  peak MB", flush=True)
    for name in EXECUTORS:
        for count in COUNTS:
            subprocess.run([sys.executable, __file__, "--hand-out", name, str(count)], check=True)


def compare_builds(tokens: str, turns: int) -> None:
    """Prints the seconds of every build, and the ratio of their medians."""
    seconds: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    with joined("local", cores()) as address:
        for name in EXECUTORS:
            whole_build(name, address, WARM_UP)
        print("executor seconds", flush=True)
        for _ in range(turns):
            for name in EXECUTORS:
                seconds[name].append(whole_build(name, address, tokens))
                print(f"{name:8} {seconds[name][-1]:7.2f}", flush=True)
    plain, ray = (statistics.median(seconds[name]) for name in EXECUTORS)
    print(f"throughput with ray over that with threads: {plain / ray:.3f}", flush=True)


def whole_build(name: str, address: str, tokens: str) -> float:
    """Seconds of a build into a new folder."""
    with tempfile.TemporaryDirectory(prefix="ncagen-executors-") as folder:
        spec = from_settings({"tokens": tokens, "band": "high", "validation": 0, "rows_per_shard": 512})
        job = BuildJob(spec, "parquet", Folder(str(Path(folder) / "dataset")))
        executor = threads(job, cores()) if name == "threads" else Cluster(maker(job, "cpu"), address, cores(), None)
        begun = time.perf_counter()
        build(job, executor)
        return time.perf_counter() - begun


def hand_out(name: str, count: int) -> None:
    """A row of the second table: so many tasks that do nothing."""
    if name == "threads":
        measure(name, count, ThreadExecutor(do_nothing, cores()))
        return
    with joined("local", cores()) as address:
        measure(name, count, Cluster(do_nothing_on_a_node, address, cores(), None))


def measure(name: str, count: int, executor: Executor) -> None:
    """Runs the tasks, the first hundred before the clock starts."""
    with executor:
        results = tasks_done(executor, range(100))
        begun = time.perf_counter()
        results += tasks_done(executor, range(100, 100 + count))
        seconds = time.perf_counter() - begun
    # Not the system's maximum for a process, in which the memory of the one that started it is counted.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000
    print(f"{name:8} {count:7,}  {1000 * seconds / count:9.3f}  {peak:7.0f}", flush=True)


def tasks_done(executor: Executor, shards: range) -> list[ShardDone]:
    """Runs a task for each shard and keeps the results, as a build does."""
    return [event for event in run(executor, (("train", shard) for shard in shards)) if isinstance(event, ShardDone)]


def do_nothing(task: ShardTask, report: Report) -> ShardResult:
    """A result of the usual size, without making a shard."""
    split, shard = task
    return [(Record("0" * 64, split, "high", shard, 4096, 9000, 0, 0, "0" * 64), File(7_000_000, "0" * 64))]


def do_nothing_on_a_node(task: ShardTask) -> Done:
    """The same, as a node sends it."""
    return Done(do_nothing(task, lambda rows, candidates: None), 0, 4096, 9000)


if __name__ == "__main__":
    main()
