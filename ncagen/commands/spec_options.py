"""The flags that a build spec is made of, which `build` and `bench` share: those of the build, and the sources' own."""

from pathlib import Path

import click

from ncagen.dataset.shard import FORMATS
from ncagen.errors import SpecError
from ncagen.factory.settings import SOURCES, Option, read_spec_file, source_options
from ncagen.selection import BANDS, DOMAINS


def spec_options(command):
    """The flags that a build spec is made of, for `build` and `bench`."""
    options = [
        click.option("--tokens", help="Training tokens in each band, such as 164M (K, M, B, T)."),
        click.option(
            "--band",
            multiple=True,
            help=f"{', '.join(f'{n} ({lo:g}-{hi:g})' for n, (lo, hi) in BANDS.items())} or limits such as 0.35-0.45;"
            " repeatable, all are filled in one pass.",
        ),
        click.option(
            "--band-normalised",
            multiple=True,
            help="Limits as shares of what uniform noise of the same alphabet scores, such as 0.75-0.95; repeatable.",
        ),
        click.option("--for", "domain", help=f"The paper's best band for {', '.join(DOMAINS)}."),
        click.option("--validation", help="Validation tokens in each band, from other rules; 0 for none.  [1M]"),
        click.option("--test", help="Test tokens in each band, from other rules again.  [0]"),
        click.option("--seed", type=int, help="Any number below 2**32.  [0]"),
        click.option("--source", help=f"Where rows come from: {', '.join(SOURCES)}.  [nca]"),
        click.option("--seq-len", help="Training tokens of a row, 64 to 128k (k is 1024).  [1024]"),
        click.option("--rows-per-shard", type=int, help="[4096, fewer for rows over 16k]"),
        *map(_flag, source_options()),
        click.option("--format", "file_format", type=click.Choice(FORMATS), help="[parquet]"),
        click.option("--workers", type=click.IntRange(min=1), help="Shards at the same time.  [one per core]"),
        click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _flag(option: Option):
    """A source's option as a flag of the command line."""
    name = option.name.replace("_", "-")
    if option.kind is bool:
        return click.option(f"--{name}/--no-{name}", default=None, help=option.doc)
    return click.option(f"--{name}", type=option.kind, help=option.doc)


def settings_of(spec_file: Path | None, flags: dict) -> dict:
    """What was asked for, in a TOML file or by flags; `format` and `out` are among it."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    for flag, setting in (("domain", "for"), ("file_format", "format")):
        if flag in given:
            given[setting] = given.pop(flag)
    for name in ("band", "band_normalised"):
        if name in given:
            given[name] = list(given[name])
    if spec_file is None:
        return given
    settings = read_spec_file(spec_file)
    for name in given:
        if name != "format":
            flag = f"--{name.replace('_', '-')}"
            raise SpecError(
                f"{flag} and the spec file {str(spec_file)!r} are both given: use one, or edit a copy of the file"
            )
    return settings | given
