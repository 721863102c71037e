"""Writes the texts of a dataset's card for rows of natural text. Names no file, folder or host: the spec has none."""

from typing import TYPE_CHECKING

from ncagen.row_format import SourceCard
from ncagen.sources.text.windows import PACKED

if TYPE_CHECKING:
    from ncagen.sources.text.source import Text


def card(source: "Text") -> SourceCard:
    """Returns the card's texts. source: its settings."""
    return SourceCard(
        row=f"{source.row_tokens} tokens of text",
        details=(
            ("corpus", f"`{source.corpus}`"),
            ("tokenizer", f"{source.tokenizer_ids:,} ids, sha256 of its file `{source.tokenizer_sha256}`"),
            ("documents", f"{source.documents}, ended by id {source.document_end}"),
        ),
        columns=source.row_format.columns,
        pretty_name="Natural text in rows of tokens",
        tags=("pre-training", "natural-language"),
        what=(*_what(source), "", *_splits(source)),
        measure=(
            f"`gzip_bytes` is the exact length of the row's first {source.scored_tokens} tokens, as little-endian"
            " int32, after gzip at level 9: the length that rows of every source are scored by.",
        ),
        loss=(
            f"Positions with id {source.document_end} end documents"
            + ("." if source.documents == PACKED else " and pad rows: leave them out of the loss."),
        ),
        limits=(
            "- The text is from local files of whoever built this; its licence and its content are their matter, and"
            " nothing here says what it is.",
            "- Exact duplicates of documents were dropped. Near duplicates were not, so they may be in two splits.",
            "- The corpus is not part of this dataset: making it again takes the same files and tokenizer.",
        ),
    )


def _what(source: "Text") -> tuple[str, ...]:
    """What a row is."""
    rest = f"the first token of a row is the last of the one before it, {source.seq_len} tokens are new."
    if source.documents == PACKED:
        return (
            f"Natural text, tokenized. Documents follow one another, each ended by id {source.document_end}, and are"
            f" cut across rows: {rest}",
        )
    return (
        "Natural text, tokenized. Each row is of one document; what is left of the row is padded with id"
        f" {source.document_end}. A longer document has several rows: {rest}",
    )


def _splits(source: "Text") -> tuple[str, ...]:
    """How documents are divided."""
    return (
        "A document is in one split alone, which follows from the sha256 of its text: with the upper 16 bits below"
        f" {source.validation_share} it is of validation, from {65_536 - source.test_share} on of test, else of train.",
    )
