"""Prepares the corpus that a build of source `text` names by its files, before the settings become a spec.

A spec holds a corpus' hash and no path. Not covered: what a corpus is (`sources/text/`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from ncagen.sources.text.options import FILE_OPTIONS, corpus_of
from ncagen.sources.text.prepare import prepare

__all__ = ["prepare", "with_corpus"]


def with_corpus(settings: Mapping[str, Any], progress: Callable[[int], object]) -> dict[str, Any]:
    """Returns settings of a build in which the corpus stands by its hash, if they name its files.

    progress: called with the number of characters read. Raises NcagenError as `prepare` does.
    """
    if settings.get("source") != "text" or "files" not in settings:
        return dict(settings)
    rest = {name: value for name, value in settings.items() if name not in FILE_OPTIONS}
    return rest | {"corpus": corpus_of(settings, progress).sha256}
