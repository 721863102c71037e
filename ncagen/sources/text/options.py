"""Settings of source `text` as people type them: which corpus, how documents become rows, which id ends them."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from ncagen.errors import SpecError
from ncagen.sources.source import Option
from ncagen.sources.text import corpus as corpora
from ncagen.sources.text.corpus import FIELD, Corpus
from ncagen.sources.text.windows import PACKED, SPLIT

FILE_OPTIONS = ("files", "tokenizer", "field", "separator")
OPTIONS = (
    Option("files", str, "Text, JSON Lines or Parquet files, as in 'a.txt,b/*.jsonl'."),
    Option("tokenizer", str, "With --files: a Hugging Face tokenizer.json."),
    Option("field", str, f"With --files: where JSON objects and tables have their text.  [{FIELD}]"),
    Option("separator", str, "With --files: the text between the documents of a text file.  [one document a file]"),
    Option("corpus", str, "Instead of --files: the sha256 that ncagen corpus printed."),
    Option("documents", str, f"{PACKED} (one behind another) or {SPLIT} (rows of one document, padded).  [{PACKED}]"),
    Option("document_end", str, "The special token that ends documents.  [an id behind the tokenizer's]"),
)


def corpus_of(options: Mapping[str, Any], progress: Callable[[int], object] = lambda characters: None) -> Corpus:
    """Opens the corpus that options name, or prepares it from their files.

    Raises SpecError where they name none or two, and NcagenError as `corpus.find` and `prepare` do.
    """
    given = [name for name in FILE_OPTIONS if name in options]
    if "corpus" in options:
        if given:
            raise SpecError(f"corpus and {given[0]} are both given: a corpus has its text and tokenizer; use one")
        return corpora.find(options["corpus"])
    if "files" not in options:
        raise SpecError(
            "no corpus is given: use --files 'a.txt,b/*.jsonl' --tokenizer tokenizer.json, or --corpus SHA256"
        )
    if "tokenizer" not in options:
        raise SpecError("no tokenizer is given: use --tokenizer tokenizer.json with --files")
    for name in given:
        values = options[name] if name == "files" and isinstance(options[name], list | tuple) else [options[name]]
        if not all(isinstance(value, str | PathLike) for value in values):
            raise SpecError(f"{name} {options[name]!r} is not a text" + " or a list of texts" * (name == "files"))
    from ncagen.sources.text.prepare import prepare  # which needs pyarrow: a corpus that is there does not

    return prepare(
        options["files"], options["tokenizer"], options.get("field", FIELD), options.get("separator"), progress
    )


def documents(options: Mapping[str, Any]) -> str:
    """How documents become rows. Raises SpecError."""
    found = options.get("documents", PACKED)
    if found not in (PACKED, SPLIT):
        raise SpecError(f"documents {found!r} is not known: use {PACKED} or {SPLIT}")
    return found


def document_end(corpus: Corpus, name: str | None) -> int:
    """The id that ends documents: the special token of this name, or without one the id behind the tokenizer's.

    Raises SpecError for a name that the tokenizer does not have.
    """
    special = corpus.about.special
    if name is None:
        return corpus.about.vocabulary
    if not isinstance(name, str) or name not in special:
        known = f"it has {', '.join(special)}" if special else "it has none"
        raise SpecError(
            f"document_end {name!r} is not a special token of the tokenizer: {known}; leave it out for an id of its own"
        )
    return special[name]
