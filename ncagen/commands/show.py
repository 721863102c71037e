"""ncagen show."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import click
import numpy as np

from ncagen.commands.arguments import dataset_argument, folder_of
from ncagen.commands.saving import save
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.selection import ratio_counts


@click.command()
@dataset_argument
@click.option("--row", type=int, help="Which row to draw.  [0]")
@click.option("--split", default="train", help="[train]")
@click.option("--band", help="Which band; the first if left out.")
@click.option("--animate", is_flag=True, help="Play the row in place, without the figures.")
@click.option("--png", type=click.Path(path_type=Path), help="Write a picture of the row instead; needs Pillow.")
@click.option(
    "--gif", type=click.Path(path_type=Path), help="Write a picture that plays the row instead; needs Pillow."
)
@click.option("--rows", type=int, help="Rows of the PNG, from --row on, a line for each.  [1]")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON, and no drawing.")
def show(folder, revision, row, split, band, animate, png, gif, rows, as_json):
    """Print a dataset's figures and draw one trajectory in colour.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    \b
    ncagen show data/nca-high --animate
    ncagen show ada/nca-high --row 7
    ncagen show data/nca-high --rows 12 --png rows.png
    """
    from ncagen.view import terminal

    folder = folder_of(folder, revision)
    manifest = read_manifest(folder)
    if as_json:
        click.echo(json.dumps(terminal.summary(manifest), indent=1))
        return 0
    dataset = Dataset(folder, split, band or manifest.spec.bands[0].name)
    first = _row(dataset, row)
    if png or gif:
        _write(dataset, first, rows, png, gif)
    elif rows is not None:
        raise NcagenError("--rows is for a picture: use it with --png, as in --rows 12 --png rows.png")
    elif animate:
        _play(dataset, first)
    else:
        _print(dataset, first)
    return 0


def _row(dataset: Dataset, row: int | None) -> int:
    """The row's number, counted from the end if negative. Raises NcagenError for one that there is not."""
    if not -len(dataset) <= (row or 0) < len(dataset):
        raise NcagenError(f"row {row} is out of range: use 0 to {len(dataset) - 1}")
    return (row or 0) % len(dataset)


def _print(dataset: Dataset, row: int) -> None:
    """The figures, the ratios of some rows, and one row's grids."""
    from ncagen.view import terminal

    manifest, shown = dataset.manifest, dataset[row]
    figures = terminal.figures(manifest)
    wide = max(len(name) for name, _ in figures)
    for name, value in figures:
        click.echo(f"{name:{wide}}  {value}")
    click.echo(f"\ngzip ratios of the first shard's rows ({dataset.band} {dataset.split})")
    click.echo("\n".join(terminal.histogram(ratio_counts(dataset.shard(0).gzip_ratio))))
    click.echo(f"\n{_title(dataset, row, shown)}\n")
    width = shutil.get_terminal_size((80, 24)).columns
    click.echo(terminal.trajectory(manifest.spec, shown["input_ids"], width, _colour()), color=_colour())


def _play(dataset: Dataset, row: int) -> None:
    """One row's grids in place, or below each other where this is no terminal."""
    from ncagen.view import animation, terminal

    spec, shown = dataset.manifest.spec, dataset[row]
    if not sys.stdout.isatty():
        click.echo(f"{_title(dataset, row, shown)}\n")
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(terminal.trajectory(spec, shown["input_ids"], width, colour=False))
        return
    texts = terminal.frames(spec, shown["input_ids"], _colour())
    size = shutil.get_terminal_size((80, 24))
    animation.check_room(size.columns, size.lines, spec.grid, texts[0].count("\n") + 1)
    click.echo(f"{_title(dataset, row, shown)}\n")
    animation.play(texts, lambda text: click.echo(text, nl=False, color=True))


def _write(dataset: Dataset, first: int, rows: int | None, png: Path | None, gif: Path | None) -> None:
    """Pictures, and a line for each on what it shows."""
    from ncagen.view import picture

    left = len(dataset) - first
    if rows is not None and not (png and 1 <= rows <= left):
        why = f"is out of range: use 1 to {left}" if png else "is for --png: a GIF shows one row"
        raise NcagenError(f"--rows {rows} {why}")
    spec, numbers = dataset.manifest.spec, np.arange(first, first + (rows or 1))
    ids = dataset.rows(numbers, columns=("input_ids",))["input_ids"]
    if png:
        file = io.BytesIO()
        picture.png(spec, ids, file)
        save(png, file.getvalue())
        names = f"row {first}" if len(ids) == 1 else f"rows {first} to {numbers[-1]}"
        click.echo(f"{png}: {names} ({dataset.band} {dataset.split})")
    if gif:
        file = io.BytesIO()
        picture.gif(spec, ids[0], file)
        save(gif, file.getvalue())
        click.echo(f"{gif}: row {first} ({dataset.band} {dataset.split})")


def _title(dataset: Dataset, row: int, shown: dict[str, np.ndarray]) -> str:
    text = f"candidate {shown['candidate']}, {shown['gzip_bytes']} gzip bytes, ratio {shown['gzip_ratio']:.3f}"
    return f"row {row} ({dataset.band} {dataset.split}): {text}"


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
