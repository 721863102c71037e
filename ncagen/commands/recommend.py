"""ncagen recommend."""

import json

import click

import ncagen
from ncagen.commands.console import progress


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--tokenizer", help="A Hugging Face tokenizer.json: scores tokens too.")
@click.option("--field", default="text", help="Where JSON objects and tables have their text.  [text]")
@click.option("--separator", help="Between the documents of a text file, as in '\\n\\n'.  [one document a file]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
def recommend(files, tokenizer, field, separator, as_json):
    """Score your own text as rows are scored, and propose a band for it.

    The same exact gzip length, over windows of 1,440 UTF-8 bytes and, with --tokenizer, of 360 tokens as little-endian
    int32. FILES are text, JSON Lines or Parquet, also .gz or .zst. The proposal says on what evidence it rests, and
    what it does not show.

    \b
    ncagen recommend 'corpus/*.jsonl.zst'
    ncagen recommend part.parquet --field content --tokenizer tokenizer.json
    """
    with progress(None, "characters", as_json) as bar:
        found = ncagen.recommend(files, tokenizer=tokenizer, field=field, separator=separator, progress=bar.update)
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else str(found))
    return 0
