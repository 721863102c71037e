"""ncagen audit."""

import json
from pathlib import Path

import click

from ncagen.audit.tokenfiles import DTYPES
from ncagen.commands.arguments import folder_of
from ncagen.commands.console import WRONG, progress
from ncagen.cores import cores
from ncagen.errors import NcagenError

SAMPLE = 20_000
FLAT = ("states", "grid", "patch", "no_delimiters", "stride", "row_tokens", "dtype", "validation")


@click.command()
@click.argument("place", metavar="PATH_OR_REPO")
@click.option("--revision", help="Of a dataset on the Hub: a branch, a tag or a commit.  [main]")
@click.option("--band", help="Of a dataset: this band alone.")
@click.option("--split", help="Of a dataset: this split alone.")
@click.option("--validation", type=click.Path(path_type=Path), help="Of a file: the validation file that goes with it.")
@click.option("--states", type=int, help="Of files: states of a cell.  [10]")
@click.option("--grid", help="Of files: cells of the grid: a side, or height x width as in 12x16.  [12]")
@click.option("--patch", type=int, help="Of files: cells along a side of a patch.  [2]")
@click.option("--stride", type=click.IntRange(min=1), help="Of files: steps between grids.  [1]")
@click.option("--no-delimiters", is_flag=True, default=None, help="Of files: grids follow each other directly.")
@click.option("--row-tokens", type=click.IntRange(min=2), help="Of files: tokens of a row.  [found, if possible]")
@click.option("--dtype", type=click.Choice(DTYPES), help="Of files without a header: the tokens' type.  [uint16]")
@click.option("--rows", default=str(SAMPLE), help=f"Rows of each part to look at, evenly spaced, or all.  [{SAMPLE}]")
@click.option("--workers", type=click.IntRange(min=1), default=cores, help="Threads.  [one per core]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
def audit(place, revision, band, split, rows, workers, as_json, **flags):
    """Check any file of NCA tokens, ours or others'.

    Looks at alignment, noise, rules, leakage, duplicates and complexity.

    Rows of another source than automata are checked as plain tokens: ids, leakage, duplicates, ratio, n-grams.

    PATH_OR_REPO is a dataset's folder or its name on the Hub, a flat file of tokens (.bin, .npy), or a folder with
    train*.bin and val*.bin. Status 1 if a check is bad.

    \b
    ncagen audit data/nca-high
    ncagen audit train.bin --validation val.bin --states 10 --grid 12 --patch 2
    """
    most = _most(rows)
    source = _source(place, revision, band, split, {name: value for name, value in flags.items() if value is not None})
    from ncagen.audit import checks, controls, figures, page, token_checks, token_figures
    from ncagen.audit.parts import AuditedTokens
    from ncagen.deflate.lengths import gzip_length

    rows = sum(len(figures.chosen_rows(part.rows, most)) for part in source.parts)
    if isinstance(source, AuditedTokens):
        with progress(rows, "rows", as_json) as bar:
            seen = token_figures.look(source, most, bar.update, workers)
        results = token_checks.check(seen, workers)
        shown = page.token_dict(seen, results) if as_json else page.token_page(seen, results)
    else:
        gzip_length(bytes(40))  # compiles before the bar is drawn
        with progress(rows, "rows", as_json) as bar:
            found = figures.look(source, most, bar.update, workers)
        results = controls.intended(source.control, checks.check(found, workers))
        shown = page.to_dict(found, results) if as_json else page.page(found, results)
    click.echo(json.dumps(shown, indent=1) if as_json else shown)
    return WRONG if page.verdict(results) == checks.BAD else 0


def _source(place: str, revision: str | None, band: str | None, split: str | None, flags: dict):
    """What is to be looked at, from the flags that fit it. Raises NcagenError for those that do not."""
    from ncagen.audit.parts import is_dataset, of_dataset, of_files
    from ncagen.audit.shape import Shape, grid_of

    if is_dataset(place):
        if flags:
            raise NcagenError(
                f"--{next(iter(flags)).replace('_', '-')} is for files: {place} has a manifest that says it"
            )
        return of_dataset(folder_of(place, revision), band, split)
    for name, value in (("band", band), ("split", split), ("revision", revision)):
        if value:
            raise NcagenError(f"--{name} is for datasets: {place} has no manifest")
    shape = {name: flags[name] for name in ("states", "patch", "stride", "row_tokens") if name in flags}
    if "grid" in flags:
        shape |= grid_of(flags["grid"])
    shaped = Shape(**shape, delimiters=not flags.get("no_delimiters"))
    return of_files(place, flags.get("validation"), shaped, flags.get("dtype", DTYPES[0]))


def _most(text: str) -> int | None:
    """A number of rows, or None for all."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise NcagenError(f"--rows {text!r} is not a number of rows: use 1 or more, or all")
    return int(text)
