"""ncagen view."""

import threading
import webbrowser
from pathlib import Path

import click

from ncagen.commands import saving
from ncagen.commands.arguments import dataset_argument, folder_of


@click.command()
@dataset_argument
@click.option("--save", type=click.Path(path_type=Path), help="Write the page to this file instead of serving it.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page on this machine.  [a free one]")
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
def view(folder, revision, save, port, opened):
    """Show a dataset in the browser.

    The page shows its rules at work, its figures and its rows.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    The page is served to this machine alone until Ctrl-C, or saved as one file that needs no network.

    \b
    ncagen view data/nca-high --open
    ncagen view data/nca-high --save nca-high.html
    """
    from ncagen.view import server, webpage

    folder = folder_of(folder, revision)
    page = webpage.page(folder)
    if save:
        saving.save(save, page.encode())
        click.echo(f"{save}: {len(page.encode()) / 1e3:,.0f} KB")
        _open(save.absolute().as_uri(), opened)
        return 0
    with server.server(page, port) as serving:
        address = server.address(serving)
        click.echo(f"{address} shows {folder}; Ctrl-C ends it")
        # Beside the server: a browser in the terminal returns only when it is left.
        threading.Thread(target=_open, args=(address, opened), daemon=True).start()
        try:
            serving.serve_forever()
        except KeyboardInterrupt:  # the usual end, not a failure
            click.echo()
    return 0


def _open(address: str, wanted: bool) -> None:
    """Opens a browser, or says that there is none: the page is there all the same."""
    if wanted and not webbrowser.open(address):
        click.echo(f"ncagen: no browser was found: open {address} in one", err=True)
