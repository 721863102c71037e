"""ncagen verify."""

import json
import re

import click

import ncagen
from ncagen.commands.arguments import dataset_argument, folder_of
from ncagen.commands.console import WRONG, count, progress
from ncagen.commands.experiment import verify_experiment
from ncagen.cores import cores
from ncagen.dataset.experiment_files import IsExperiment
from ncagen.dataset.manifest import read_manifest
from ncagen.errors import NcagenError


@click.command()
@dataset_argument
@click.option("--regenerate", metavar="SHARE", help="Rebuild this share of the rows as well and compare: 1% or all.")
@click.option("--workers", type=click.IntRange(min=1), default=cores, help="Shards at the same time.  [one per core]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
def verify(folder, revision, regenerate, workers, as_json, quiet):
    """Check a dataset, or all datasets of an experiment: hashes, rows, bands, tokens.

    Status 0 if all is well, 1 if not.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.
    """
    share = _share(regenerate)
    folder = folder_of(folder, revision)
    try:
        rows = read_manifest(folder).rows
    except IsExperiment:
        return verify_experiment(folder, share, workers, as_json, quiet)
    with progress(rows, "rows", quiet or as_json) as bar:
        report = ncagen.verify(folder, share, workers=workers, progress=bar.update)
    good = not report.problems
    if as_json:
        result = {
            "verdict": "ok" if good else "failed",
            "dataset_sha256": report.manifest.dataset_sha256,
            "files": report.files,
            "rows": report.rows,
            "rebuilt": report.rebuilt,
            "listed": report.listed,
            "problems": report.problems,
        }
        click.echo(json.dumps(result, indent=1))
    else:
        for problem in [] if quiet else report.problems:
            click.echo(problem, err=True)
        rebuilt = f", {report.rebuilt:,} rebuilt" if share else ""
        if not report.listed:
            click.echo(f"{folder} may not be listed: whether there are other files in it is not known", err=True)
        counts = f"{report.files} files, {report.rows:,} rows{rebuilt}"
        identity = f"sha256 {report.manifest.dataset_sha256}"
        click.echo(
            f"ok: {folder}: {counts}, {identity}" if good else f"failed: {folder}: {count(report.problems, 'problem')}"
        )
    return 0 if good else WRONG


def _share(text: str | None) -> float:
    """A share of rows from "1%" or "all"."""
    if text is None:
        return 0.0
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)%", text)
    share = 1.0 if text == "all" else float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise NcagenError(f"--regenerate {text!r} is not a share: use 1% or all")
    return share
