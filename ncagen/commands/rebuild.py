"""ncagen rebuild."""

from functools import partial
from pathlib import Path

import click

import ncagen
from ncagen.cores import cores
from ncagen.dataset.experiment import find_experiment
from ncagen.dataset.receipt import read_receipt
from ncagen.dataset.shard import FORMATS


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, help="The dataset's folder or URL, as for `build`.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="[the format of the dataset in FILE]")
@click.option("--workers", type=click.IntRange(min=1), default=cores, help="[one per core]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def rebuild(file, out, file_format, workers, as_json, quiet):
    """Make a dataset again, or what is missing of it, from its receipt or its manifest.json.

    A receipt names the kept candidates, a manifest does not: they are searched for again. Every shard must come out
    with the content hash that FILE says, or is not written. From the experiment.json of an experiment all its datasets
    are made again, and must have the hashes that it says.
    """
    from ncagen.commands.build_runner import run_build
    from ncagen.commands.experiment import run_experiment

    if manifest := find_experiment(file):
        make = partial(ncagen.build_experiment, manifest, out, file_format=file_format or "parquet", workers=workers)
        run_experiment(make, manifest.spec, out, quiet, as_json)
        return 0
    spec = read_receipt(file).manifest.spec
    run_build(partial(ncagen.rebuild, file, out, file_format=file_format, workers=workers), spec, out, quiet, as_json)
    return 0
