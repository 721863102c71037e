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
from ncagen.commands.experiment import show_experiment
from ncagen.commands.saving import save
from ncagen.dataset.experiment_files import IsExperiment
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.selection import ratio_counts


@click.command()
@dataset_argument
@click.option("--row", type=int, help="Which row to draw.  [0]")
@click.option("--grids", is_flag=True, help="Draw the row in a pipe or a file, too.")
@click.option("--split", help="[train, where it has rows]")
@click.option("--band", help="Which band; the first if left out.")
@click.option("--animate", is_flag=True, help="Play the row in place, without the figures.")
@click.option("--png", type=click.Path(path_type=Path), help="Write a picture of the row instead; needs Pillow.")
@click.option(
    "--gif", type=click.Path(path_type=Path), help="Write a picture that plays the row instead; needs Pillow."
)
@click.option("--rows", type=int, help="Rows of the PNG, from --row on, a line for each.  [1]")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON, and no drawing.")
def show(folder, revision, row, grids, split, band, animate, png, gif, rows, as_json):
    """Print a dataset's figures, and draw one of its rows in colour.

    A pipe or a file gets the figures alone, unless --row or --grids asks for the row. Of an experiment, print its
    datasets.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    \b
    ncagen show data/nca-high --animate
    ncagen show ada/nca-high --row 7
    ncagen show data/nca-high | grep sha256
    ncagen show data/nca-high --rows 12 --png rows.png
    """
    from ncagen.view import terminal

    folder = folder_of(folder, revision)
    try:
        manifest = read_manifest(folder)
    except IsExperiment:
        if animate or grids or any(flag is not None for flag in (row, band, png, gif, rows)):
            raise
        show_experiment(folder, as_json)
        return 0
    if as_json:
        click.echo(json.dumps(terminal.summary(manifest), indent=1))
        return 0
    dataset = Dataset(folder, split or manifest.first_split, band or manifest.spec.bands[0].name)
    first = _row(dataset, row)
    if png or gif:
        _write(dataset, first, rows, png, gif)
    elif rows is not None:
        raise NcagenError("--rows is for a picture: use it with --png, as in --rows 12 --png rows.png")
    elif animate:
        _play(dataset, first)
    else:
        _print(dataset, first, sys.stdout.isatty() or grids or row is not None)
    return 0


def _row(dataset: Dataset, row: int | None) -> int:
    """The row's number, counted from the end if negative. Raises NcagenError for one that there is not."""
    if not -len(dataset) <= (row or 0) < len(dataset):
        raise NcagenError(f"row {row} is out of range: use 0 to {len(dataset) - 1}")
    return (row or 0) % len(dataset)


def _print(dataset: Dataset, row: int, draw: bool) -> None:
    """The figures, the ratios of some rows, and with `draw` one row's grids."""
    from ncagen.view import terminal
    from ncagen.view.grids import grids_of, still

    manifest, shown = dataset.manifest, dataset[row]
    figures = terminal.figures(manifest)
    wide = max(len(name) for name, _ in figures)
    for name, value in figures:
        click.echo(f"{name:{wide}}  {value}")
    if measure := manifest.measure:
        name = measure.ratio.replace("_", " ")
        click.echo(f"\n{name}s of the first shard's rows ({dataset.band} {dataset.split})")
        click.echo("\n".join(terminal.histogram(ratio_counts(dataset.shard(0)[measure.ratio]))))
    column = measure.column if measure else None
    if lines := terminal.facts(dataset.shard(0).columns, column):
        click.echo("\n" + "\n".join(lines))
    if not draw:
        return
    click.echo(f"\n{_title(dataset, row, shown)}\n")
    width = shutil.get_terminal_size((80, 24)).columns
    drawn = grids_of(manifest)
    if drawn is None:
        click.echo(terminal.row_text(shown["input_ids"], width))
    else:
        click.echo(terminal.trajectory(still(drawn), shown["input_ids"], width, _colour()), color=_colour())


def _play(dataset: Dataset, row: int) -> None:
    """One row's grids in place, or below each other where this is no terminal."""
    from ncagen.view import animation, terminal
    from ncagen.view.grids import drawable, moving, still

    grids, shown = drawable(dataset.manifest, "play"), dataset[row]
    if not sys.stdout.isatty():
        click.echo(f"{_title(dataset, row, shown)}\n")
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo(terminal.trajectory(still(grids), shown["input_ids"], width, colour=False))
        return
    drawn = moving(grids)
    texts = terminal.frames(drawn, shown["input_ids"], _colour())
    size = shutil.get_terminal_size((80, 24))
    animation.check_room(size.columns, size.lines, drawn.width, texts[0].count("\n") + 1)
    click.echo(f"{_title(dataset, row, shown)}\n")
    animation.play(texts, lambda text: click.echo(text, nl=False, color=True))


def _write(dataset: Dataset, first: int, rows: int | None, png: Path | None, gif: Path | None) -> None:
    """Pictures, and a line for each on what it shows."""
    from ncagen.view import picture
    from ncagen.view.grids import drawable, moving, still

    left = len(dataset) - first
    if rows is not None and not (png and 1 <= rows <= left):
        why = f"is out of range: use 1 to {left}" if png else "is for --png: a GIF shows one row"
        raise NcagenError(f"--rows {rows} {why}")
    drawn, numbers = drawable(dataset.manifest, "draw"), np.arange(first, first + (rows or 1))
    ids = dataset.rows(numbers, columns=("input_ids",))["input_ids"]
    if png:
        file = io.BytesIO()
        picture.png(still(drawn), ids, file)
        save(png, file.getvalue())
        names = f"row {first}" if len(ids) == 1 else f"rows {first} to {numbers[-1]}"
        cut = len(ids) > 1 and drawn.frames > picture.STRIP_FRAMES
        click.echo(f"{png}: {names} ({dataset.band} {dataset.split})" + cut * f", {picture.STRIP_FRAMES} grids of each")
    if gif:
        file = io.BytesIO()
        picture.gif(moving(drawn), ids[0], file)
        save(gif, file.getvalue())
        click.echo(f"{gif}: row {first} ({dataset.band} {dataset.split})")


def _title(dataset: Dataset, row: int, shown: dict[str, np.ndarray]) -> str:
    facts = {name: value for name, value in shown.items() if name != "input_ids"}
    text = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in facts.items())
    return f"row {row} ({dataset.band} {dataset.split}): {text}"


def _short(value: np.ndarray | np.generic) -> str:
    """A stored value for people."""
    return f"{value:.3f}" if isinstance(value, np.floating) else str(value)


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
