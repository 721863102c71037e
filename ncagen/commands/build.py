"""ncagen build."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from ncagen.commands.said import COMPILING, waiting
from ncagen.commands.settings import settings_of, spec_options
from ncagen.dataset.shard import FORMATS
from ncagen.spec import Spec, SpecError, from_settings


@click.command()
@click.argument("order", required=False, type=click.Path(path_type=Path))
@spec_options
@click.option("--out", type=click.Path(path_type=Path), help="The dataset's folder; made if missing, resumed if begun.")
@click.option("--plan", "only_plan", is_flag=True, help="Print what the build will take, and build nothing.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def build(order, out, only_plan, quiet, workers, as_json, **flags):
    """Make a dataset, or what is missing of it, from flags or from a TOML ORDER.

    \b
    ncagen build --tokens 164M --band high --out data/nca-high
    ncagen build manifests/paper-high-164M.toml --out data/nca-high
    """
    settings = settings_of(order, flags)
    storage = settings.pop("format", "parquet")
    out = out or (Path(str(settings["out"])) if "out" in settings else None)
    if storage not in FORMATS:
        raise SpecError(f"format {storage!r} is not known: use {' or '.join(FORMATS)}")
    spec = from_settings(settings)
    if out is None and not only_plan:
        raise SpecError("no folder is given: use --out, as in --out data/nca-high")
    quiet = quiet or as_json
    from ncagen.commands.making import make_dataset
    from ncagen.factory.fleet import check
    from ncagen.factory.plan import pilot
    from ncagen.factory.plan import plan as make_plan
    from ncagen.factory.work import Order

    ordered = None if out is None else Order(spec, storage, out)
    if ordered is not None:
        check(ordered)
    with waiting(COMPILING, quiet):
        tried = pilot(spec, storage)
    planned = make_plan(spec, workers, tried)
    if only_plan or ordered is None:
        click.echo(json.dumps(asdict(planned), indent=1) if as_json else _plan_text(spec, storage, planned))
        return 0
    make_dataset(ordered, workers, quiet, as_json)
    return 0


def _plan_text(spec: Spec, storage: str, plan) -> str:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in plan.shares.items())
    accepted = ", ".join(f"{name} {share:.1%}" for name, share in plan.acceptance.items())
    return "\n".join(
        [
            f"rows         {plan.rows:,} of {spec.row_tokens} tokens",
            f"shards       {plan.shards:,} ({plan.files:,} {storage} files)",
            f"candidates   about {plan.candidates:,} (kept: {accepted})",
            f"bytes        about {plan.bytes / 1e6:,.0f} MB",
            f"time         about {_duration(plan.seconds)} on {plan.workers} workers of this machine",
            f"bands        {shares}; pure noise scores {plan.noise_ratio:.3f}",
        ]
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
