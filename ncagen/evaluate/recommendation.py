"""Proposes a band of automata for a corpus of text, from the gzip ratios of its windows.

The evidence is one paper's (arXiv 2603.10055): text that it puts at ratios of 0.5 and more (web text, math) gained most
from rows of the band high, code at 0.3 to 0.4 from the band medium. So the proposal is the nearer of these two bands to
the median window of bytes, and says where it extrapolates. It measures no training run, and no other evidence is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from ncagen.evaluate.corpus_scores import WINDOW_BYTES, WINDOW_TOKENS, WindowScores, score
from ncagen.selection import BANDS
from ncagen.sources.nca.source import Nca
from ncagen.sources.text.files import find, separator_of
from ncagen.sources.text.prepare import FIELD
from ncagen.sources.text.tokenizer import load

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MEDIUM, HIGH = "medium", "high"
BETWEEN = (BANDS[MEDIUM][1] + BANDS[HIGH][0]) / 2  # as near to the one band as to the other
FEW_WINDOWS = 100

LIMITS = (
    "How the paper scored text (bytes or tokens, windows or files) is not known here, so its ratios may not be these.",
    "Short windows score higher than whole files, in which gzip finds more repetitions.",
    "Text and automata are scored with different alphabets: over noise, their ratios are not on one scale.",
    "The paper compared bands on one size of model and one recipe; replications are mixed, and some found no gain.",
    "Train a small model on each of two bands before you rely on one.",
)


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What was scored, and the proposal.

    scores: of each layout. nca_noise: the mean ratio of noise of the default automata. band: the band's name. evidence:
    why, in one sentence. limits: what the proposal does not show, one sentence each.
    """

    documents: int
    nbytes: int
    scores: tuple[WindowScores, ...]
    nca_noise: float
    band: str
    evidence: str
    limits: tuple[str, ...]

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return {
            "documents": self.documents,
            "bytes": self.nbytes,
            "layouts": {scores.layout: _layout_dict(scores) for scores in self.scores},
            "nca": {"noise": self.nca_noise, "bands": {name: list(limits) for name, limits in BANDS.items()}},
            "band": self.band,
            "evidence": self.evidence,
            "limits": list(self.limits),
        }

    def __str__(self) -> str:
        """The text that the command prints."""
        shares = (f"{name} {self.scores[0].share(*limits):.1%}" for name, limits in BANDS.items())
        over = (f"{name} from {limits[0] / self.nca_noise:.3f}" for name, limits in BANDS.items())
        return "\n".join(
            [
                f"text        {self.documents:,} documents, {self.nbytes:,} bytes of UTF-8",
                *(line for scores in self.scores for line in _layout_lines(scores)),
                f"bands       of the windows of bytes: {', '.join(shares)}",
                f"automata    noise scores {self.nca_noise:.3f}; over noise, {', '.join(over)}",
                f"proposal    --band {self.band}",
                f"evidence    {self.evidence}",
                *(f"{'limits' if i == 0 else '':11} {line}" for i, line in enumerate(self.limits)),
            ]
        )


def recommend(
    files: str | PathLike | Sequence[str | PathLike],
    tokenizer: str | PathLike | None = None,
    field: str = FIELD,
    separator: str | None = None,
    progress: Callable[[int], object] = lambda characters: None,
) -> Recommendation:
    """Scores a corpus and proposes a band.

    files: names and patterns of text, JSON Lines and Parquet files. tokenizer: a tokenizer.json, to score tokens too.
    field: where JSON objects and tables have their text. separator: what lies between the documents of a text file.
    progress: called with the number of characters read.
    Raises NcagenError for files or a tokenizer that cannot be used, and for less text than one window.
    """
    between, paths = separator_of(separator), find(files)
    loaded = None if tokenizer is None else load(Path(tokenizer))
    seen, scores = score(paths, field, between, loaded, progress)
    band, evidence = propose(scores[0].quantile(0.5))
    few = (f"{scores[0].windows} windows are few: the quantiles are rough.",) if scores[0].windows < FEW_WINDOWS else ()
    source = Nca.from_options({}, 1024)
    noise = float(source.noise_scores().mean() / source.measures[0].denominator)
    return Recommendation(seen.documents, seen.nbytes, tuple(scores), noise, band, evidence, few + LIMITS)


def propose(median: float) -> tuple[str, str]:
    """The band for the median ratio of windows of bytes, and the evidence in one sentence."""
    band = HIGH if median >= BETWEEN else MEDIUM
    text = {HIGH: "web text and math, with ratios of 0.5 and more,", MEDIUM: "code, with ratios of 0.3 to 0.4,"}[band]
    low, high = BANDS[band]
    if low <= median < high:
        where = "it is as complex as what the paper tested"
    elif BANDS[MEDIUM][1] <= median < BANDS[HIGH][0]:
        where = "it lies between what the paper tested, and this band is the nearer"
    else:
        where = "the paper tested nothing as simple, and this band is the nearer"
    return band, f"The median window scores {median:.3f}: {where}. In the paper, {text} gained most from this band."


def _layout_lines(scores: WindowScores) -> list[str]:
    layout = {"bytes": f"{WINDOW_BYTES:,} UTF-8 bytes", "tokens": f"{WINDOW_TOKENS} tokens as little-endian int32"}
    quantiles = ", ".join(f"{share:.0%} {scores.quantile(share):.3f}" for share in QUANTILES)
    median = scores.quantile(0.5) / scores.noise
    return [
        f"{scores.layout:11} {scores.windows:,} windows of {layout[scores.layout]}",
        f"{'':11} gzip ratio: {quantiles}",
        f"{'':11} {histogram_line(scores)}",
        f"{'':11} noise scores {scores.noise:.3f}; the median over noise is {median:.3f}",
    ]


def histogram_line(scores: WindowScores) -> str:
    """The windows in each two hundredths of ratio as one line of bars, between the ratios where they begin and end."""
    bins = scores.histogram()
    first = int(np.flatnonzero(bins)[0])
    heights = -(-8 * bins[first:] // bins.max())
    return f"{first / 50:.2f} {''.join(' ▁▂▃▄▅▆▇█'[height] for height in heights)} {len(bins) / 50:.2f}"


def _layout_dict(scores: WindowScores) -> dict:
    return {
        "windows": scores.windows,
        "window_bytes": WINDOW_BYTES,
        "mean": scores.mean,
        "quantiles": {str(share): scores.quantile(share) for share in QUANTILES},
        "noise": scores.noise,
        "median_over_noise": scores.quantile(0.5) / scores.noise,
        "bands": {name: scores.share(*limits) for name, limits in BANDS.items()},
        "histogram": {"step": 0.02, "windows": scores.histogram().tolist()},
    }
