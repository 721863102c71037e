"""The texts of a dataset's card about rows of life-like and elementary rules.

Not covered: the card's file, its tables of files and bands (`ncagen.hub`).
"""

from ncagen.row_format import SourceCard
from ncagen.sources.cellular.rules import DISJOINT
from ncagen.sources.cellular.source import CellularSource

TAGS = ("synthetic", "cellular-automata", "pre-training", "ncagen")


def life(source: CellularSource) -> SourceCard:
    """Returns the card's texts for these settings."""
    shape = source.shape
    return _card(
        source,
        "Runs of life-like cellular automata",
        f"{shape.frames} grids of {shape.size} in 2 states",
        (
            "A cell's next state depends on itself and on how many of its eight neighbours are alive, on a torus.",
            f"A row is {shape.frames} grids of {shape.size} cells, as {shape.row_tokens:,} tokens:"
            f" {source.patch} x {source.patch} patches",
        ),
        "`rule`: bit n is set if a dead cell with n living neighbours becomes alive, bit 9 + n if a living one stays.",
    )


def elementary(source: CellularSource) -> SourceCard:
    """Returns the card's texts for these settings."""
    shape = source.shape
    return _card(
        source,
        "Runs of elementary cellular automata",
        f"{shape.frames} steps of a ring of {shape.width} cells",
        (
            "A cell's next state depends on itself and its two neighbours, on a ring.",
            f"A row is {shape.frames} steps of {shape.width} cells, as {shape.row_tokens:,} tokens:"
            f" {source.patch} cells",
        ),
        "`rule`: its number after Wolfram; bit 4 * left + 2 * itself + right is a cell's next state.",
    )


def _card(source: CellularSource, title: str, row: str, what: tuple[str, ...], rule: str) -> SourceCard:
    ids = source.alphabet
    return SourceCard(
        row=row,
        details=_details(source),
        columns=source.row_format.columns,
        pretty_name=title,
        tags=TAGS,
        what=(
            "Synthetic data to train language models on. " + _hidden(source) + " It contains no text.",
            *what,
            f"(ids 0 to {ids - 1}) between start-of-grid ({ids}) and end-of-grid ({ids + 1}).",
            "",
            rule,
        ),
        measure=(
            f"The ratio is the length of gzip, level 9, over the first {source.scored_tokens} patches of the row, as"
            f" {source.scored_bytes:,} bytes of",
            "little-endian int32, delimiters left out.",
        ),
        loss=(
            f"Nothing predicts a row's first grid, its first {source.unpredictable} tokens: leave it out of the loss.",
        ),
        limits=(
            "- This is data, without a promise of gains. A model of it knows no language.",
            "- Tokens are patches of cells. Ids have nothing to do with any tokenizer of text.",
            f"- {_splits(source)}",
            "- Many rules freeze or repeat after some steps; complexity is measured of the first grids only.",
        ),
    )


def _details(source: CellularSource) -> tuple[tuple[str, str], ...]:
    return (
        ("rule", source.rule),
        ("density", str(source.density)),
        ("warm-up steps", f"{source.warmup:,}"),
        ("recorded", "each step" if source.stride == 1 else f"every {source.stride:,} steps"),
    )


def _hidden(source: CellularSource) -> str:
    if source.hidden:
        return "Each row is a run of a random rule that a model must infer in context."
    return f"All rows are runs of rule {source.rule}, from different random starts."


def _splits(source: CellularSource) -> str:
    if source.rule == DISJOINT:
        return "No rule of a split is one of another, nor equal to one but for an exchange of states or sides."
    return "Splits share rules, and differ by their starts."
