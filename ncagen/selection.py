"""Selects candidates by bands: which are kept, and under which name the others are rejected.

Only integers are compared. What the integer is (a gzip length) is the source's `Measure`.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import Measure

# The bands of gzip ratio that the paper compares, as fractions of the scored bytes: low <= ratio < high.
BANDS = {"low": (0.2, 0.3), "medium": (0.3, 0.4), "upper": (0.4, 0.5), "high": (0.5, 1.0)}

# The paper's best band for each kind of text that the model will learn afterwards.
DOMAINS = {"web": "high", "math": "high", "code": "medium"}

HIGHEST_RATIO = 2  # the shortest scored text is 40 bytes, which gzip turns into 63 at most

EXACT = "[1-9][0-9]{0,17}(/[1-9][0-9]{0,17})?"  # a fraction above 0 as text

NORMALISED = "normalised-"  # how the names of bands begin whose limits are shares of what noise scores

# Of a source without a measure: every candidate is a row.
ALL = "all"


@dataclass(frozen=True)
class Band:
    """Ratios of a measure from `low` up to, but not including, `high`; `name` is the folder its rows go to.

    of: empty, or the mean score of uniform noise as an exact fraction such as "61741/64". Then the limits are shares of
    this score, and mean the same for every alphabet.
    """

    name: str
    low: float
    high: float
    of: str = ""

    @classmethod
    def parse(cls, text: str, of: str = "") -> "Band":
        """A band from its name ("high") or its limits ("0.35-0.45"). of: as above. Raises SpecError."""
        if of:
            return cls._normalised(text.removeprefix(NORMALISED), of)
        if text in BANDS:
            return cls(text, *BANDS[text])
        if text == ALL:
            return cls(ALL, 0.0, float(HIGHEST_RATIO))
        match = re.fullmatch(r"([0-9]*\.?[0-9]+)-([0-9]*\.?[0-9]+)", text)
        if not match:
            raise SpecError(f"band {text!r} is not known: use {', '.join(BANDS)}, or limits such as 0.35-0.45")
        low, high = float(match[1]), float(match[2])
        if low >= high:
            raise SpecError(f"band {text!r} is empty: its first limit must be below its second, as in 0.35-0.45")
        if high > HIGHEST_RATIO:
            raise SpecError(f"band {text!r} is out of range: use limits from 0 to {HIGHEST_RATIO}, as in 0.35-0.45")
        return cls("-".join(f"{Decimal(repr(limit)).normalize():f}" for limit in (low, high)), low, high)

    @classmethod
    def _normalised(cls, limits: str, of: str) -> "Band":
        """A band of shares of what noise scores."""
        # Matched first: a manifest may name any text, and 1e999999999 is a number of gigabytes.
        if not re.fullmatch(EXACT, of) or str(Fraction(of)) != of:
            raise SpecError(f"band {limits!r} is normalised by {of!r}, which is not an exact score above 0")
        plain = cls.parse(limits)
        if plain.name in (*BANDS, ALL):
            raise SpecError(
                f"normalised band {limits!r} has no limits: use shares of what noise scores, as in 0.75-0.95"
            )
        return cls(NORMALISED + plain.name, plain.low, plain.high, of)

    def limits(self, measure: Measure | None) -> tuple[int, int]:
        """The scores in this band, first and one past the last, exactly: ceil(limit * denominator).

        The denominator is that of the measure, or `of` where the band is normalised.
        """
        if measure is None:
            return 0, 2**31
        first, end = (math.ceil(ratio * measure.denominator) for ratio in self.ratios(measure))
        return first, end

    def ratios(self, measure: Measure | None) -> tuple[Fraction, Fraction]:
        """The limits as ratios of the measure, exactly: where the band is normalised, limit * `of` / denominator."""
        scale = Fraction(self.of) / measure.denominator if self.of and measure else Fraction(1)
        low, high = (Fraction(repr(limit)) * scale for limit in (self.low, self.high))
        return low, high

    def text(self, measure: Measure | None) -> str:
        """The limits for people: "0.5 to 1", or "0.502 to 0.636, 0.75 to 0.95 of noise"."""
        limits = f"{self.low:g} to {self.high:g}"
        if not self.of:
            return limits
        low, high = map(float, self.ratios(measure))
        return f"{low:.3f} to {high:.3f}, {limits} of noise"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in a spec; `of` only where the band is normalised."""
        return {name: value for name, value in vars(self).items() if name != "of" or value}


@dataclass
class Tally:
    """Counts over the candidates a band has seen, up to the last one it kept."""

    kept: int = 0
    below: int = 0
    above: int = 0

    @property
    def tried(self) -> int:
        """All candidates seen."""
        return self.kept + self.below + self.above


def inside(measure: Measure | None, band: Band, scores: np.ndarray) -> np.ndarray:
    """Which scores are in the band. scores: int32[candidate]. Returns bool[candidate]."""
    return within(band.limits(measure), scores)


def within(limits: tuple[int, int], scores: np.ndarray) -> np.ndarray:
    """Which scores are in a band of these limits. scores: int32[candidate]. Returns bool[candidate]."""
    first, end = limits
    return (scores >= first) & (scores < end)


def choose(limits: tuple[int, int], scores: np.ndarray, wanted: int, tally: Tally) -> np.ndarray:
    """The first `wanted` candidates in a band, as indices into scores: int32[candidate]; counts into `tally`.

    limits: as of `Band.limits`. A score of 0 stands for "proven to be below every band" and is below this one, where
    there is a measure.
    """
    first, end = limits
    chosen = np.flatnonzero(within(limits, scores))[:wanted]
    seen = scores[: chosen[-1] + 1] if len(chosen) == wanted else scores
    tally.kept += len(chosen)
    tally.below += int((seen < first).sum())
    tally.above += int((seen >= end).sum())
    return chosen


def ratio_counts(ratios: np.ndarray) -> np.ndarray:
    """How many ratios lie in each two hundredths from 0 on: int64[bin]. ratios: float[row].

    A ratio on a bin's limit belongs above it, however it was rounded.
    """
    return np.bincount(np.floor(ratios * 50 + 1e-6).astype(np.int64))
