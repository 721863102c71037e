"""Carries out an order with a bar, and says what came of it: the part that `build` and `rebuild` share."""

import json
import threading
import time
from collections.abc import Callable

import click

from ncagen.commands.console import progress
from ncagen.dataset.manifest import SPLITS
from ncagen.factory.executor import Executor, Report
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.scheduler import build


def make_dataset(order: BuildJob, executor_of: Callable[[Report], Executor], quiet: bool, as_json: bool) -> None:
    """Makes the dataset, or what is missing of it. Raises what `scheduler.build` raises."""
    spec = order.spec
    rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
    begun = time.monotonic()
    with progress(rows, "rows", quiet or as_json) as bar:
        kept, lock = [0, 0], threading.Lock()

        def report(rows: int, candidates: int) -> None:
            with lock:
                kept[0] += rows if candidates else 0
                kept[1] += candidates
                speed = kept[0] * spec.seq_len / (time.monotonic() - begun)
                share = kept[0] / kept[1] if kept[1] else 0.0
                nodes = "" if executor.nodes is None else f"{executor.nodes} node{'' if executor.nodes == 1 else 's'}, "
                bar.set_postfix_str(f"{nodes}{speed / 1e6:.2f}M tokens/s, {share:.1%} kept", refresh=False)
                bar.update(rows)
            if executor.nodes == 0:
                click.echo("no node of the cluster is left: waiting for one", err=True)

        executor = executor_of(report)
        manifest = build(order, executor)
    made, tried = kept
    seconds, size = time.monotonic() - begun, sum(file.bytes for file in manifest.files.values())
    if as_json:
        result = {
            "folder": str(order.folder),
            "dataset_sha256": manifest.dataset_sha256,
            "rows": rows,
            "rows_made": made,
            "candidates": tried,
            "bytes": size,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(result, indent=1))
    elif not quiet:
        if made:
            speed = made * spec.seq_len / seconds / 1e6
            click.echo(f"made {made:,} rows from {tried:,} candidates in {seconds:.1f} s ({speed:.2f}M tokens/s)")
        else:
            click.echo(f"nothing to do: {order.folder} is complete")
        click.echo(f"{order.folder}: {rows:,} rows, {size / 1e6:,.1f} MB, sha256 {manifest.dataset_sha256}")
