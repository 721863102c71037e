"""How the commands speak: a progress bar, a word where something takes long, exit statuses."""

import sys
import threading
from contextlib import contextmanager

import click
from tqdm import tqdm

CANNOT, WRONG, STOPPED, PIPE_CLOSED = 2, 1, 130, 141

COMPILING = "compiling the kernels for this machine (once, about 20 seconds)"


def progress(total: int, unit: str, quiet: bool) -> tqdm:
    """A progress bar, on a terminal only."""
    hidden = quiet or not sys.stderr.isatty()
    return tqdm(total=total, unit=unit, disable=hidden, unit_scale=True, smoothing=0.05, dynamic_ncols=True)


@contextmanager
def waiting(what: str, quiet: bool, after: float = 2.0):
    """Says what is going on where it takes longer than `after` seconds."""
    timer = threading.Timer(after, lambda: click.echo(what, err=True))
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def count(things: list, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"
