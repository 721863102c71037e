"""Prepares the corpus that a build of source `text` names by its files, before the settings become a spec.

A spec holds a corpus' hash and no path. Not covered: what a corpus is (`sources/text/`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from ncagen.sources.text.corpus import Corpus
from ncagen.sources.text.options import FILE_OPTIONS, corpus_of, documents
from ncagen.sources.text.prepare import prepare

__all__ = ["Corpus", "names_files", "prepare", "with_corpus"]


def names_files(settings: Mapping[str, Any]) -> bool:
    """Whether settings of a build name a corpus by its files."""
    return settings.get("source") == "text" and "files" in settings


def with_corpus(settings: Mapping[str, Any], progress: Callable[[int], object]) -> dict[str, Any]:
    """Returns settings in which the corpus stands by its hash. settings: of a build that names it by its files.

    progress: called with the number of characters read. Raises NcagenError as `prepare` does, and SpecError
    before it for settings that no corpus can have.
    """
    documents(settings)
    corpus = corpus_of({name: settings[name] for name in (*FILE_OPTIONS, "corpus") if name in settings}, progress)
    return {name: value for name, value in settings.items() if name not in FILE_OPTIONS} | {"corpus": corpus.sha256}
