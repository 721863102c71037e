"""ThreadExecutor against a local Ray: python benchmarks/engines.py [TOKENS [TURNS]]

First whole builds, by turns, on workers that are started and warm before the clock is; then what handing out units
costs the process that does it: units that are done at once, in a process of its own for each row of the table.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ncagen.commands.cores import cores
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File
from ncagen.dataset.shard import Record
from ncagen.factory.executor import Executor, Report, ShardResult, ShardTask, ThreadExecutor
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.ray.connection import joined
from ncagen.factory.ray.executor import Cluster, Done, maker
from ncagen.factory.scheduler import build, run, threads
from ncagen.spec import from_settings

COUNTS = 1_000, 10_000, 100_000
ENGINES = "threads", "ray"
WARM_UP = "4M"


def main(tokens: str = "50M", turns: str = "3") -> None:
    """Both measures, as two tables."""
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    with joined("local", cores()) as address:
        for name in ENGINES:
            whole_build(name, address, WARM_UP)
        print("executor   seconds", flush=True)
        for _ in range(int(turns)):
            for name in ENGINES:
                seconds[name].append(whole_build(name, address, tokens))
                print(f"{name:8} {seconds[name][-1]:7.2f}", flush=True)
    plain, ray = (statistics.median(seconds[name]) for name in ENGINES)
    print(
        f"throughput on ray over that of threads: {plain / ray:.3f}\n\nengine     units  ms a unit  peak MB", flush=True
    )
    for name in ENGINES:
        for count in COUNTS:
            subprocess.run([sys.executable, __file__, "hand-out", name, str(count)], check=True)


def whole_build(name: str, address: str, tokens: str) -> float:
    """Seconds of a build into a new folder."""
    with tempfile.TemporaryDirectory(prefix="ncagen-engines-") as folder:
        spec = from_settings({"tokens": tokens, "band": "high", "validation": 0, "rows_per_shard": 512})
        order = BuildJob(spec, "parquet", Folder(str(Path(folder) / "dataset")))
        executor: Executor
        if name == "threads":
            executor = threads(order, cores(), ignore)
        else:
            executor = Cluster(maker(order, "cpu"), address, cores(), None, ignore)
        begun = time.perf_counter()
        build(order, executor)
        return time.perf_counter() - begun


def hand_out(name: str, count: int) -> None:
    """A row of the second table: so many units that are done at once."""
    if name == "threads":
        tell(name, count, ThreadExecutor(at_once, cores(), ignore))
        return
    with joined("local", cores()) as address:
        tell(name, count, Cluster(done_at_once, address, cores(), None, ignore))


def tell(name: str, count: int, executor: Executor) -> None:
    """Runs the units, the first few outside of the clock."""
    with executor:
        made = list(run(executor, (("train", shard) for shard in range(100))))
        begun = time.perf_counter()
        made += run(executor, (("train", shard) for shard in range(100, 100 + count)))
        seconds = time.perf_counter() - begun
    # Not the system's maximum for a process, in which the memory of the one that started it is counted.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000
    print(f"{name:8} {count:7,}  {1000 * seconds / count:9.3f}  {peak:7.0f}", flush=True)


def at_once(unit: ShardTask, report: Report) -> ShardResult:
    """What a unit comes to, without making it."""
    split, shard = unit
    return [(Record("0" * 64, split, "high", shard, 4096, 9000, 0, 0, "0" * 64), File(7_000_000, "0" * 64))]


def done_at_once(unit: ShardTask) -> Done:
    """The same, as a node sends it."""
    return Done(at_once(unit, ignore), 0, 4096, 9000)


def ignore(rows: int, candidates: int) -> None:
    """A report to nobody."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["hand-out"]:
        hand_out(sys.argv[2], int(sys.argv[3]))
    else:
        main(*sys.argv[1:])
