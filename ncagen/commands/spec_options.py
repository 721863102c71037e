"""The flags that a spec is made of, which `build` and `bench` share."""

from pathlib import Path

import click

from ncagen.dataset.shard import FORMATS
from ncagen.spec import BANDS, DOMAINS, PRESETS, STARTS, SpecError, read_order


def spec_options(command):
    """The flags that a spec is made of, for `build` and `bench`."""
    options = [
        click.option("--tokens", help="Training tokens in each band, such as 164M (K, M, B, T)."),
        click.option(
            "--band",
            multiple=True,
            help=f"{', '.join(f'{n} ({lo:g}-{hi:g})' for n, (lo, hi) in BANDS.items())} or limits such as 0.35-0.45;"
            " repeatable, all are filled in one pass.",
        ),
        click.option("--for", "domain", help=f"The paper's best band for {', '.join(DOMAINS)}."),
        click.option("--validation", help="Validation tokens in each band, from other rules; 0 for none.  [1M]"),
        click.option("--seed", type=int, help="Any number below 2**32.  [0]"),
        click.option("--preset", help=f"{' or '.join(PRESETS)}: what the authors' code ran, or what the paper states."),
        click.option("--rows-per-shard", type=int, help="[4096]"),
        click.option("--states", type=int, help="States of a cell, 2 to 256.  [10]"),
        click.option("--grid", type=int, help="Cells along a side of the grid.  [12]"),
        click.option("--patch", type=int, help="Cells along a side of a patch, which is one token.  [2]"),
        click.option("--seq-len", help="Training tokens of a row, 1k to 16k (k is 1024).  [1024]"),
        click.option("--warmup", type=int, help="Steps before the first recorded grid.  [10]"),
        click.option("--stride", type=int, help="Steps between recorded grids.  [1]"),
        click.option("--temperature", type=float, help="0 to 1.  [0.0001]"),
        click.option("--identity-bias", type=float, help="Added to the logit of a cell's own state.  [0]"),
        click.option("--start", help=f"Start cells: {' or '.join(STARTS)}.  [categorical]"),
        click.option(
            "--channel-wrap/--no-channel-wrap", default=None, help="The released code's wrapped channels.  [on]"
        ),
        click.option("--trajectories-per-rule", type=int, help="Neighbouring candidates that share a rule.  [1]"),
        click.option("--format", "storage", type=click.Choice(FORMATS), help="[parquet]"),
        click.option("--workers", type=click.IntRange(min=1), help="Shards at the same time.  [one per core]"),
        click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def settings_of(order: Path | None, flags: dict) -> dict:
    """What was asked for, from an order or from flags; `format` and `out` ride along."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    for flag, setting in (("domain", "for"), ("storage", "format")):
        if flag in given:
            given[setting] = given.pop(flag)
    if "band" in given:
        given["band"] = list(given["band"])
    if order is None:
        return given
    settings = read_order(order)
    for name in given:
        if name != "format":
            flag = f"--{name.replace('_', '-')}"
            raise SpecError(f"{flag} and the order {str(order)!r} are both given: use one, or edit a copy of the order")
    return settings | given
