"""ncagen receipt."""

from pathlib import Path

import click

from ncagen.commands.arguments import dataset_argument, folder_of
from ncagen.commands.console import progress
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.receipt import SUFFIX, write_receipt
from ncagen.errors import NcagenError
from ncagen.opening import is_on_hub


@click.command()
@dataset_argument
@click.option("--out", type=click.Path(path_type=Path), help=f"The file.  [FOLDER{SUFFIX}]")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def receipt(folder, revision, out, quiet):
    """Put a finished dataset into one small file.

    `ncagen rebuild` turns the file back into the dataset's shards.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    \b
    ncagen receipt data/nca-high
    ncagen rebuild data/nca-high.receipt.json.zst --out data/again
    """
    if out is None and (is_on_hub(folder) or "://" in folder):
        raise NcagenError(f"{folder} is not on this machine: use --out with the name of a file")
    out = out or Path(folder).absolute().with_name(Path(folder).absolute().name + SUFFIX)
    if out.is_dir():
        raise NcagenError(f"{out} is a folder: use --out with the name of a file")
    folder = folder_of(folder, revision)
    rows = read_manifest(folder).rows
    with progress(rows, "rows", quiet) as bar:
        size = write_receipt(folder, out, bar.update)
    if not quiet:
        click.echo(f"{out}: {rows:,} rows in {size / 1e3:,.1f} KB")
    return 0
