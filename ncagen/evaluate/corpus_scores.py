"""Scores a corpus of text as rows are scored: the exact gzip length of every window of 1,440 bytes.

Two layouts. `bytes`: the UTF-8 bytes of the text. `tokens`: 360 tokens of a tokenizer as little-endian int32, as tokens
of rows are scored. In both the documents follow one another in the order of the files with nothing between, and what
is left behind the last whole window is not scored. Duplicates count. Memory is flat: windows are counted by length.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import gzip_lengths, token_gzip_lengths
from ncagen.deflate.noise import NOISE_SAMPLES, noise_lengths
from ncagen.errors import NcagenError
from ncagen.sources.text.files import batches
from ncagen.sources.text.tokenizer import LoadedTokenizer

WINDOW_BYTES = 1440  # 360 tokens of 4 bytes: what the released filter of automata scores
WINDOW_TOKENS = WINDOW_BYTES // 4
MOST_LENGTH = WINDOW_BYTES + 23  # one stored block of deflate (5 bytes) in a gzip member (18 bytes)


@dataclass(frozen=True, eq=False)
class WindowScores:
    """The gzip lengths of all windows of a layout.

    layout: "bytes" or "tokens". counts: int64[length], windows by length in bytes. noise: the mean ratio of windows of
    uniform noise: of all 256 bytes, or of all ids of the tokenizer.
    """

    layout: str
    counts: np.ndarray
    noise: float

    @property
    def windows(self) -> int:
        """How many windows were scored."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean ratio."""
        return float(np.arange(len(self.counts)) @ self.counts / self.windows / WINDOW_BYTES)

    def quantile(self, share: float) -> float:
        """The smallest ratio that at least this share of the windows does not exceed; share: above 0, up to 1."""
        return int(np.searchsorted(np.cumsum(self.counts), share * self.windows)) / WINDOW_BYTES

    def share(self, low: float, high: float) -> float:
        """The share of windows with a ratio from `low` up to, but not including, `high`."""
        ratios = np.arange(len(self.counts)) / WINDOW_BYTES
        return float(self.counts[(ratios >= low) & (ratios < high)].sum() / self.windows)

    def histogram(self) -> np.ndarray:
        """Windows in each two hundredths of ratio from 0 on: int64[bin], the last one with any at its end."""
        bins = np.arange(len(self.counts)) * 50 // WINDOW_BYTES
        return np.trim_zeros(np.bincount(bins, self.counts).astype(np.int64), "b")


@dataclass
class Seen:
    """What was read of a corpus. characters counts with `progress`; nbytes: of UTF-8."""

    progress: Callable[[int], object]
    documents: int = 0
    nbytes: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(MOST_LENGTH + 1, np.int64))


def score(
    paths: Iterable[Path],
    name: str,
    separator: bytes | None,
    tokenizer: LoadedTokenizer | None,
    progress: Callable[[int], object],
) -> tuple[Seen, list[WindowScores]]:
    """Scores the windows of files in both layouts, or in `bytes` alone without a tokenizer.

    name: the field with the text. separator: between the documents of a text file. progress: called with characters
    read. Raises NcagenError for a file that cannot be read, and for less text than one window.
    """
    seen = Seen(progress)
    texts = _score_bytes(batches(paths, name, separator), seen)
    found = []
    if tokenizer is None:
        deque(texts, maxlen=0)  # runs it to its end
    else:
        found = [WindowScores("tokens", _score_tokens(texts, tokenizer), token_noise(tokenizer.vocabulary))]
    if not seen.counts.any():
        raise NcagenError(f"these files have {seen.nbytes} bytes of text: one window is {WINDOW_BYTES}, give more")
    if found and not found[0].counts.any():
        raise NcagenError(f"these files have less than {WINDOW_TOKENS} tokens, one window: give more")
    return seen, [WindowScores("bytes", seen.counts, byte_noise()), *found]


def _score_bytes(found: Iterable[list[str]], seen: Seen) -> Iterator[tuple[list[str], None]]:
    """Counts the windows of bytes into `seen`, and hands the texts on for their tokens."""
    rest = b""
    for texts in found:
        data = b"".join([rest, *(text.encode() for text in texts)])
        seen.documents += len(texts)
        seen.nbytes += len(data) - len(rest)
        whole = len(data) // WINDOW_BYTES * WINDOW_BYTES
        windows = np.frombuffer(data, np.uint8, whole).reshape(-1, WINDOW_BYTES)
        seen.counts += np.bincount(gzip_lengths(windows), minlength=MOST_LENGTH + 1)
        rest = data[whole:]
        seen.progress(sum(map(len, texts)))
        yield texts, None


def _score_tokens(batches: Iterable[tuple[list[str], None]], tokenizer: LoadedTokenizer) -> np.ndarray:
    """Counts the windows of tokens: int64[length]."""
    counts = np.zeros(MOST_LENGTH + 1, np.int64)
    rest = np.zeros(0, np.uint32)
    for found, _, _ in tokenizer.encode(batches):
        tokens = np.concatenate([rest, found])
        whole = len(tokens) // WINDOW_TOKENS * WINDOW_TOKENS
        windows = tokens[:whole].reshape(-1, WINDOW_TOKENS)
        counts += np.bincount(token_gzip_lengths(windows), minlength=MOST_LENGTH + 1)
        rest = tokens[whole:]
    return counts


def byte_noise() -> float:
    """Returns the mean ratio of windows of uniform random bytes: the low bytes of Philox words."""
    words = philox.words(0, philox.STREAMS["pilot"], 0, np.arange(NOISE_SAMPLES, dtype=np.uint64), WINDOW_BYTES)
    return float(gzip_lengths((words & 0xFF).astype(np.uint8)).mean() / WINDOW_BYTES)


def token_noise(vocabulary: int) -> float:
    """Returns the mean ratio of windows of uniform random ids below `vocabulary`."""
    return float(noise_lengths(vocabulary, 1, WINDOW_TOKENS, "uint32").mean() / WINDOW_BYTES)
