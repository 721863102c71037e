"""Runs a build with a progress bar and prints its result: what `build` and `rebuild` share."""

import json
import time
from collections.abc import Callable
from typing import Protocol

import click
from tqdm import tqdm

from ncagen.commands.console import progress
from ncagen.dataset.manifest import SPLITS, Manifest
from ncagen.factory.events import DatasetBegun, Event, Finished, NodesChanged, RowsFound, RowsMade, Warned
from ncagen.spec import BuildSpec


class Build(Protocol):
    """`ncagen.build` or `ncagen.rebuild` with all arguments but this."""

    def __call__(self, *, progress: Callable[[Event], object]) -> Manifest: ...


def run_build(build: Build, spec: BuildSpec, out: str, quiet: bool, as_json: bool) -> None:
    """Makes the dataset, or what is missing of it. Raises what `ncagen.build` raises."""
    rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
    with progress(rows, "rows", quiet or as_json) as bar:
        meter = Meter(bar, spec.seq_len, quiet or as_json)
        manifest = build(progress=meter)
    if as_json:
        click.echo(json.dumps(_result(out, manifest, rows, meter), indent=1))
    elif not quiet:
        click.echo(meter.summary() if meter.made else f"nothing to do: {out} is complete")
        click.echo(f"{out}: {rows:,} rows, {meter.bytes / 1e6:,.1f} MB, sha256 {manifest.dataset_sha256}")


class Meter:
    """Counts the rows of a build's events and shows them on a bar.

    seq_len: of the rows, until an experiment's next dataset begins.
    """

    def __init__(self, bar: tqdm, seq_len: int, quiet: bool):
        self.made = self.tried = self.bytes = self._tokens = 0
        self._bar, self._seq_len, self._quiet = bar, seq_len, quiet
        self._before = 0, 0  # rows and candidates of the datasets before this one
        self._nodes = ""
        self._begun = time.monotonic()

    def __call__(self, event: Event) -> None:
        match event:
            case DatasetBegun(label, spec):
                self._seq_len = spec.seq_len
                self._before = self.made, self.tried
                self._bar.set_description_str(label)
            case Warned(text) if not self._quiet:
                self._bar.clear()
                click.echo(f"ncagen: {text}", err=True)
            case RowsFound(rows):
                self._bar.update(rows)
            case RowsMade(rows, candidates):
                self.made += rows
                self._tokens += rows * self._seq_len
                self.tried += candidates
                self._show()
                self._bar.update(rows)
            case Finished(manifest):
                self.bytes += sum(file.bytes for file in manifest.files.values())
            case NodesChanged(nodes):
                self._nodes = f"{nodes} node{'' if nodes == 1 else 's'}, "
                self._show()
                if nodes == 0:
                    click.echo("no node of the cluster is left: waiting for one", err=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def summary(self) -> str:
        """One line for the rows that were made."""
        seconds = self.seconds
        speed = self._tokens / seconds / 1e6
        return f"made {self.made:,} rows from {self.tried:,} candidates in {seconds:.1f} s ({speed:.2f}M tokens/s)"

    def _show(self) -> None:
        speed = self._tokens / self.seconds
        made, tried = self.made - self._before[0], self.tried - self._before[1]
        share = made / tried if tried else 0.0
        self._bar.set_postfix_str(f"{self._nodes}{speed / 1e6:.2f}M tokens/s, {share:.1%} kept", refresh=False)


def _result(out: str, manifest: Manifest, rows: int, meter: Meter) -> dict:
    """What --json prints."""
    return {
        "folder": out,
        "dataset_sha256": manifest.dataset_sha256,
        "rows": rows,
        "rows_made": meter.made,
        "candidates": meter.tried,
        "bytes": meter.bytes,
        "seconds": round(meter.seconds, 3),
    }
