"""The texts of a dataset's card about rows of bracket words."""

from ncagen.row_format import Column, SourceCard
from ncagen.sources.dyck.settings import Settings

CITATION = (
    "```bibtex",
    "@inproceedings{hu2025between,",
    "  title     = {Between Circuits and {C}homsky: Pre-pretraining on Formal Languages Imparts Linguistic Biases},",
    "  author    = {Hu, Michael Y. and Petty, Jackson and Shi, Chuan and Merrill, William and Linzen, Tal},",
    "  booktitle = {Proceedings of ACL},",
    "  year      = {2025},",
    "  eprint    = {2502.19249},",
    "  archivePrefix = {arXiv}",
    "}",
    "```",
)


def card(settings: Settings, columns: tuple[Column, ...]) -> SourceCard:
    """Returns the card's texts for these settings. columns: the stored columns with their docs."""
    language = _language(settings)
    return SourceCard(
        row=f"{settings.row_tokens:,} tokens of {language}",
        details=(
            ("brackets", f"{'uniform over words' if settings.uniform else f'open at {settings.open_probability}'}"),
            ("depth", f"{settings.min_depth:,} to {settings.max_depth:,}"),
            ("words", _words(settings)),
        ),
        columns=columns,
        pretty_name=f"Words of {language}",
        tags=("synthetic", "dyck", "formal-languages", "pre-training", "ncagen"),
        what=_what(settings),
        measure=(
            "The ratio is the length of gzip, level 9, over the row's first brackets, 360 at most, as little-endian",
            "int32, document ends left out. It means nothing for another alphabet or length.",
        ),
        loss=(
            "An opening bracket and its type are random: no model predicts them. A closing bracket's type is"
            f" {'one of those that are open' if settings.shuffle else 'that of the last open one'}.",
        ),
        limits=(
            "- This is data, without a promise of gains.",
            "- It is for training before text, not instead of it. A model of it knows no language.",
            "- Ids have nothing to do with any tokenizer of text.",
        ),
        citation=CITATION,
    )


def _language(settings: Settings) -> str:
    return f"{settings.k:,}-{'shuffle-' if settings.shuffle else ''}Dyck"


def _words(settings: Settings) -> str:
    if settings.cut:
        return "the beginning of one, in each row"
    shortest = "" if settings.min_length == settings.length else f"{settings.min_length:,} to "
    return f"of {shortest}{settings.length:,} tokens"


def _what(settings: Settings) -> tuple[str, ...]:
    types = f"{settings.k:,} types" if settings.k > 1 else "one type"
    order = (
        "in which each type is balanced by itself" if settings.shuffle else "in which the last opened is closed first"
    )
    how = (
        "Every word of its length and depth is equally likely."
        if settings.uniform
        else f"A bracket is opened with probability {settings.open_probability} where one may be closed as well."
    )
    ends = (
        "It is the beginning of an endless word."
        if settings.cut
        else f"A document end ({settings.end}) follows each word, and fills what no word fits in."
    )
    return (
        f"Synthetic data to train language models on before text: words of brackets of {types},",
        f"{order}. Opening brackets have ids 0 to {settings.k - 1}, closing ones {settings.k} to {settings.end - 1}.",
        f"A row has {settings.row_tokens:,} tokens. {ends} {how}",
    )
