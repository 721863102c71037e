"""What `ncagen build`, `verify` and `show` print for an experiment: plan, progress, result, datasets."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

import ncagen
from ncagen.commands.build_runner import Meter
from ncagen.commands.console import WRONG, count, progress
from ncagen.commands.units import duration, size
from ncagen.dataset.experiment import DatasetSpec, ExperimentManifest, ExperimentSpec, read_experiment
from ncagen.dataset.folder import Folder

if TYPE_CHECKING:
    from ncagen.factory.plan import Plan


def run_experiment(build, spec: ExperimentSpec, out: str, quiet: bool, as_json: bool) -> None:
    """Makes the datasets of an experiment, or what is missing of them. Raises what `ncagen.build_experiment` raises."""
    rows = sum(sum(dataset.rows.values()) for dataset in spec.datasets)
    with progress(rows, "rows", quiet or as_json) as bar:
        meter = Meter(bar, spec.arms[0].spec.seq_len, quiet or as_json)
        manifest = build(progress=meter)
    if as_json:
        click.echo(json.dumps(_result(out, manifest, rows, meter), indent=1))
    elif not quiet:
        click.echo(meter.summary() if meter.made else f"nothing to do: {out} is complete")
        click.echo("\n".join(_lines(out, manifest, rows, meter)))


def experiment_plan(
    spec: ExperimentSpec, file_format: str, workers: int, nodes: int, out: str | None, as_json: bool
) -> str:
    """What an experiment will take, as text or JSON. Raises NcagenError for a folder that holds something else, and
    for an arm that cannot reach its band."""
    from ncagen.factory.build_experiment import ExperimentJob, check_experiment, pilots
    from ncagen.factory.claim import check_size
    from ncagen.factory.plan import plan, warnings

    if out is not None:
        check_experiment(ExperimentJob(spec, file_format, Folder(out)))
    for dataset in spec.datasets:
        check_size(dataset.spec)
    plans = {dataset: plan(dataset.spec, workers, nodes, tried) for dataset, tried in pilots(spec, file_format).items()}
    if as_json:
        kinds = {"arms": spec.arms, "tests": spec.tests}
        listed = {kind: {d.name: asdict(plans[d]) for d in datasets} for kind, datasets in kinds.items()}
        return json.dumps(listed | {"total": _total(plans)}, indent=1)
    for dataset in spec.datasets:
        for text in warnings(dataset.spec):
            click.echo(f"ncagen: {dataset.label}: {text}", err=True)
    return _plan_text(plans, workers, nodes)


def _total(plans: "Mapping[DatasetSpec, Plan]") -> dict[str, Any]:
    """The sums over all datasets, which are built one after another."""
    names = ("rows", "shards", "files", "candidates", "bytes", "seconds", "core_hours")
    return {name: sum(getattr(one, name) for one in plans.values()) for name in names}


def _plan_text(plans: "Mapping[DatasetSpec, Plan]", workers: int, nodes: int) -> str:
    lines = [_plan_line(dataset, one) for dataset, one in plans.items()]
    total = _total(plans)
    machines = f"{workers} workers of this machine"
    if nodes > 1:
        machines = f"{nodes} machines like this one, {workers} workers each"
    hours = total["core_hours"]
    return "\n".join(
        [
            *lines,
            f"rows         {total['rows']:,} in {len(plans)} datasets",
            f"shards       {total['shards']:,} ({total['files']:,} files)",
            f"candidates   about {total['candidates']:,}",
            f"bytes        about {size(total['bytes'])}",
            f"time         about {duration(total['seconds'])} on {machines}",
            f"core-hours   about {hours:,.{2 if hours < 10 else 0}f}",
        ]
    )


def _plan_line(dataset: DatasetSpec, plan: "Plan") -> str:
    kept = ", ".join(f"{name} {share:.1%}" for name, share in plan.acceptance.items())
    return f"{dataset.label}: {_tokens(dataset)}, kept: {kept}, about {duration(plan.seconds)}"


def _tokens(dataset: DatasetSpec) -> str:
    """The tokens of each split in each band, and the length of a row."""
    counts = {split: getattr(dataset.spec, "tokens" if split == "train" else split) for split in dataset.rows}
    *others, last = [f"{count:,} {split}" for split, count in counts.items()]
    listed = " and ".join([", ".join(others), last] if others else [last])
    return f"{listed} tokens in rows of {dataset.spec.seq_len}"


def _lines(out: str, manifest: ExperimentManifest, rows: int, meter: Meter) -> list[str]:
    """A line for each dataset, then one for all of them."""
    place = Folder(out)
    listed = [
        f"{place.within(d.path)}: {sum(d.rows.values()):,} rows, {_ids(manifest, d)},"
        f" sha256 {manifest.made[d.path].dataset_sha256}"
        for d in manifest.spec.datasets
    ]
    counts = f"{len(listed)} datasets, {rows:,} rows, {meter.bytes / 1e6:,.1f} MB, {manifest.vocabulary} ids"
    return [*listed, f"{out}: {counts}, sha256 {manifest.experiment_sha256}"]


def _ids(manifest: ExperimentManifest, dataset: DatasetSpec) -> str:
    """The ids of a dataset's rows in the experiment's vocabulary."""
    first = manifest.offset(dataset)
    return f"ids {first} to {first + manifest.made[dataset.path].vocabulary - 1}"


def _result(out: str, manifest: ExperimentManifest, rows: int, meter: Meter) -> dict:
    """What --json prints."""
    experiment = manifest.experiment
    return {
        "folder": out,
        "experiment_sha256": manifest.experiment_sha256,
        "vocabulary": manifest.vocabulary,
        "arms": experiment["arms"],
        "tests": experiment["tests"],
        "rows": rows,
        "rows_made": meter.made,
        "candidates": meter.tried,
        "bytes": meter.bytes,
        "seconds": round(meter.seconds, 3),
    }


def show_experiment(folder: Folder, as_json: bool) -> None:
    """Prints the datasets of an experiment, of each its splits, bands and ids. Raises NcagenError."""
    manifest = read_experiment(folder)
    if as_json:
        click.echo(json.dumps(json.loads(manifest.document()), indent=1))
        return
    spec = manifest.spec
    click.echo(f"{folder}: experiment {spec.name}, {len(spec.datasets)} datasets, sha256 {manifest.experiment_sha256}")
    click.echo(f"{manifest.vocabulary} ids ({spec.vocabulary}), seed {spec.arms[0].spec.seed}")
    for dataset in spec.datasets:
        of = "" if dataset.of is None else f" of {dataset.of}"
        bands = ", ".join(band.name for band in dataset.spec.bands)
        click.echo(
            f"{dataset.path}{of}: {dataset.spec.source.name}, band {bands}, {_tokens(dataset)},"
            f" {_ids(manifest, dataset)}"
        )


def verify_experiment(folder: Folder, share: float, workers: int, as_json: bool, quiet: bool) -> int:
    """Checks all datasets of an experiment and prints the result. Returns the exit status. Raises NcagenError."""
    spec = read_experiment(folder).spec
    with progress(sum(sum(d.rows.values()) for d in spec.datasets), "rows", quiet or as_json) as bar:
        report = ncagen.verify_experiment(folder, share, workers=workers, progress=bar.update)
    good = not report.problems
    if as_json:
        result = {
            "verdict": "ok" if good else "failed",
            "experiment_sha256": report.manifest.experiment_sha256,
            "datasets": len(spec.datasets),
            "files": report.files,
            "rows": report.rows,
            "rebuilt": report.rebuilt,
            "listed": report.listed,
            "problems": report.problems,
        }
        click.echo(json.dumps(result, indent=1))
        return 0 if good else WRONG
    for problem in [] if quiet else report.problems:
        click.echo(problem, err=True)
    if not report.listed:
        click.echo(f"{folder} may not be listed: whether there are other files in it is not known", err=True)
    rebuilt = f", {report.rebuilt:,} rebuilt" if share else ""
    counts = f"{len(spec.datasets)} datasets, {report.files} files, {report.rows:,} rows{rebuilt}"
    identity = f"sha256 {report.manifest.experiment_sha256}"
    click.echo(
        f"ok: {folder}: {counts}, {identity}" if good else f"failed: {folder}: {count(report.problems, 'problem')}"
    )
    return 0 if good else WRONG
