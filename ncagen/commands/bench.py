"""ncagen bench."""

import json
from dataclasses import asdict

import click

from ncagen.commands.spec_options import settings_of, spec_options
from ncagen.cores import cores
from ncagen.spec import BuildSpec


@click.command()
@spec_options
@click.option("--rounds", type=click.IntRange(1, 100), default=3, help="[3]")
def bench(rounds, workers, as_json, **flags):
    """Measure this machine: rows written a second times the seconds of one zlib call, and where the time goes.

    Unless flags say otherwise it builds four shards a worker, of the high band for automata, without validation.
    """
    from ncagen.factory.bench import bench as run_bench
    from ncagen.factory.plan import pilot
    from ncagen.factory.settings import from_settings, parse_seq_len, source_named

    workers = workers or cores()
    given = {name: value for name, value in flags.items() if value is not None}
    # Four shards each, so that no worker waits for another; whatever the length of a row, of as many tokens.
    shard = BuildSpec.rows_per_shard * BuildSpec.seq_len
    rows = max(1, shard // parse_seq_len(given.get("seq_len", BuildSpec.seq_len)))
    even = {"tokens": workers * 4 * shard, "validation": "0", "rows_per_shard": rows}
    settings = settings_of(None, {**even, **given})
    file_format = settings.pop("format", "parquet")
    if source_named(settings).needs_band and not settings.keys() & {"band", "band_normalised", "for"}:
        settings["band"] = ["high"]

    spec = from_settings(settings)

    pilot(spec, file_format)  # refuses a band that no candidate reaches
    if not as_json:
        click.echo(f"building {rounds} times {spec.tokens:,} tokens", err=True)
    result = run_bench(spec, file_format, workers, rounds)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
        return 0
    total = sum(result.stage_microseconds.values())
    click.echo(f"rows a second      {result.rows_per_second:,.0f} on {workers} workers ({file_format})")
    click.echo(f"tokens a second    {result.tokens_per_second / 1e6:.2f}M")
    click.echo(f"one zlib call      {result.zlib_microseconds:.1f} us for {result.scored_bytes} bytes at level 9")
    click.echo(f"rows a zlib call   {result.ratio:.2f} (rounds: {', '.join(f'{r:.2f}' for r in result.ratios)})")
    click.echo(f"kept               {result.acceptance:.1%} of the candidates")
    click.echo(f"one candidate      {total:.1f} us of one core:")
    for stage, microseconds in result.stage_microseconds.items():
        click.echo(f"  {stage:16} {microseconds:5.1f} us  {microseconds / total:5.1%}")
    return 0
