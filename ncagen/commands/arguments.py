"""The argument for a dataset, the same for every command that reads one: a folder, a URL, or user/name on the Hub."""

import click
from click.shell_completion import CompletionItem

from ncagen.dataset.folder import Folder
from ncagen.errors import NcagenError
from ncagen.opening import is_on_hub, place


def dataset_argument(command):
    """The argument FOLDER, and the option that goes with a name on the Hub."""
    command = click.option("--revision", help="Of a dataset on the Hub: a branch, a tag or a commit.  [main]")(command)
    return click.argument("folder", metavar="FOLDER_OR_REPO", shell_complete=folders)(command)


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Has the shell complete the name of a folder."""
    return [CompletionItem(incomplete, type="dir")]


def folder_of(text: str, revision: str | None) -> Folder:
    """Where the files of a dataset come from. Raises NcagenError."""
    if is_on_hub(text):
        return on_hub(text, revision)
    if revision is not None:
        raise NcagenError(f"{text} is not a dataset on the Hub: leave the revision {revision!r} out, or use user/name")
    return place(text)


def on_hub(name: str, revision: str | None) -> Folder:
    """A dataset on the Hub, in the library's cache, without the library's own words on the terminal."""
    try:
        from ncagen.hub.quiet import quiet_library

        quiet_library()
    except ModuleNotFoundError:  # `place` says what is missing
        pass
    return place(name, revision)
