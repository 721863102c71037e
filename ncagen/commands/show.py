"""ncagen show."""

import json
import os
import shutil
import sys
from pathlib import Path

import click

from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError


@click.command()
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
