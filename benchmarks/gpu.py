"""Measures a CUDA device: python benchmarks/gpu.py [--device cuda:0] [--tokens 164M], or `make gpu`.

It prints a block to paste into an issue: card, driver and versions; what the compiler says of each kernel; the kernels'
speed beside their floors; the copies and the host's work; and a build and its verification, beside the same build on
the processor's cores, with the hashes of both.

A floor is the time that the kernels' instructions take at the card's rate of 32-bit integer operations (64 a cycle of
each multiprocessor, NVIDIA's CUDA programming guide, "Arithmetic Instructions", for 8.0, 9.0 and 10.0), with the counts
of `benchmarks/instructions.py`; for a copy, the bytes at 50 GB/s, which PCI Express 5 reaches; for the host, the
processor time of one core that making a row's bytes takes, over all cores.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import ncagen
from ncagen.cuda import nvrtc
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import pack
from ncagen.factory.settings import from_settings, parse_tokens
from ncagen.philox import STREAMS
from ncagen.selection import Tally, choose
from ncagen.sources.nca import batch
from ncagen.sources.nca.devices import backend, devices
from ncagen.sources.nca.facts import measure
from ncagen.sources.nca.gpu import Gpu, Trajectories, program_of
from ncagen.sources.nca.settings import Settings
from ncagen.sources.source import no_stage

KEY = 0, STREAMS["pilot"]
SETTINGS = Settings()  # those of the high band by default
SECONDS = 2.0  # of each measurement
LANES, PCI = 64, 50e9
# Instructions that a warp issues for a candidate or row: the means that benchmarks/instructions.py prints.
INSTRUCTIONS = {"rollout": 58_234, "score": 136_043, "rows": 51_422}


def say(name: str, value: object) -> None:
    print(f"{name:22} {value}", flush=True)


def hardware(gpu: Gpu) -> None:
    """Prints what the figures are taken on."""
    import torch

    say("ncagen", ncagen.__version__)
    say("host", f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    names = "torch", "numpy", "cuda-bindings"
    say("packages", ", ".join(f"{name} {version(name)}" for name in names))
    if not gpu.is_cuda:
        say("device", "none: the kernels run on the processor, so these figures are no speed of a GPU")
        return
    card = torch.cuda.get_device_properties(gpu.device)
    say("device", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} multiprocessors")
    say("capability", f"{card.major}.{card.minor}, CUDA {torch.version.cuda}")
    say("driver", f"{smi(gpu, 'driver_version')}, clock at most {smi(gpu, 'clocks.max.sm')} MHz")
    found = nvrtc.resources(nvrtc.compile_program(program_of(SETTINGS), 10 * card.major + card.minor).log)
    for name, resources in found.items():
        shared = program_of(SETTINGS).shared_bytes(name)
        say(f"kernel {name}", f"{resources.registers} registers, {shared} bytes shared, {resources.spills} spilled")


def smi(gpu: Gpu, field: str) -> str:
    """What nvidia-smi says of the device; empty where it is not installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, f"--id={gpu.device.index or 0}", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def floor_of(gpu: Gpu, kernel: str) -> float:
    """Candidates or rows a second that the card's integer rate allows; 0 where its clock is not known."""
    if not gpu.is_cuda or not (megahertz := smi(gpu, "clocks.max.sm")).isdigit():
        return 0.0
    import torch

    lanes = torch.cuda.get_device_properties(gpu.device).multi_processor_count * LANES * int(megahertz) * 1e6
    return lanes / (INSTRUCTIONS[kernel] * 32)


def kernels(gpu: Gpu) -> None:
    """Prints the speed of each kernel, and of the copy of rows."""
    size = gpu.batch_candidates(SETTINGS) if gpu.is_cuda else 64
    made = Trajectories(gpu, SETTINGS, KEY, np.arange(size, dtype=np.uint64), 0, no_stage)
    say("candidates a batch", size)
    for kernel in ("rollout", "score"):
        relaunch(gpu, made, kernel, size)
    chosen = np.arange(min(size, 4096))
    speed = rate(lambda: len(made.rows(chosen)))
    share = f", {speed / floor_of(gpu, 'rows'):.0%} of the floor of its kernel" if floor_of(gpu, "rows") else ""
    copied = speed * SETTINGS.row_tokens * np.dtype(SETTINGS.token_dtype).itemsize
    say("rows, with the copy", f"{speed:,.0f} a second{share}; {copied / 1e9:.1f} GB/s, {copied / PCI:.0%} of the bus")


def relaunch(gpu: Gpu, made: Trajectories, kernel: str, size: int) -> None:
    """Prints the speed of one kernel, run again on the same batch."""

    def once() -> int:
        made.launch_again(kernel)
        return size

    speed, floor = rate(once), floor_of(gpu, kernel)
    say(kernel, f"{speed:,.0f} a second" + (f", {speed / floor:.0%} of the floor" if floor else ""))


def rate(once: Any) -> float:
    """What `once` counts, a second."""
    once()
    done, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < SECONDS:
        done += once()
    return done / elapsed


def host_work(gpu: Gpu) -> None:
    """Prints the processor time of one core that the rows of a shard take after they have left the device."""
    spec = from_settings({"tokens": "4M", "band": "high"})
    band, selects = spec.bands[0], measure(SETTINGS)
    size = 10_000 if gpu.is_cuda else 256
    made = batch.run(SETTINGS, KEY, np.arange(size, dtype=np.uint64), backend=gpu)
    tally = Tally()
    rows = made.rows(choose(band.limits(selects), made.score, 4096, tally))
    begun = time.thread_time()
    for _ in range(5):
        pack(spec, "parquet", "train", band.name, 0, rows, tally)
    each = (time.thread_time() - begun) / 5 / len(rows)
    cores = len(os.sched_getaffinity(0))
    say("writing", f"{each * 1e6:.1f} us of a core for a row: {cores / each:,.0f} rows a second on {cores} cores")


def whole(device: str, tokens: str, folder: Path) -> tuple[str, float]:
    """Builds and verifies a dataset. Returns its hash and the seconds of both."""
    out = folder / device.replace(":", "-")
    begun = time.perf_counter()
    built = ncagen.build({"tokens": tokens, "band": "high"}, out, device=device)
    middle = time.perf_counter()
    ncagen.verify(out)
    ended = time.perf_counter()
    count = parse_tokens(tokens)
    say(
        f"build on {device}",
        f"{tokens} tokens in {middle - begun:.2f} s ({count / (middle - begun) / 1e6:,.0f}M a second),"
        f" verified in {ended - middle:.2f} s, dataset_sha256 {built.dataset_sha256[:16]}",
    )
    shutil.rmtree(out)
    return built.dataset_sha256, middle - begun


def sanitizers() -> None:
    """Runs a small build under compute-sanitizer's memcheck and racecheck, where CUDA's toolkit is installed."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        say("compute-sanitizer", "not installed: part of CUDA's toolkit")
        return
    program = "from ncagen.sources.nca.source import Nca; Nca.from_options({}, 1024).check('cuda')"
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).strip().splitlines()
        say(f"compute-sanitizer {check}", f"status {done.returncode}, {lines[-1] if lines else ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or host: no GPU, to try this program  [cuda]")
    parser.add_argument("--tokens", default="164M", help="of the build on the device and on the cores  [164M]")
    given = parser.parse_args()
    names = devices(given.device)
    gpu = backend(names[0])
    assert isinstance(gpu, Gpu)
    print("--- ncagen on a GPU ---")
    hardware(gpu)
    if len(names) > 1:
        say("devices", f"{len(names)}: the kernels' figures are of {names[0]}, the build uses all")
    kernels(gpu)
    host_work(gpu)
    if gpu.is_cuda:
        sanitizers()
    with tempfile.TemporaryDirectory(prefix="ncagen-gpu-") as name:
        folder = Path(name)
        ncagen.build({"tokens": "1M", "band": "high"}, folder / "first", device=given.device)  # compiles
        hashes = [whole(device, given.tokens, folder) for device in (given.device, "cpu")]
    (ours, fast), (theirs, slow) = hashes
    say("hashes", "equal" if ours == theirs else "DIFFERENT")
    say("beside the cores", f"{slow / fast:.1f} times as fast")
    print("---")
    if ours != theirs:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except NcagenError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        sys.exit(error.status)
