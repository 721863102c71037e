"""A base for sources whose candidate is one row of tokens, computed as a whole; it does all but the tokens.

A subclass is a frozen dataclass of its settings and `seq_len`, with `name`, `version`, `options`, `ranges`, and at
least `alphabet`, `tokens` and `card`. Settings have the names of the options. Every candidate is scored by the gzip
length of its content (`scored`), so bands select rows of every source by the same measure; without a band all
candidates are rows. Not covered: sources that run a candidate only as far as its score needs (`nca`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from ncagen.errors import NcagenError, SelfCheckFailed, SpecError
from ncagen.row_format import Column, Measure, RowFormat, Rows, SourceCard
from ncagen.sources import scored
from ncagen.sources.scored import SCORED_TOKENS, TOKEN_BYTES
from ncagen.sources.source import Grids, Option, Stage, no_stage
from ncagen.spec import BuildSpec

BATCH_TOKENS, BATCH_LIMITS = 2**20, (16, 1024)
SEARCH_DIVISOR = 80  # of the match search's time: see `Nca.candidate_work`

Range = tuple[type[int] | type[float], float, float]


@dataclass(frozen=True)
class TokenBatch:
    """Scored candidates. key: seed and stream. candidates: uint64[candidate]. tokens: [candidate, token], of whole
    rows. score: int32[candidate], gzip bytes, or 0 where it is proven to be below `at_least`."""

    source: "TokenSource"
    key: tuple[int, int]
    candidates: np.ndarray
    tokens: np.ndarray
    score: np.ndarray

    def rows(self, chosen: np.ndarray) -> Rows:
        """Computes the complete rows of exactly scored candidates. chosen: int64[row], indices into `candidates`."""
        source, tokens, candidates = self.source, self.tokens[chosen], self.candidates[chosen]
        return Rows(
            {"input_ids": tokens, "candidate": candidates}
            | scored.gzip_facts(self.score[chosen], source.scored_bytes)
            | source.extra_facts(tokens, self.key, candidates)
        )

    def scored_bytes(self) -> list[bytes]:
        """Returns the bytes that were scored, for each candidate."""
        return scored.scored_bytes(self.source.scored_part(self.tokens))


@dataclass(frozen=True)
class TokenSource:
    """The part of the protocol `Source` that sources of whole rows share."""

    name: ClassVar[str]
    version: ClassVar[int]
    options: ClassVar[tuple[Option, ...]]
    ranges: ClassVar[Mapping[str, Range]] = {}
    """Type and limits of the settings that are numbers."""
    needs_band: ClassVar[bool] = False

    seq_len: int

    def __post_init__(self) -> None:
        """Checks types and ranges. Raises SpecError. Subclasses add checks of their own."""
        for name, (kind, least, most) in self.ranges.items():
            value = getattr(self, name)
            if type(value) is not kind:
                raise SpecError(f"{name} {value!r} is not {'a whole number' if kind is int else 'a number'}")
            if not least <= value <= most:
                raise SpecError(f"{name} {value} is out of range: use {least:g} to {most:g}")

    # What a subclass says of its rows.

    @property
    def alphabet(self) -> int:
        """Number of ids of content: 0 to alphabet - 1. Structural ids follow."""
        raise NotImplementedError

    @property
    def structural(self) -> tuple[int, ...]:
        """Ids that are no content, such as delimiters and document ends."""
        return ()

    @property
    def vocabulary(self) -> int:
        """Number of ids, of content and structural."""
        return self.alphabet + len(self.structural)

    @property
    def row_tokens(self) -> int:
        """Number of stored tokens in a row: `seq_len` inputs and the token after the last, or more."""
        return self.seq_len + 1

    @property
    def content_tokens(self) -> int:
        """Number of tokens that `content` returns for a row."""
        return self.row_tokens

    @property
    def unpredictable(self) -> int:
        """Number of tokens at a row's beginning that nothing before them predicts."""
        return 0

    @property
    def extra_columns(self) -> tuple[Column, ...]:
        """Stored columns beside the score."""
        return ()

    def tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Computes rows. key: seed and stream. candidates: uint64[candidate].

        Returns [candidate, token] of the dtype of the row format. Raises NcagenError for candidates beyond the last.
        """
        raise NotImplementedError

    def content(self, tokens: np.ndarray) -> np.ndarray:
        """Leaves out tokens that are not scored, the same number in each row. tokens: [row, token]."""
        return tokens

    def extra_facts(self, tokens: np.ndarray, key: tuple[int, int], candidates: np.ndarray) -> dict[str, np.ndarray]:
        """Computes `extra_columns`. tokens: [row, token]. candidates: uint64[row]. Returns arrays [row] by name."""
        return {}

    def token_problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks tokens and extra columns. Returns as `problems`."""
        return {}

    def self_check(self) -> bool:
        """Whether a few candidates have the tokens of the source's definition on this machine."""
        return True

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        raise NotImplementedError

    # What follows for all of them.

    @classmethod
    def from_options(cls, options: Mapping[str, Any], seq_len: int) -> Self:
        """Makes a source from settings as a user types them; missing ones have their defaults. Raises SpecError."""
        kinds = {option.name: option.kind for option in cls.options}
        for name in options:
            if name not in kinds:
                raise SpecError(f"setting {name!r} is not known: known are {', '.join(kinds)}")
        return cls(seq_len=seq_len, **{name: _plain(kinds[name], value) for name, value in options.items()})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], seq_len: int) -> Self:
        """Makes the source that `to_dict` wrote. Raises SpecError for a missing or unknown setting, or a bad value."""
        names = cls._stored()
        for name in names:
            if name not in values:
                raise SpecError(f"source {cls.name} has no setting {name!r}")
        for name in values:
            if name not in names:
                raise SpecError(f"setting {name!r} of source {cls.name} is not known")
        return cls(seq_len=seq_len, **values)

    def to_dict(self) -> dict[str, Any]:
        """Returns every setting except `seq_len` as a plain value: part of the hashed spec."""
        return {name: getattr(self, name) for name in self._stored()}

    def for_build(self, spec: BuildSpec) -> "TokenSource":
        """Returns itself: no setting depends on the build."""
        return self

    @property
    def scored_tokens(self) -> int:
        """Number of scored tokens of a row."""
        return min(SCORED_TOKENS, self.content_tokens)

    @property
    def scored_bytes(self) -> int:
        """Number of scored bytes of a row."""
        return self.scored_tokens * TOKEN_BYTES

    def scored_part(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the scored tokens of rows, [row, scored token]. tokens: [row, token]."""
        return self.content(tokens)[:, : self.scored_tokens]

    @property
    def row_format(self) -> RowFormat:
        """The tokens and columns of a row."""
        doc = f"length of the compressed first {self.scored_tokens} tokens"
        return RowFormat(
            vocabulary=self.vocabulary,
            row_tokens=self.row_tokens,
            seq_len=self.seq_len,
            unpredictable=self.unpredictable,
            structural=self.structural,
            facts=(*scored.gzip_columns(self.scored_bytes, doc), *self.extra_columns),
        )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """One measure: the gzip length of the scored tokens in bytes."""
        return (scored.gzip_measure(self.scored_bytes),)

    def check(self, device: str = "cpu") -> None:
        """Compares a few candidates with the definition, once in a process. Raises SelfCheckFailed if they differ."""
        _refuse_device(self.name, device)
        _check_once(self)

    def devices(self, device: str = "cpu") -> Sequence[str]:
        """The host alone. Raises NcagenError for another device."""
        _refuse_device(self.name, device)
        return ("cpu",)

    def batch_candidates(self, device: str = "cpu") -> int:
        """The recommended limit of candidates in a batch. Raises NcagenError for another device than the host."""
        _refuse_device(self.name, device)
        least, most = BATCH_LIMITS
        return min(most, max(least, BATCH_TOKENS // self.row_tokens))

    def batch(
        self,
        key: tuple[int, int],
        candidates: np.ndarray,
        at_least: int = 0,
        device: str = "cpu",
        stage: Stage = no_stage,
    ) -> TokenBatch:
        """Makes and scores candidates; the stages are tokens and score. Arguments and errors as `Source.batch`."""
        _refuse_device(self.name, device)
        with stage("tokens"):
            tokens = self.tokens(key, candidates)
        with stage("score"):
            score = scored.gzip_lengths(self.scored_part(tokens), at_least)
        return TokenBatch(self, key, candidates, tokens, score)

    def problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks rows. Returns bool[row] by the text of each possible problem, true where the row is right."""
        return {
            f"tokens are not ids from 0 to {self.vocabulary - 1}": np.asarray(
                (rows.input_ids < self.vocabulary).all(axis=1)
            ),
            **scored.gzip_problems(rows, self.scored_part(rows.input_ids)),
            **self.token_problems(rows),
        }

    def grids(self) -> Grids | None:
        """Returns None: the rows are not grids."""
        return None

    def candidate_work(self) -> int:
        """Estimates the time to score one candidate, in nanoseconds of one core: a few for each token, and the match
        search, which grows with the square of the scored bytes."""
        return 4 * self.row_tokens + self.scored_bytes**2 // SEARCH_DIVISOR

    def noise_scores(self) -> np.ndarray:
        """Returns the scores of uniform noise over the ids of content: int32[sample], gzip bytes."""
        from ncagen.deflate.noise import noise_lengths

        return noise_lengths(self.alphabet, 1, self.scored_tokens, self.row_format.token_dtype)

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        """Returns nothing: there is nothing to warn of."""
        return ()

    @classmethod
    def _stored(cls) -> list[str]:
        """The names of the settings in a spec."""
        return [field.name for field in fields(cls) if field.name != "seq_len"]


def _plain(kind: type, value: object) -> object:
    """A value as a setting of this kind where it means the same: 1 for 1.0, "30" for 30."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and type(value) is int:
        return str(value)
    return value


def _refuse_device(name: str, device: str) -> None:
    """Raises NcagenError for another device than the host."""
    if device in ("cpu", "auto"):
        return
    if re.fullmatch(r"cuda(:[0-9]{1,3})?", device):
        raise NcagenError(f"--device {device} does not make rows of source {name}: use --device cpu")
    raise NcagenError(f"--device {device} is not known: use cpu")


@lru_cache(maxsize=64)
def _check_once(source: TokenSource) -> None:
    from ncagen.deflate.selfcheck import AGAIN, known_lengths

    for what, right in (
        ("known tokens have other gzip lengths", known_lengths(source.row_format.token_dtype)),
        (f"rows of source {source.name} are not those of its definition", source.self_check()),
    ):
        if not right:
            raise SelfCheckFailed(
                f"this processor does not compute what ncagen defines: {what}; no row was made here: use another"
                f" machine, {AGAIN}"
            )
