"""Times this checkout beside another one: python benchmarks/checkouts.py OTHER [--set NAME=VALUE ...] [--cpu NAME].

OTHER is a folder with another version of ncagen, such as `git worktree add ../old COMMIT`. A process of each runs the
stages of a build on one core, and whole builds, in turn, so that a busy machine slows both. The figures are
microseconds of processor time a candidate, milliseconds of whole builds, and the ratio of each round's own, OTHER by
this. The first round is not counted: it compiles kernels. `--cpu haswell` has numba compile both for a processor with
AVX2, `--cpu generic` without vector extensions.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent.parent
CANDIDATES = 4096
TOKENS = 8 * 2**20
FEATURES = {"haswell": "+avx2,+bmi,+bmi2,+fma,+popcnt,+lzcnt,+sse4.2,+avx,+ssse3,+sse4.1,+f16c", "generic": ""}


def stages(settings: dict) -> dict[str, float]:
    """Microseconds of processor time a candidate, by stage. `rows` is the rest of the kept rows, with their columns."""
    from contextlib import contextmanager
    from dataclasses import replace

    import numpy as np

    from ncagen.factory.make_shard import pack
    from ncagen.factory.settings import from_settings
    from ncagen.row_format import Rows, band_measure
    from ncagen.selection import Tally, inside
    from ncagen.sources import source_of

    spec = from_settings({"tokens": TOKENS, "validation": "0", **settings})
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage):
        begun = time.process_time()
        yield
        seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - begun

    source = source_of(spec)
    measure = band_measure(source.measures)
    at_least = min(band.limits(measure)[0] for band in spec.bands)
    size, parts = min(512, source.batch_candidates()), []
    count = CANDIDATES if size == 512 else size
    for first in range(0, count, size):
        candidates = np.arange(first, first + size, dtype=np.uint64)
        batch = source.batch((0, 3), candidates, at_least, stage=timed)
        chosen = np.flatnonzero(np.any([inside(measure, band, batch.score) for band in spec.bands], axis=0))
        if hasattr(batch, "stage"):
            batch = replace(batch, stage=lambda name: timed("rows"))
        parts.append(batch.rows(chosen))
    rows = Rows.concatenate(parts)
    with timed("write"):
        pack(spec, "parquet", "train", "bench", 0, rows, Tally(kept=len(rows)))
    return {stage: each / count * 1e6 for stage, each in seconds.items()}


def whole(settings: dict) -> dict[str, float]:
    """Milliseconds of a whole build with two workers, by the clock and of processors."""
    from ncagen.dataset.folder import Folder
    from ncagen.factory.make_shard import BuildJob
    from ncagen.factory.scheduler import build, threads
    from ncagen.factory.settings import from_settings

    spec = from_settings({"tokens": TOKENS, "validation": "0", **settings})
    folder = Path(tempfile.mkdtemp(prefix="ncagen-checkouts-"))
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        job = BuildJob(spec, "parquet", Folder(folder / "dataset"))
        build(job, threads(job, 2))
        return {
            "build, clock": (time.perf_counter() - wall) * 1e3,
            "build, processors": (time.process_time() - cpu) * 1e3,
        }
    finally:
        shutil.rmtree(folder)


def serve() -> None:
    """Runs what a line of standard input asks for, and answers with a line of JSON."""
    for line in sys.stdin:
        order = json.loads(line)
        found = stages(order["settings"]) | (whole(order["settings"]) if order["build"] else {})
        print(json.dumps(found), flush=True)


def start(checkout: Path, cpu: str | None) -> subprocess.Popen:
    """A process of one checkout, with a cache of kernels of its own."""
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    if cpu:
        env |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": FEATURES.get(cpu, "")}
        env["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir(), f"ncagen-{cpu}-{checkout.name}"))
    command = [sys.executable, __file__, str(checkout), "--serve"]
    return subprocess.Popen(command, env=env, cwd=checkout, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def ask(process: subprocess.Popen, order: dict) -> dict[str, float]:
    """One round of one checkout."""
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    if not (answer := process.stdout.readline()):
        sys.exit(f"checkouts.py: error: {process.args[2]} gave no figures: see its error above")
    return json.loads(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].partition(":")[0] + ".")
    parser.add_argument("other", type=Path, metavar="OTHER", help="the other checkout")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as states=64")
    parser.add_argument("--cpu", help="processor that numba compiles for: haswell, generic")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--no-build", action="store_true", help="leave whole builds out")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    if given.serve:
        return serve()
    if not (given.other / "ncagen" / "__init__.py").is_file():
        parser.error(f"{given.other} is no checkout of ncagen: give a folder that has the package ncagen")
    settings = {"band": ["high"]} | dict(each.split("=", 1) for each in given.set)
    order = {"settings": settings, "build": not given.no_build}
    processes = [start(given.other.resolve(), given.cpu), start(HERE.resolve(), given.cpu)]
    rounds = [[ask(process, order) for process in processes] for _ in range(given.rounds + 1)][1:]
    found = {
        name: {
            "other": median(a[name] for a, _ in rounds),
            "this": median(b[name] for _, b in rounds),
            "ratio": median(a[name] / b[name] for a, b in rounds),
            "ratios": sorted(a[name] / b[name] for a, b in rounds),
        }
        for name in rounds[0][0]
    }
    for process in processes:
        process.communicate()
    if given.json:
        print(json.dumps(found, indent=1))
        return None
    print(f"{'':20}{'other':>10}{'this':>10}{'ratio':>8}")
    for name, each in found.items():
        spread = f"{each['ratios'][0]:.2f} to {each['ratios'][-1]:.2f}"
        print(f"{name:20}{each['other']:10.2f}{each['this']:10.2f}{each['ratio']:8.2f}  ({spread})")
    return None


if __name__ == "__main__":
    main()
