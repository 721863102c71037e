"""The columns that are stored with a row's tokens, its row format, and the measure that bands select by."""

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from ncagen.row_format import Column, Measure, RowFormat
from ncagen.sources import fact_columns, scored
from ncagen.sources.fact_columns import LAMBDA
from ncagen.sources.nca.settings import Settings

ORACLE = "oracle_micronats"
LAMBDA_NEIGHBOURHOODS = 64 * 64  # the cells of one grid: `langton`
LAMBDA_DOC = fact_columns.lambda_doc(LAMBDA_NEIGHBOURHOODS)
LINEAR_GAP, LINEAR_GAP_RATIO = "linear_gap", "linear_gap_ratio"


@lru_cache(maxsize=16)
def row_format(settings: Settings) -> RowFormat:
    """Returns the row format. The first grid is unpredictable, since nothing precedes it; delimiters are structural."""
    return RowFormat(
        vocabulary=settings.vocabulary,
        row_tokens=settings.row_tokens,
        seq_len=settings.seq_len,
        unpredictable=settings.tokens_per_grid,
        structural=(settings.patch_ids, settings.patch_ids + 1),
        facts=(
            *scored.gzip_columns(settings.scored_bytes, "length of the compressed grids"),
            *_extra(settings),
        ),
    )


def stores_oracle(settings: Settings) -> bool:
    """Whether rows have the column ORACLE."""
    return "oracle" in stored(settings)


def stores_lambda(settings: Settings) -> bool:
    """Whether rows have the column LAMBDA."""
    return "lambda" in stored(settings)


def stored(settings: Settings) -> list[str]:
    """The facts that are stored in further columns, of `settings.FACTS`."""
    return fact_columns.names_of(settings.facts)


def _original(settings: Settings) -> tuple[Column, ...]:
    """The columns of the trajectory that a row was made from, where it is another."""
    if not settings.rearranges:
        return ()
    selects, row = measure(settings), row_measure(settings)
    return (
        Column(selects.column, "int32", f"`{row.column}` of the row without the control, which bands select by"),
        Column(selects.ratio, "float32", f"`{selects.column}` by {int(selects.denominator):,}"),
    )


def _extra(settings: Settings) -> tuple[Column, ...]:
    """The columns that are stored where the settings ask for them."""
    bound = "" if settings.stride == 1 else ", at least"
    doc = f"loss of a model that knows the rule, in millionths of a nat a patch{bound}"
    gap = (
        Column(LINEAR_GAP, "int32", "cells that a linear learner predicts beyond one that remembers"),
        Column(LINEAR_GAP_RATIO, "float32", f"`{LINEAR_GAP}` by {settings.predicted_cells:,}"),
    )
    return (
        *(gap if settings.measure != "gzip" else ()),
        *_original(settings),
        *((Column(ORACLE, "int32", doc),) if stores_oracle(settings) else ()),
        *((Column(LAMBDA, "int32", LAMBDA_DOC),) if stores_lambda(settings) else ()),
        *fact_columns.columns(stored(settings), settings.frames, settings.cells),
    )


@lru_cache(maxsize=16)
def measure(settings: Settings) -> Measure:
    """Returns the measure that bands select by: that of the row, or of the trajectory that a control was made from."""
    found = row_measure(settings)
    if not settings.rearranges:
        return found
    return replace(found, column=scored.ORIGINAL + found.column, ratio=scored.ORIGINAL + found.ratio)


@lru_cache(maxsize=16)
def row_measure(settings: Settings) -> Measure:
    """Returns the measure of the row as it is written."""
    if settings.measure == "gzip":
        return gzip_measure(settings)
    return Measure(LINEAR_GAP, LINEAR_GAP_RATIO, Fraction(settings.predicted_cells))


def gzip_measure(settings: Settings) -> Measure:
    """Returns the gzip length in bytes, over the scored bytes as a ratio."""
    return scored.gzip_measure(settings.scored_bytes)
