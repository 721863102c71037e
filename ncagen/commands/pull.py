"""ncagen pull."""

import json
import time
from pathlib import Path

import click

from ncagen.commands.console import progress
from ncagen.hub.names import check_name


@click.command()
@click.argument("name", metavar="USER/NAME")
@click.option("--out", type=click.Path(path_type=Path), help="A folder; resumed if begun.  [the Hub's cache]")
@click.option("--revision", default="main", help="A branch, a tag or a commit.  [main]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def pull(name, out, revision, as_json, quiet):
    """Fetch a dataset from the Hugging Face Hub.

    Fetches all of it, and checks every file against its hash.

    \b
    ncagen pull ada/nca-high --revision v1 --out data/nca-high

    Without --out it goes to the Hub's cache, where ncagen.open("ada/nca-high") and datasets find it without a network.
    """
    check_name(name)
    from ncagen.hub.folders import cached
    from ncagen.hub.pull import pull as pull_dataset
    from ncagen.hub.quiet import quiet_library
    from ncagen.hub.retry import RetryPolicy

    begun, silent = time.monotonic(), quiet or as_json
    quiet_library()
    source = cached(name, revision)
    patience = RetryPolicy(name, revision, lambda text: None if silent else click.echo(text, err=True))
    files = [file for _, file in source.manifest.hashed_files()]
    size = sum(file.bytes for file in files)
    with progress(size, "B", silent) as bar:
        manifest = pull_dataset(source, out, patience, bar.update)
    rows, seconds = manifest.rows, time.monotonic() - begun
    result = {
        "name": name,
        "revision": source.revision,
        "folder": None if out is None else str(out),
        "dataset_sha256": manifest.dataset_sha256,
        "rows": rows,
        "files": len(files),
        "bytes": size,
        "seconds": round(seconds, 3),
    }
    if as_json:
        click.echo(json.dumps(result, indent=1))
    elif not quiet:
        click.echo(f"{len(files):,} files, {size / 1e6:,.1f} MB, are in {out or 'the cache'}")
        click.echo(f"{name}: {rows:,} rows, sha256 {manifest.dataset_sha256}, revision {source.revision}")
    return 0
