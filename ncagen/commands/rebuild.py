"""ncagen rebuild."""

from pathlib import Path

import click

from ncagen.commands.console import COMPILING, waiting
from ncagen.commands.cores import cores
from ncagen.dataset.folder import Folder
from ncagen.dataset.receipt import read_receipt
from ncagen.dataset.shard import FORMATS


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", required=True, help="The dataset's folder or URL, as for `build`.")
@click.option("--format", "storage", type=click.Choice(FORMATS), help="[the format of the dataset in FILE]")
@click.option("--workers", type=click.IntRange(min=1), default=cores, help="[one per core]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def rebuild(file, out, storage, workers, as_json, quiet):
    """Make a dataset again, or what is missing of it, from its receipt or its manifest.json.

    A receipt names the kept candidates, a manifest does not: they are searched for again. Every shard must come out
    with the content hash that FILE says, or is not written.
    """
    receipt = read_receipt(file)
    from ncagen.commands.build_runner import make_dataset
    from ncagen.factory.claim import check
    from ncagen.factory.make_shard import BuildJob
    from ncagen.factory.plan import pilot, warm_up
    from ncagen.factory.scheduler import threads

    order = BuildJob(receipt.manifest.spec, storage or receipt.manifest.storage, Folder(out), receipt)
    check(order)
    with waiting(COMPILING, quiet or as_json):
        if receipt.gaps is None:
            pilot(order.spec, order.storage)  # refuses a band that no candidate reaches
        else:
            warm_up(order.spec)
    make_dataset(order, lambda report: threads(order, workers, report), quiet, as_json)
    return 0
