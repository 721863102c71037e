"""ncagen build."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

import ncagen
from ncagen.commands.build_runner import run_build
from ncagen.commands.corpus import with_corpus
from ncagen.commands.experiment import experiment_plan, run_experiment
from ncagen.commands.spec_options import settings_of, spec_options
from ncagen.commands.units import duration, size
from ncagen.cores import cores
from ncagen.dataset.experiment import ExperimentSpec
from ncagen.dataset.folder import Folder
from ncagen.dataset.shard import FORMATS
from ncagen.errors import NcagenError, SpecError
from ncagen.spec import BuildSpec


@click.command()
@click.argument("spec_file", metavar="[SPEC.toml]", required=False, type=click.Path(path_type=Path))
@spec_options
@click.option(
    "--out", help="The dataset's folder, or a URL such as s3://bucket/name; made if missing, resumed if begun."
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "auto"]),
    default="cpu",
    help="What runs the automata; cuda: every GPU.  [cpu]",
)
@click.option("--ray", metavar="WHERE", help="Build on a Ray cluster: auto (this machine's), local, or HOST:PORT.")
@click.option("--gpus-per-worker", type=click.FloatRange(0, min_open=True), help="With --ray and --device cuda.  [1]")
@click.option("--plan", "only_plan", is_flag=True, help="Print what the build will take, and build nothing.")
@click.option("--nodes", type=click.IntRange(min=1), help="With --plan: machines like this one.  [1]")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def build(spec_file, out, device, ray, gpus_per_worker, only_plan, nodes, quiet, workers, as_json, **flags):
    """Make a dataset, or what is missing of it, from flags or from a TOML file.

    A TOML file with a table [arm.NAME] for each of several datasets makes them all in one run: docs/experiments.md.

    \b
    ncagen build --tokens 164M --band high --out data/nca-high
    ncagen build manifests/paper-high-164M.toml --out data/nca-high
    ncagen build --tokens 10B --band high --out s3://bucket/nca-high --ray auto
    ncagen build manifests/arms-smoke.toml --out data/arms
    """
    settings = settings_of(spec_file, flags)
    file_format = settings.pop("format", "parquet")
    out = out or (str(settings["out"]) if "out" in settings else None)
    if file_format not in FORMATS:
        raise SpecError(f"format {file_format!r} is not known: use {' or '.join(FORMATS)}")
    from ncagen.factory.experiment import experiment_from_settings, is_experiment
    from ncagen.factory.settings import from_settings

    spec: BuildSpec | ExperimentSpec
    _check_together(device, ray, gpus_per_worker, only_plan, nodes)
    quiet = quiet or as_json
    if out is None and not only_plan:
        raise SpecError("no folder is given: use --out, as in --out data/nca-high")
    prepare = partial(with_corpus, quiet=quiet)
    spec = experiment_from_settings(settings, prepare) if is_experiment(settings) else from_settings(settings, prepare)
    planned = file_format, workers or cores(), nodes or 1, out, as_json
    options: dict = {"file_format": file_format, "workers": workers, "device": device, "ray": ray}
    options["gpus_per_worker"] = gpus_per_worker or 1.0
    if isinstance(spec, ExperimentSpec):
        if only_plan:
            click.echo(experiment_plan(spec, *planned))
        else:
            run_experiment(partial(ncagen.build_experiment, spec, out, **options), spec, out, quiet, as_json)
    elif only_plan:
        click.echo(_plan(spec, *planned))
    else:
        run_build(partial(ncagen.build, spec, out, **options), spec, out, quiet, as_json)
    return 0


def _plan(spec: BuildSpec, file_format: str, workers: int, nodes: int, out: str | None, as_json: bool) -> str:
    """What a build will take, as text or JSON. Raises NcagenError for a folder that holds something else."""
    from ncagen.factory.claim import check, check_size
    from ncagen.factory.make_shard import BuildJob
    from ncagen.factory.plan import pilot, plan, warnings

    if out is not None:
        check(BuildJob(spec, file_format, Folder(out)))
    check_size(spec)
    planned = plan(spec, workers, nodes, pilot(spec, file_format))
    if not as_json:
        for text in warnings(spec):
            click.echo(f"ncagen: {text}", err=True)
    return json.dumps(asdict(planned), indent=1) if as_json else _plan_text(spec, file_format, planned)


def _check_together(device: str, ray: str | None, gpus_per_worker: float | None, plan: bool, nodes: int | None) -> None:
    """Refuses flags that say nothing without others."""
    if gpus_per_worker is not None and (ray is None or device == "cpu"):
        raise NcagenError("--gpus-per-worker is for GPU workers on a cluster: use it with --ray and --device cuda")
    if nodes is not None and not plan:
        raise NcagenError("--nodes is for --plan: to build on several machines, use --ray")
    if plan and (ray is not None or device != "cpu"):
        raise NcagenError("--plan measures this machine's cores: leave --ray and --device out, and give --nodes")


def _plan_text(spec: BuildSpec, file_format: str, plan) -> str:
    machines = f"{plan.workers} workers of this machine"
    if plan.nodes > 1:
        machines = f"{plan.nodes} machines like this one, {plan.workers} workers each"
    shares = ", ".join(f"{name} {share:.1%}" for name, share in plan.shares.items())
    accepted = ", ".join(f"{name} {share:.1%}" for name, share in plan.acceptance.items())
    return "\n".join(
        [
            f"rows         {plan.rows:,} of {plan.row_tokens} tokens",
            f"shards       {plan.shards:,} ({plan.files:,} {file_format} files)",
            f"candidates   about {plan.candidates:,} (kept: {accepted})",
            f"bytes        about {size(plan.bytes)}",
            f"time         about {duration(plan.seconds)} on {machines}",
            f"core-hours   about {plan.core_hours:,.{2 if plan.core_hours < 10 else 0}f}",
            *([] if plan.noise_ratio is None else [f"bands        {shares}; pure noise scores {plan.noise_ratio:.3f}"]),
        ]
    )
