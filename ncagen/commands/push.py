"""ncagen push."""

import json
import time

import click

import ncagen
from ncagen.commands.arguments import folder_of
from ncagen.commands.console import count, progress
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.errors import NcagenError
from ncagen.hub.names import check_name


@click.command()
@click.argument("source", metavar="FOLDER_OR_REPO")
@click.argument("name", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="Make the repository private, if it has to be made.")
@click.option("--revision", default="main", help="The branch to publish on; made if missing.  [main]")
@click.option("--from-revision", help="Of a source on the Hub: a branch, a tag or a commit.  [main]")
@click.option("--tag", help="Name the published commit, as in v1.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be sent, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def push(source, name, private, revision, from_revision, tag, dry_run, as_json, quiet):
    """Put a finished dataset on the Hugging Face Hub.

    It becomes the dataset USER/NAME, with a card.

    \b
    ncagen push data/nca-high ada/nca-high --tag v1

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or another user/name on the Hub. Every row is verified
    before. Readers see the old dataset or the new one, never a mix. The same command resumes a push that was stopped
    or failed.
    """
    check_name(name)
    from ncagen.hub.push import Push, check_login, plan
    from ncagen.hub.push import push as push_dataset
    from ncagen.hub.quiet import quiet_library
    from ncagen.hub.retry import RetryPolicy

    begun, silent = time.monotonic(), quiet or as_json
    check_login()
    quiet_library()
    folder = folder_of(source, from_revision)
    manifest = read_manifest(folder)
    _verify(folder, manifest, silent)
    job = Push(folder, name, _card(folder, manifest), revision, private, tag)
    retry = RetryPolicy(name, revision, lambda text: None if silent else click.echo(text, err=True))
    planned, sha = plan(job, retry), None
    if not dry_run:
        with progress(sum(file.bytes for _, file in manifest.hashed_files()), "B", silent) as bar:
            sha = push_dataset(job, retry, bar.update)
    result = {
        "name": name,
        "revision": sha,
        "tag": tag,
        "dataset_sha256": manifest.dataset_sha256,
        "files": len(planned.send),
        "bytes": planned.bytes,
        "deleted": len(planned.delete),
        "seconds": round(time.monotonic() - begun, 3),
    }
    if as_json:
        click.echo(json.dumps(result, indent=1))
    elif not quiet:
        click.echo("\n".join(_said(result, manifest, revision)))
    return 0


def _card(folder: Folder, manifest: Manifest):
    """What the card says beside the manifest; a picture where Pillow, which draws it, is installed."""
    from ncagen.evaluate.cache import largest
    from ncagen.evaluate.report import card as ladder_card
    from ncagen.factory.check_dataset import card_of
    from ncagen.hub.card import CardExtras, Picture, count_ratios
    from ncagen.view.terminal import histogram

    try:
        from ncagen.view.picture import draw
    except ModuleNotFoundError:
        drawn = None
    else:
        drawn = draw(folder, manifest)
    counts = count_ratios(folder, manifest)
    lines = tuple(histogram(counts)) if len(counts) else ()
    yardsticks = tuple(line for ladder in largest(folder, manifest.dataset_sha256) for line in ladder_card(ladder))
    return CardExtras(card_of(manifest.spec), lines, Picture(*drawn) if drawn else None, yardsticks)


def _verify(folder: Folder, manifest: Manifest, silent: bool) -> None:
    """Raises NcagenError unless the folder is what its manifest says."""
    with progress(manifest.rows, "rows", silent) as bar:
        problems = ncagen.verify(folder, progress=bar.update).problems
    if problems:
        more = f" (and {count(problems[1:], 'other problem')})" if problems[1:] else ""
        raise NcagenError(f"{folder} was not pushed: {problems[0]}{more}; the same ncagen build repairs a shard")


def _said(result: dict, manifest: Manifest, branch: str) -> list[str]:
    what = f"{result['files']:,} file{'' if result['files'] == 1 else 's'}, {result['bytes'] / 1e6:,.1f} MB"
    what += f", and to delete {result['deleted']:,}" * bool(result["deleted"])
    if result["revision"] is None:
        return [f"to send to {result['name']} ({branch}): {what}"]
    done = f"sent {what} in {result['seconds']:.1f} s".replace("and to delete", "and deleted")
    identity = f"{result['name']}: {manifest.rows:,} rows, sha256 {manifest.dataset_sha256}"
    identity += f", revision {result['revision']}"
    return [done if result["files"] or result["deleted"] else f"nothing to do: {result['name']} is complete", identity]
