"""The command line: parses, calls, and words the errors. Every error a user can cause is one line and status 2."""

import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import FORMATS
from ncagen.errors import NcagenError
from ncagen.spec import BANDS, DOMAINS, PRESETS, STARTS, Spec, SpecError, from_settings, read_order
from ncagen.version import VERSION

CANNOT, WRONG, STOPPED, PIPE_CLOSED = 2, 1, 130, 141

STOP_SECONDS = 1.5
COMPILING = "compiling the kernels for this machine (once, about 20 seconds)"


def run(arguments: list[str]) -> int:
    """Runs one command and returns the exit status."""
    stopped = "stopped; the same command goes on from here" if arguments[:1] == ["build"] else "stopped"
    asked = _stop_in_time(stopped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an encoding without the drawings' characters is no reason to fail
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(stopped, STOPPED)
    except Exception as error:
        # An interrupt within numba's compiler comes out as an error of another kind.
        return _fail(stopped, STOPPED) if asked.is_set() else _worded(error)


def _worded(error: Exception) -> int:
    """The one line for an error that a user can cause; anything else goes on as it is."""
    if isinstance(error, NcagenError):
        return _fail(str(error))
    if isinstance(error, click.ClickException):
        return _fail(error.format_message())
    if not isinstance(error, OSError):
        raise error
    if error.filename is not None:
        return _fail(f"{error.filename}: {error.strerror}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED if isinstance(error, BrokenPipeError) else _fail(f"cannot print: {error.strerror}")


def _run(arguments: list[str]) -> int:
    """One command without click's own handling of errors, signals and closed pipes."""
    try:
        with main.make_context("ncagen", arguments) as context:
            return main.invoke(context) or 0
    except click.exceptions.Exit as left:
        return left.exit_code


def _stop_in_time(message: str) -> threading.Event:
    """SIGTERM stops as Ctrl-C does, and either ends the process even if the main thread is deep in a kernel.

    Python sees a signal between two steps of its own only. A thread learns of it at once and, where the orderly way
    takes too long, leaves: what lies on disk is whole at any moment, and the next build sweeps the rest.
    Returns what is set once a signal was seen.
    """
    asked = threading.Event()

    def stop(*_):
        asked.set()
        raise KeyboardInterrupt

    def watch():
        while os.read(told, 1)[0] not in (signal.SIGINT, signal.SIGTERM):
            pass
        time.sleep(STOP_SECONDS)
        os.write(sys.stderr.fileno(), f"ncagen: {message}\n".encode())
        os._exit(STOPPED)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background process of a script ignores it
        signal.signal(signal.SIGINT, stop)
    if os.name != "posix":
        return asked
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    return asked


def _fail(message: str, status: int = CANNOT) -> int:
    click.echo("ncagen: " + " ".join(message.split()), err=True)
    return status


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.group(
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(VERSION, message="%(version)s")
@click.pass_context
def main(context):
    """A factory for synthetic language-model data from neural cellular automata."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(CANNOT)


def spec_options(command):
    """The flags that a spec is made of, for `build` and `bench`."""
    options = [
        click.option("--tokens", help="Training tokens in each band, such as 164M (K, M, B, T)."),
        click.option(
            "--band",
            multiple=True,
            help=f"{', '.join(f'{n} ({lo:g}-{hi:g})' for n, (lo, hi) in BANDS.items())} or limits such as 0.35-0.45;"
            " repeatable, all are filled in one pass.",
        ),
        click.option("--for", "domain", help=f"The paper's best band for {', '.join(DOMAINS)}."),
        click.option("--validation", help="Validation tokens in each band, from other rules; 0 for none.  [1M]"),
        click.option("--seed", type=int, help="Any number below 2**32.  [0]"),
        click.option("--preset", help=f"{' or '.join(PRESETS)}: what the authors' code ran, or what the paper states."),
        click.option("--rows-per-shard", type=int, help="[4096]"),
        click.option("--states", type=int, help="States of a cell, 2 to 256.  [10]"),
        click.option("--grid", type=int, help="Cells along a side of the grid.  [12]"),
        click.option("--patch", type=int, help="Cells along a side of a patch, which is one token.  [2]"),
        click.option("--seq-len", help="Training tokens of a row, 1k to 16k (k is 1024).  [1024]"),
        click.option("--warmup", type=int, help="Steps before the first recorded grid.  [10]"),
        click.option("--stride", type=int, help="Steps between recorded grids.  [1]"),
        click.option("--temperature", type=float, help="0 to 1.  [0.0001]"),
        click.option("--identity-bias", type=float, help="Added to the logit of a cell's own state.  [0]"),
        click.option("--start", help=f"Start cells: {' or '.join(STARTS)}.  [categorical]"),
        click.option(
            "--channel-wrap/--no-channel-wrap", default=None, help="The released code's wrapped channels.  [on]"
        ),
        click.option("--trajectories-per-rule", type=int, help="Neighbouring candidates that share a rule.  [1]"),
        click.option("--format", "storage", type=click.Choice(FORMATS), help="[parquet]"),
        click.option("--workers", type=click.IntRange(min=1), default=_cores, help="[one per core]"),
        click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("order", required=False, type=click.Path(path_type=Path))
@spec_options
@click.option("--out", type=click.Path(path_type=Path), help="The dataset's folder; made if missing, resumed if begun.")
@click.option("--plan", "only_plan", is_flag=True, help="Print what the build will take, and build nothing.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def build(order, out, only_plan, quiet, workers, as_json, **flags):
    """Make a dataset, or what is missing of it, from flags or from a TOML ORDER.

    \b
    ncagen build --tokens 164M --band high --out data/nca-high
    ncagen build manifests/paper-high-164M.toml --out data/nca-high
    """
    settings = _settings(order, flags)
    storage = settings.pop("format", "parquet")
    out = out or (Path(str(settings["out"])) if "out" in settings else None)
    if storage not in FORMATS:
        raise SpecError(f"format {storage!r} is not known: use {' or '.join(FORMATS)}")
    spec = from_settings(settings)
    if out is None and not only_plan:
        raise SpecError("no folder is given: use --out, as in --out data/nca-high")
    quiet = quiet or as_json
    from ncagen.factory.fleet import build as build_dataset
    from ncagen.factory.fleet import check
    from ncagen.factory.plan import pilot
    from ncagen.factory.plan import plan as make_plan
    from ncagen.factory.work import Order

    ordered = None if out is None else Order(spec, storage, out)
    if ordered is not None:
        check(ordered)
    with _waiting(COMPILING, quiet):
        tried = pilot(spec, storage)
    planned = make_plan(spec, workers, tried)
    if only_plan or ordered is None:
        click.echo(json.dumps(asdict(planned), indent=1) if as_json else _plan_text(spec, storage, planned))
        return 0
    begun = time.monotonic()
    with _bar(planned.rows, "rows", quiet) as bar:
        kept, lock = [0, 0], threading.Lock()

        def report(rows, candidates):
            with lock:
                kept[0] += rows if candidates else 0
                kept[1] += candidates
                speed = kept[0] * spec.seq_len / (time.monotonic() - begun)
                share = kept[0] / kept[1] if kept[1] else 0.0
                bar.set_postfix_str(f"{speed / 1e6:.2f}M tokens/s, {share:.1%} kept", refresh=False)
                bar.update(rows)

        manifest = build_dataset(ordered, workers, report)
    seconds = time.monotonic() - begun
    made, tried_count = kept
    if as_json:
        result = {
            "folder": str(out),
            "dataset_sha256": manifest.dataset_sha256,
            "rows": planned.rows,
            "rows_made": made,
            "candidates": tried_count,
            "bytes": sum(file.bytes for file in manifest.files.values()),
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(result, indent=1))
    elif not quiet:
        size = sum(file.bytes for file in manifest.files.values())
        if made:
            speed = made * spec.seq_len / seconds / 1e6
            click.echo(f"made {made:,} rows from {tried_count:,} candidates in {seconds:.1f} s ({speed:.2f}M tokens/s)")
        else:
            click.echo(f"nothing to do: {out} is complete")
        click.echo(f"{out}: {planned.rows:,} rows, {size / 1e6:,.1f} MB, sha256 {manifest.dataset_sha256}")
    return 0


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--regenerate", metavar="SHARE", help="Rebuild this share of the rows as well and compare: 1% or all.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def verify(folder, regenerate, as_json, quiet):
    """Check a dataset: hashes, rows, bands, tokens. Status 0 if all is well, 1 if not."""
    from ncagen.complexity.score import token_gzip_lengths
    from ncagen.dataset.verify import verify as verify_dataset
    from ncagen.sources.nca import rebuild

    share = _share(regenerate)
    rows = sum(record.rows for record in read_manifest(folder).records)
    with _bar(rows, "rows", quiet or as_json) as bar:
        report = verify_dataset(folder, token_gzip_lengths, rebuild, share, bar.update)
    good = not report.problems
    if as_json:
        result = {
            "verdict": "ok" if good else "failed",
            "dataset_sha256": report.manifest.dataset_sha256,
            "files": report.files,
            "rows": report.rows,
            "rebuilt": report.rebuilt,
            "problems": report.problems,
        }
        click.echo(json.dumps(result, indent=1))
    else:
        for problem in [] if quiet else report.problems:
            click.echo(problem, err=True)
        rebuilt = f", {report.rebuilt:,} rebuilt" if share else ""
        counts = f"{report.files} files, {report.rows:,} rows{rebuilt}"
        identity = f"sha256 {report.manifest.dataset_sha256}"
        click.echo(
            f"ok: {folder}: {counts}, {identity}" if good else f"failed: {folder}: {_count(report.problems, 'problem')}"
        )
    return 0 if good else WRONG


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--row", type=int, help="Which row to draw.  [0]")
@click.option("--split", default="train", help="[train]")
@click.option("--band", help="Which band; the first if left out.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON, and no drawing.")
def show(folder, row, split, band, as_json):
    """Print a dataset's figures and draw one trajectory in colour."""
    from ncagen.view import terminal

    manifest = read_manifest(folder)
    if as_json:
        click.echo(json.dumps(terminal.summary(manifest), indent=1))
        return 0
    dataset = Dataset(folder, split, band or manifest.spec.bands[0].name)
    if not -len(dataset) <= (row or 0) < len(dataset):
        raise NcagenError(f"row {row} is out of range: use 0 to {len(dataset) - 1}")
    figures = terminal.figures(manifest)
    wide = max(len(name) for name, _ in figures)
    for name, value in figures:
        click.echo(f"{name:{wide}}  {value}")
    shown = dataset[row or 0]
    click.echo(f"\ngzip ratios of the first shard's rows ({dataset.band} {split})")
    click.echo("\n".join(terminal.histogram(dataset.shard(0).gzip_ratio)))
    text = f"candidate {shown['candidate']}, {shown['gzip_bytes']} gzip bytes, ratio {shown['gzip_ratio']:.3f}"
    click.echo(f"\nrow {row or 0} ({dataset.band} {split}): {text}\n")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size((80, 24)).columns
    click.echo(terminal.trajectory(manifest.spec, shown["input_ids"], width, colour), color=colour)
    return 0


@main.command()
@spec_options
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="[3]")
def bench(rounds, workers, as_json, **flags):
    """Measure this machine: rows written a second times the seconds of one zlib call, and where the time goes.

    Unless flags say otherwise it builds four shards a worker of the high band, without validation.
    """
    from ncagen.factory.bench import bench as run_bench

    given = {name: value for name, value in flags.items() if value is not None}
    even = workers * 4 * Spec.rows_per_shard * Spec.seq_len  # four shards each, so that no worker waits for another
    settings = _settings(None, {"tokens": even, "validation": "0", **given})
    storage = settings.pop("format", "parquet")
    if not settings.get("band") and "for" not in settings:
        settings["band"] = ["high"]
    spec = from_settings(settings)
    from ncagen.factory.plan import pilot

    with _waiting(COMPILING, as_json):
        pilot(spec, storage)  # refuses a band that no candidate reaches
    with _waiting(f"building {rounds} times {spec.tokens:,} tokens", as_json, after=0.0):
        result = run_bench(spec, storage, workers, rounds)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
        return 0
    total = sum(result.stage_microseconds.values())
    click.echo(f"rows a second      {result.rows_per_second:,.0f} on {workers} workers ({storage})")
    click.echo(f"tokens a second    {result.tokens_per_second / 1e6:.2f}M")
    click.echo(f"one zlib call      {result.zlib_microseconds:.1f} us for {spec.scored_bytes} bytes at level 9")
    click.echo(f"rows a zlib call   {result.ratio:.2f} (rounds: {', '.join(f'{r:.2f}' for r in result.ratios)})")
    click.echo(f"kept               {result.acceptance:.1%} of the candidates")
    click.echo(f"one candidate      {total:.1f} us of one core:")
    for stage, microseconds in result.stage_microseconds.items():
        click.echo(f"  {stage:16} {microseconds:5.1f} us  {microseconds / total:5.1%}")
    return 0


def _settings(order: Path | None, flags: dict) -> dict:
    """What was asked for, from an order or from flags; `format` and `out` ride along."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    for flag, setting in (("domain", "for"), ("storage", "format")):
        if flag in given:
            given[setting] = given.pop(flag)
    if "band" in given:
        given["band"] = list(given["band"])
    if order is None:
        return given
    settings = read_order(order)
    for name in given:
        if name != "format":
            flag = f"--{name.replace('_', '-')}"
            raise SpecError(f"{flag} and the order {str(order)!r} are both given: use one, or edit a copy of the order")
    return settings | given


def _share(text: str | None) -> float:
    """A share of rows from "1%" or "all"."""
    if text is None:
        return 0.0
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)%", text)
    share = 1.0 if text == "all" else float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise NcagenError(f"--regenerate {text!r} is not a share: use 1% or all")
    return share


def _count(things: list, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def _plan_text(spec: Spec, storage: str, plan) -> str:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in plan.shares.items())
    accepted = ", ".join(f"{name} {share:.1%}" for name, share in plan.acceptance.items())
    return "\n".join(
        [
            f"rows         {plan.rows:,} of {spec.row_tokens} tokens",
            f"shards       {plan.shards:,} ({plan.files:,} {storage} files)",
            f"candidates   about {plan.candidates:,} (kept: {accepted})",
            f"bytes        about {plan.bytes / 1e6:,.0f} MB",
            f"time         about {_duration(plan.seconds)} on {plan.workers} workers of this machine",
            f"bands        {shares}; pure noise scores {plan.noise_ratio:.3f}",
        ]
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _bar(total: int, unit: str, quiet: bool) -> tqdm:
    """A progress bar, on a terminal only."""
    hidden = quiet or not sys.stderr.isatty()
    return tqdm(total=total, unit=unit, disable=hidden, unit_scale=True, smoothing=0.05, dynamic_ncols=True)


@contextmanager
def _waiting(what: str, quiet: bool, after: float = 2.0):
    """Says what is going on where it takes longer than `after` seconds."""
    timer = threading.Timer(after, lambda: click.echo(what, err=True))
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
