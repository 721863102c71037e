"""Runs the code that docs/trainers.md and docs/recipes.md print, so that the pages and their checks cannot differ.

A block finds what the check loads at data/nca-high, or under another name, in a folder of its own. What the page leaves
to the reader, the model above all, is given by name.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import EXPORT

DOCS = Path(__file__).parents[3] / "docs"
TRAINERS, RECIPES = "trainers.md", "recipes.md"


def block(section: str, page: str = TRAINERS) -> str:
    """The first Python code of a section of a page."""
    return re.findall(r"^```python\n(.*?)^```", _text(section, page), flags=re.M | re.S)[0]


def command(section: str, begins: str, page: str = TRAINERS) -> str:
    """The first command of a section that begins so, without its line breaks."""
    return commands(section, begins, page)[0]


def commands(section: str, begins: str, page: str) -> list[str]:
    """All of them."""
    text = _text(section, page).replace("\\\n", " ")
    return re.findall(rf"^({re.escape(begins)} .*)$", text, flags=re.M)


def _text(section: str, page: str) -> str:
    texts = re.split(r"^## (.*)\n", (DOCS / page).read_text(), flags=re.M)[1:]
    return dict(zip(texts[::2], texts[1::2], strict=True))[section]


@contextlib.contextmanager
def folder(data: str = "nca-high") -> Iterator[Path]:
    """Moves to a new folder, in which what is loaded is data/<data>, and the text of recipes data/text."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "data").mkdir()
        (Path(name) / "data" / data).symlink_to(EXPORT.resolve())
        (Path(name) / "data" / "text").symlink_to(EXPORT.resolve().parent / "text")
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def run(section: str, *, changes: dict[str, str] | None = None, page: str = TRAINERS, **names: object) -> dict:
    """Runs a block with the names it expects, and returns all names after it.

    changes: what is replaced in it, such as a number of steps; each must be there. A script may print: stdout is for
    the check's own line.
    """
    code = block(section, page)
    for before, after in (changes or {}).items():
        assert before in code, (section, before)
        code = code.replace(before, after)
    found = {"__name__": "page", **names}
    with contextlib.redirect_stdout(sys.stderr):
        exec(compile(code, f"{page}: {section}", "exec"), found)
    return found
