"""Where a dataset lies, as an argument: a folder's path, or a URL, which no path may be made of."""

from pathlib import Path

import click


class Place(click.ParamType):
    """Gives a Path for a folder of this machine, and the text itself for a URL."""

    name = "folder"

    def convert(self, value, param, ctx):
        return value if isinstance(value, Path) or "://" in value else Path(value)
