"""ncagen corpus."""

import json
from collections.abc import Mapping
from typing import Any

import click

import ncagen
from ncagen.commands.console import progress


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--tokenizer", required=True, help="A Hugging Face tokenizer.json.")
@click.option("--field", default="text", help="Where JSON objects and tables have their text.  [text]")
@click.option("--separator", help="Between the documents of a text file, as in '\\n\\n'.  [one document a file]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
def corpus(files, tokenizer, field, separator, as_json):
    """Prepare text for --source text: drop exact duplicates, tokenize, store by hash.

    FILES are text, JSON Lines or Parquet, also .gz or .zst, in this order. The corpus goes to $NCAGEN_CORPORA/SHA256
    ($XDG_CACHE_HOME/ncagen/corpora without it). `ncagen build --source text --files ...` does the same where it is
    missing.

    \b
    ncagen corpus 'c4/*.json.gz' --tokenizer tokenizer.json
    """
    with progress(None, "characters", as_json) as bar:
        found = ncagen.prepare_corpus(files, tokenizer, field=field, separator=separator, progress=bar.update)
    about = found.about
    if as_json:
        values = {name: getattr(about, name) for name in ("documents", "duplicates", "empty", "tokens", "vocabulary")}
        click.echo(json.dumps({"sha256": found.sha256, "folder": str(found.folder), **values}, indent=1))
        return 0
    dropped = f"{about.duplicates:,} duplicates and {about.empty:,} empty ones dropped"
    click.echo(f"{about.documents:,} documents ({dropped}), {about.tokens:,} tokens of {about.vocabulary:,} ids")
    click.echo(f"corpus {found.sha256}")
    return 0


def with_corpus(settings: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Settings of a build in which a corpus that they name by its files is prepared, and stands by its hash."""
    from ncagen.factory import text_corpus

    if not text_corpus.names_files(settings):
        return dict(settings)
    with progress(None, "characters", quiet) as bar:
        return text_corpus.with_corpus(settings, bar.update)
