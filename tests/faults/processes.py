"""Builds as processes: started, waited for, and harmed from within."""

import json
import os
import subprocess
import time
from pathlib import Path

from conftest import NCAGEN, hear_interrupts

from ncagen.dataset.atomic_write import is_temporary

# 31 shards, about two seconds of work. The flags and the settings are the same order.
LONGER = {"tokens": "8M", "validation": 0, "band": "high", "rows_per_shard": 256}
LONGER_FLAGS = ["--tokens=8M", "--validation=0", "--band=high", "--rows-per-shard=256", "--workers=2"]
LONGER_SHARDS = 31

INJECT = Path(__file__).with_name("inject")
# A stop takes two seconds at most on a machine that is not shared (benchmarks/stop.py measures it); tests leave room.
STOP_SECONDS = 20

STOPPED = "ncagen: stopped; run the same command to resume\n"


def struck(step: str, **fault: object) -> dict[str, str]:
    """The environment of a process that is harmed at a step, as inject/sitecustomize.py has it."""
    path = os.pathsep.join([str(INJECT), os.environ["PYTHONPATH"]])
    return {**os.environ, "PYTHONPATH": path, "FAULT": json.dumps({"step": step} | fault)}


def start(*arguments: object, **options) -> subprocess.Popen:
    """`python -m ncagen ARGUMENTS`, without waiting for its end."""
    command = [*NCAGEN, *map(str, arguments)]
    options = {"preexec_fn": hear_interrupts} | options
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    """Until the condition holds or the process has ended."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.002)


def shards(folder: Path) -> int:
    """Shards that are there under their final names."""
    return len(list(folder.glob("data/*/*-of-*")))


def temporary(folder: Path) -> list[Path]:
    """Files under temporary names."""
    return [path for path in folder.rglob("*") if is_temporary(path)]
