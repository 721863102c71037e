"""ncagen receipt."""

from pathlib import Path

import click

from ncagen.commands.places import Place
from ncagen.commands.said import progress
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.receipt import SUFFIX, write_receipt
from ncagen.errors import NcagenError


@click.command()
@click.argument("folder", type=Place())
@click.option("--out", type=click.Path(path_type=Path), help=f"The file.  [FOLDER{SUFFIX}]")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def receipt(folder, out, quiet):
    """Put a finished dataset into one small file, which `ncagen rebuild` turns back into its shards.

    \b
    ncagen receipt data/nca-high
    ncagen rebuild data/nca-high.receipt.json.zst --out data/again
    """
    if out is None and isinstance(folder, str):
        raise NcagenError(f"{folder} is not on this machine: use --out with the name of a file")
    out = out or folder.absolute().with_name(folder.absolute().name + SUFFIX)
    if out.is_dir():
        raise NcagenError(f"{out} is a folder: use --out with the name of a file")
    rows = read_manifest(folder).rows
    with progress(rows, "rows", quiet) as bar:
        size = write_receipt(folder, out, bar.update)
    if not quiet:
        click.echo(f"{out}: {rows:,} rows in {size / 1e3:,.1f} KB")
    return 0
