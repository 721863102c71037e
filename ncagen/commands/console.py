"""What the commands share on the terminal: a progress bar, a count in words, exit statuses."""

import sys

from tqdm import tqdm

CANNOT, WRONG, STOPPED, PIPE_CLOSED = 2, 1, 130, 141


def progress(total: int | None, unit: str, quiet: bool) -> tqdm:
    """A progress bar, on a terminal only. total: None where nobody knows it."""
    hidden = quiet or not sys.stderr.isatty()
    return tqdm(total=total, unit=unit, disable=hidden, unit_scale=True, smoothing=0.05, dynamic_ncols=True)


def count(things: list, name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"
