"""Writes the texts of a dataset's card for rows of natural text. Names no file, folder or host: the spec has none."""

from typing import Any

from ncagen.row_format import SourceCard
from ncagen.sources.text.windows import PACKED, SHARES
from ncagen.sources.token_source import TokenSource


def card(source: TokenSource) -> SourceCard:
    """Returns the card's texts. source: a `Text`."""
    settings = source.to_dict()
    end = settings["document_end"]
    return SourceCard(
        row=f"{source.row_tokens} tokens of text",
        details=(
            ("corpus", f"`{settings['corpus']}`"),
            ("tokenizer", f"{source.alphabet:,} ids, sha256 of its file `{settings['tokenizer_sha256']}`"),
            ("documents", f"{settings['documents']}, ended by id {end}"),
        ),
        columns=source.row_format.columns,
        pretty_name="Natural text in rows of tokens",
        tags=("pre-training", "natural-language"),
        what=(*_what(settings, source.seq_len), "", *_splits(settings)),
        measure=(
            f"`gzip_bytes` is the exact length of the row's first {source.scored_tokens} tokens, as little-endian"
            " int32, after gzip at level 9: the length that rows of every source are scored by.",
        ),
        loss=(
            f"Positions with id {end} end documents"
            + ("." if settings["documents"] == PACKED else " and pad rows: leave them out of the loss."),
        ),
        limits=(
            "- The text is from local files of whoever built this; its content is their matter, and nothing here says"
            " what it is.",
            "- Exact duplicates of documents were dropped. Near duplicates were not, so they may be in two splits.",
            "- The corpus is not part of this dataset: making it again takes the same files and tokenizer.",
        ),
        licence=("unknown", "The text has the licence of the files it is from, which nobody stated here."),
    )


def _what(settings: dict[str, Any], seq_len: int) -> tuple[str, ...]:
    """What a row is."""
    rest = f"the first token of a row is the last of the one before it, {seq_len} tokens are new."
    if settings["documents"] == PACKED:
        return (
            f"Natural text, tokenized. Documents follow one another, each ended by id {settings['document_end']}, and"
            f" are cut across rows: {rest}",
        )
    return (
        "Natural text, tokenized. Each row is of one document; what is left of the row is padded with id"
        f" {settings['document_end']}. A longer document has several rows: {rest}",
    )


def _splits(settings: dict[str, Any]) -> tuple[str, ...]:
    """How documents are divided."""
    return (
        "A document is in one split alone, which follows from the sha256 of its text: with the upper 16 bits below"
        f" {settings['validation_share']} it is of validation, from {SHARES - settings['test_share']} on of test, else"
        " of train.",
    )
