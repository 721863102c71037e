"""Chooses which documents are of which split, for a build: as few for validation and test as their rows take.

A document's place is the upper 16 bits of its digest, 0 to 65,535. The lowest are of validation, the highest of test,
the others of train. So a build with more training tokens has the same validation documents, and more validation tokens
only add to them.
"""

from dataclasses import dataclass

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import Measure
from ncagen.selection import ALL, inside
from ncagen.sources import scored
from ncagen.sources.text.corpus import Corpus
from ncagen.sources.text.windows import SHARES, count, size_for, sizes_of, unordered
from ncagen.spec import BuildSpec

SAMPLE = 1024  # windows that are scored to estimate how many a band takes
MARGIN = 9 / 8, 32  # of windows for validation and test over the estimate, where a band selects: a factor and a number


@dataclass(frozen=True)
class Shares:
    """How many of the 65,536 places are of validation and of test."""

    validation: int
    test: int


def choose(corpus: Corpus, documents: str, spec: BuildSpec, end: int, measure: Measure, scored_tokens: int) -> Shares:
    """Chooses the shares of a build.

    documents, end: as in `windows`. measure, scored_tokens: of the source. Raises SpecError where a split has too few
    windows; with bands this is an estimate from SAMPLE windows.
    """
    sizes = sizes_of(corpus, documents, spec.seq_len)
    places = (np.asarray(corpus.digests) >> np.uint64(48)).astype(np.int64)
    by_place = np.zeros(SHARES, np.int64)
    np.add.at(by_place, places, sizes)
    kept = _kept(corpus, documents, spec, end, measure, scored_tokens)
    shares = {}
    for split, order in (("validation", by_place), ("test", by_place[::-1])):
        rows = spec.rows(split)
        wanted = rows if kept == 1 else int(rows / kept * MARGIN[0]) + MARGIN[1]
        reached = np.concatenate([[0], np.cumsum(order)])
        shares[split] = int(np.searchsorted(reached, size_for(documents, wanted, spec.seq_len))) if rows else 0
        if shares[split] > SHARES:
            raise _too_few(corpus, documents, spec, split, int(reached[-1]), kept)
    left = by_place[shares["validation"] : SHARES - shares["test"]]
    if sum(shares.values()) > SHARES or count(documents, int(left.sum()), spec.seq_len) * kept < spec.rows("train"):
        raise _too_few(corpus, documents, spec, "train", int(left.sum()), kept)
    return Shares(**shares)


def _kept(corpus: Corpus, documents: str, spec: BuildSpec, end: int, measure: Measure, scored_tokens: int) -> float:
    """The share of windows that the rarest band takes, from a sample; 1 where it takes all or, for all we know, none.

    A band that takes none of the sample is refused by the pilot, which says what the windows score.
    """
    if all(band.name == ALL for band in spec.bands):
        return 1.0
    windows = unordered(corpus, documents, spec.seq_len, end)
    chosen = np.linspace(0, windows.count, min(SAMPLE, windows.count), endpoint=False).astype(np.int64)
    tokens, _, _ = windows.rows(chosen, "uint32")
    scores = scored.gzip_lengths(tokens[:, :scored_tokens])
    shares = [inside(measure, band, scores).mean() if len(scores) else 1.0 for band in spec.bands]
    return float(min(share or 1.0 for share in shares))


def _too_few(corpus: Corpus, documents: str, spec: BuildSpec, split: str, size: int, kept: float) -> SpecError:
    """What a split lacks. size: of its documents."""
    have = count(documents, size, spec.seq_len)
    banded = "" if kept == 1 else f", of which the bands keep about {kept:.1%}"
    return SpecError(
        f"the corpus has {corpus.about.tokens:,} tokens in {corpus.about.documents:,} documents, too few:"
        f" {have:,} rows of {spec.seq_len} are left for {split}{banded}, and {spec.rows(split):,} are asked for; use"
        " fewer tokens, of validation and test too, or more text"
    )
