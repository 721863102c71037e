"""The source `text`: rows of natural text from a prepared corpus, the natural-language arm beside automata.

A spec holds the corpus' hash, so a dataset is a function of its spec wherever the corpus lies. Row n of a split is its
window n: the documents of the split, in an order that the seed decides, cut at multiples of `seq_len`. Shard k has its
part of the windows, so that no row comes twice and every shard is made alone. Not covered: files and tokenizers
(`prepare.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from ncagen import philox
from ncagen.errors import NcagenError, SpecError
from ncagen.philox import STREAMS
from ncagen.row_format import Column, Rows, SourceCard
from ncagen.sources.source import Option, Stage, no_stage
from ncagen.sources.text import card, definition, options, shares
from ncagen.sources.text import corpus as corpora
from ncagen.sources.text.windows import PACKED, SHARES, SPLIT, Windows, cut, windows_of
from ncagen.sources.token_source import Range, TokenBatch, TokenSource
from ncagen.spec import BuildSpec

SHARD_BITS = np.uint64(32)  # candidates of shard k are k * 2**32 + i
BEYOND = -1  # the score of a candidate behind the last window, below that of any band
MOST_IDS = 2**31 - 1
SPLITS = {STREAMS[name]: name for name in ("train", "validation", "test")}


@dataclass(frozen=True)
class Text(TokenSource):
    """Settings. corpus: its sha256. tokenizer_ids: ids of the tokenizer. document_end: the id that ends documents.

    documents: PACKED or SPLIT. validation_share, test_share: of the 65,536 places of documents (`shares.py`). The
    numbers of rows are those of the build; all 0 stands for one shard with every window.
    """

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 1
    options: ClassVar[tuple[Option, ...]] = options.OPTIONS
    ranges: ClassVar[Mapping[str, Range]] = {
        "tokenizer_ids": (int, 1, MOST_IDS),
        "document_end": (int, 0, MOST_IDS),
        "validation_share": (int, 0, SHARES),
        "test_share": (int, 0, SHARES),
        "train_rows": (int, 0, 10**15),
        "validation_rows": (int, 0, 10**15),
        "test_rows": (int, 0, 10**15),
        "rows_per_shard": (int, 1, 10**6),
    }

    corpus: str
    tokenizer_sha256: str
    tokenizer_ids: int
    document_end: int
    documents: str = PACKED
    validation_share: int = 0
    test_share: int = 0
    train_rows: int = 0
    validation_rows: int = 0
    test_rows: int = 0
    rows_per_shard: int = BuildSpec.rows_per_shard

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.documents not in (PACKED, SPLIT):
            raise SpecError(f"documents {self.documents!r} is not known: use {PACKED} or {SPLIT}")
        if type(self.corpus) is not str or type(self.tokenizer_sha256) is not str:
            raise SpecError("corpus and tokenizer_sha256 are not texts")

    @classmethod
    def from_options(cls, given: Mapping[str, Any], seq_len: int) -> Self:
        """Makes the source from settings as a user types them; prepares the corpus of `files` if it is not there.

        Raises SpecError for settings, NcagenError for files and corpora that cannot be used.
        """
        known = [option.name for option in cls.options]
        for name in given:
            if name not in known:
                raise SpecError(f"setting {name!r} is not known: known are {', '.join(known)}")
        documents = options.documents(given)
        corpus = options.corpus_of(given)
        end = options.document_end(corpus, given.get("document_end"))
        return cls(seq_len, corpus.sha256, corpus.about.tokenizer_sha256, corpus.about.vocabulary, end, documents)

    def for_build(self, spec: BuildSpec) -> "Text":
        """Returns the source with the shares and rows of a build. Raises SpecError where the corpus has too few."""
        corpus = corpora.find(self.corpus)
        found = shares.choose(corpus, self.documents, spec, self.document_end, self.measures[0], self.scored_tokens)
        return replace(
            self,
            validation_share=found.validation,
            test_share=found.test,
            train_rows=spec.rows("train"),
            validation_rows=spec.rows("validation"),
            test_rows=spec.rows("test"),
            rows_per_shard=spec.rows_per_shard,
        )

    @property
    def alphabet(self) -> int:
        """Number of ids of the tokenizer."""
        return self.tokenizer_ids

    @property
    def structural(self) -> tuple[int, ...]:
        """The id that ends documents."""
        return (self.document_end,)

    @property
    def vocabulary(self) -> int:
        """Number of ids, the one that ends documents among them."""
        return max(self.tokenizer_ids, self.document_end + 1)

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """How many documents have a token in the row, and how many of its tokens are of documents."""
        return (
            Column("documents", "int32", "how many documents have a token in the row"),
            Column("content_tokens", "int32", "how many tokens are of documents; the others are document ends"),
        )

    def window(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Finds the windows of candidates. key: seed and stream. candidates: uint64[candidate].

        Of W windows and R rows, shard k with the rows a to b - 1 has the windows W a // R to W b // R - 1, in turn. The
        pilot has those of all documents, again and again. Returns int64[candidate], -1 behind the last window.
        """
        count = self._windows(key).count
        numbers = (candidates & np.uint64(2**32 - 1)).astype(np.int64)
        if key[1] not in SPLITS:
            return candidates.astype(np.int64) % count
        rows = getattr(self, f"{SPLITS[key[1]]}_rows")
        found = np.empty(len(candidates), np.int64)
        shards = candidates >> SHARD_BITS
        for shard in np.unique(shards):
            first, end = self._part(int(shard), rows, count)
            mine = shards == shard
            found[mine] = np.where(numbers[mine] < end - first, first + numbers[mine], -1)
        return found

    def tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Computes rows; candidates behind the last window have the tokens of the first, and are never kept.

        Raises NcagenError where all are behind it.
        """
        return self._cut(key, candidates)[0]

    def extra_facts(self, tokens: np.ndarray, key: tuple[int, int], candidates: np.ndarray) -> dict[str, np.ndarray]:
        """Computes `extra_columns`."""
        _, documents, content = self._cut(key, candidates)
        return {"documents": documents, "content_tokens": content}

    def batch(
        self,
        key: tuple[int, int],
        candidates: np.ndarray,
        at_least: int = 0,
        device: str = "cpu",
        stage: Stage = no_stage,
    ) -> TokenBatch:
        """Makes and scores candidates; those behind the last window score BEYOND."""
        found = super().batch(key, candidates, at_least, device, stage)
        return replace(found, score=np.where(self.window(key, candidates) < 0, np.int32(BEYOND), found.score))

    def token_problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks the facts as far as they follow from the tokens."""
        content, width = rows["content_tokens"], self.row_tokens
        ended = (rows.input_ids == self.document_end).sum(axis=1)
        return {
            "content_tokens does not fit the document ends": (content >= width - ended) & (content <= width),
            "documents is not a number of documents with a token": (rows["documents"] >= 1)
            & (rows["documents"] <= (1 if self.documents == SPLIT else content)),
        }

    def self_check(self) -> bool:
        """Reads the corpus and compares its hashes; compares rows of made-up documents with the definition.

        Raises NcagenError for a corpus that is missing or damaged.
        """
        corpora.find(self.corpus).check()
        return all(_as_defined(documents) for documents in (PACKED, SPLIT))

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return card.card(self)

    def _windows(self, key: tuple[int, int]) -> Windows:
        """The windows of a stream."""
        split = SPLITS.get(key[1])
        first, last = {
            "train": (self.validation_share, SHARES - self.test_share),
            "validation": (0, self.validation_share),
            "test": (SHARES - self.test_share, SHARES),
        }.get(split or "", (0, SHARES))
        corpus = corpora.find(self.corpus)
        return windows_of(corpus, self.documents, self.seq_len, self.document_end, key, first, last)

    def _part(self, shard: int, rows: int, count: int) -> tuple[int, int]:
        """The first window of a shard, and the one behind its last."""
        if rows == 0:
            return (0, count) if shard == 0 else (count, count)
        first = min(shard * self.rows_per_shard, rows)
        return count * first // rows, count * min(first + self.rows_per_shard, rows) // rows

    def _cut(self, key: tuple[int, int], candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, documents and content tokens of candidates."""
        windows = self.window(key, candidates)
        if len(windows) and (windows < 0).all():
            raise self._used_up(key, int(candidates[0] >> SHARD_BITS))
        return self._windows(key).rows(np.maximum(windows, 0), self.row_format.token_dtype)

    def _used_up(self, key: tuple[int, int], shard: int) -> NcagenError:
        """The error of a shard whose windows are used up: bands kept few of them, or rows were to have no end."""
        split, count = SPLITS[key[1]], self._windows(key).count
        first, end = self._part(shard, getattr(self, f"{split}_rows"), count)
        return NcagenError(
            f"{split} shard {shard} has used up its {end - first:,} of the {count:,} rows of {self.seq_len} that the"
            " corpus has there: use fewer tokens, wider bands, or more text"
        )


class _Documents(NamedTuple):
    """A corpus in memory."""

    tokens: np.ndarray
    ends: np.ndarray
    digests: np.ndarray


@lru_cache(maxsize=2)
def _as_defined(documents: str) -> bool:
    """Whether rows of 40 made-up documents of 1 to 90 tokens are those of the definition."""
    words = philox.words(0, STREAMS["pilot"], 0, np.arange(40, dtype=np.uint64), 4)
    ends = np.cumsum(words[:, 0] % 90 + 1, dtype=np.int64)
    made = _Documents(np.arange(ends[-1], dtype=np.uint16), ends, words[:, 1].astype(np.uint64) << np.uint64(48))
    windows = cut(made, documents, 64, 65_000, (1, 2), 1000, 60_000)
    rows = windows.rows(np.arange(windows.count), "uint16")[0]
    defined = definition.packed if documents == PACKED else definition.split
    order = definition.order(made, (1, 2), range(1000, 60_000))
    return np.array_equal(rows, np.array(list(defined(made, order, 64, 65_000))))
