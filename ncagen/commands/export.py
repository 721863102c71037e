"""ncagen export."""

import json
import time
from pathlib import Path

import click

from ncagen.commands.arguments import dataset_argument, folder_of
from ncagen.commands.console import count, progress
from ncagen.export.engine import write
from ncagen.export.formats import FORMATS, plan, settings


@click.command()
@dataset_argument
@click.option(
    "--to",
    required=True,
    type=click.Choice(list(FORMATS), case_sensitive=False),
    help="The trainer or loader it is for.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder; resumed if begun.")
@click.option("--band", help="Which band; may be left out where there is one.")
@click.option("--length", type=int, help="Tokens kept of each row, from its start.  [all]")
@click.option("--token-offset", type=click.IntRange(min=0), default=0, help="Added to every id.  [0]")
@click.option("--zstd/--no-zstd", default=None, help="Compress, for jsonl, hf and mds.  [jsonl, hf: on, mds: off]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def export(folder, revision, to, out, band, length, token_offset, zstd, as_json, quiet):
    """Write a band of a dataset in the files of another trainer.

    Exports all splits of the band, and prints the trainer's settings that go with the files.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    \b
    ncagen export data/nca-high --to nanogpt --out data/nca
    ncagen export data/nca-high --to llmc --length 1024 --out data/nca-llmc
    """
    planned = plan(folder_of(folder, revision), band, to, length, token_offset, zstd)
    rows = {split: planned.row_count(split) for split in planned.splits}
    begun = time.monotonic()
    with progress(sum(rows.values()), "rows", quiet or as_json) as bar:
        files, wrote = write(planned, out, bar.update)
    lines = settings(planned, out)
    size, seconds = sum(file.bytes for file in files.values()), time.monotonic() - begun
    if as_json:
        result = {
            "folder": str(out),
            "dataset_sha256": planned.manifest.dataset_sha256,
            "rows": rows,
            "length": planned.length,
            "vocabulary": planned.vocabulary,
            "dtype": planned.dtype.name,
            "files": len(files),
            "bytes": size,
            "seconds": round(seconds, 3),
            "wrote": wrote,
            "settings": lines,
        }
        click.echo(json.dumps(result, indent=1))
    elif not quiet:
        total = sum(rows.values())
        done = f"exported {total:,} rows of {planned.length} tokens in {seconds:.1f} s"
        click.echo(done if wrote else f"nothing to do: {out} is complete")
        click.echo(f"{out}: {total:,} rows, {count(list(files), 'file')}, {size / 1e6:,.1f} MB\n")
        click.echo("\n".join(lines))
    return 0
