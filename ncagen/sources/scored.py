"""The score that every source has: the exact gzip length of a row's first tokens, so that bands compare across sources.

Scored are the first `SCORED_TOKENS` content tokens of a row, or all of a shorter one, as little-endian int32, by their
own ids: 1,440 bytes, as many as the released filter of the NCA scores with its defaults. Delimiters and document ends
are left out where a source says so. Not covered: bands (`selection`), and how the length is computed (`deflate`).
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np

from ncagen.row_format import Column, Measure, Rows

GZIP_BYTES, GZIP_RATIO = "gzip_bytes", "gzip_ratio"
ORIGINAL = "original_"  # columns of the row that a control was made from, which bands select by then
GZIP_COLUMNS = GZIP_BYTES, ORIGINAL + GZIP_BYTES  # measures that the named bands are ranges of
SCORED_TOKENS = 360  # ten grids of 36 patches: the released filter's part of a row of 12 x 12 cells
TOKEN_BYTES = 4  # the released filter compresses little-endian int32


def gzip_columns(scored_bytes: int, doc: str) -> tuple[Column, Column]:
    """Returns the two stored columns of the score. doc: a phrase for the first."""
    return Column(GZIP_BYTES, "int32", doc), Column(GZIP_RATIO, "float32", f"`{GZIP_BYTES}` by {scored_bytes:,}")


@lru_cache(maxsize=64)
def gzip_measure(scored_bytes: int) -> Measure:
    """Returns the measure that bands select by: the gzip length over the scored bytes."""
    return Measure(GZIP_BYTES, GZIP_RATIO, Fraction(scored_bytes))


def gzip_lengths(scored: np.ndarray, at_least: int = 0) -> np.ndarray:
    """Computes gzip lengths in bytes: int32[row]. scored: uint16 or uint32 [row, token].

    at_least: a length that is provably smaller may be returned as 0, which is cheaper.
    """
    from ncagen.deflate.lengths import token_gzip_lengths

    return token_gzip_lengths(np.ascontiguousarray(scored), at_least)


def gzip_facts(lengths: np.ndarray, scored_bytes: int) -> dict[str, np.ndarray]:
    """Returns the columns of the score. lengths: int32[row]."""
    return {GZIP_BYTES: lengths, GZIP_RATIO: gzip_measure(scored_bytes).ratios(lengths)}


def gzip_problems(rows: Rows, scored: np.ndarray) -> dict[str, np.ndarray]:
    """Checks the columns of the score. scored: uint16 or uint32 [row, token], of the rows. As `Source.problems`."""
    lengths = rows[GZIP_BYTES]
    ratios = gzip_measure(scored.shape[1] * TOKEN_BYTES).ratios(lengths)
    return {
        "gzip_bytes is not the length of the row's tokens": gzip_lengths(scored) == lengths,
        "gzip_ratio is not gzip_bytes by scored bytes": ratios == rows[GZIP_RATIO],
    }


def scored_bytes(scored: np.ndarray) -> list[bytes]:
    """Returns the bytes that are scored. scored: integers [row, token]."""
    return [row.tobytes() for row in scored.astype(f"<u{TOKEN_BYTES}")]
