"""The settings of bracket words: defaults, checks, and the sizes that follow from them.

Not covered: rows (`definition`, `kernels`), and the source that makes them (`source`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ncagen.errors import SpecError
from ncagen.numbers import shown
from ncagen.sources.dyck import counts

ENDINGS = ("closed", "cut")
# The released code of the NCA paper has the same. Lengths depend on the row: see `with_defaults`.
DEFAULTS = {
    "k": 64,
    "shuffle": False,
    "open_probability": "1/2",
    "uniform": False,
    "min_depth": 1,
    "ending": "closed",
}
DEFAULT_DEPTH = 16  # or what a shorter word can have
MOST_K = 32_767  # ids of both brackets and of the document end fit uint16
MOST_DENOMINATOR = 2**128

# Limits of `uniform`: of a table of thresholds, 64 MiB, and of the bits added up to make it, ten seconds.
MOST_THRESHOLDS = 2**23
MOST_BITS = 2**36


@dataclass(frozen=True)
class Settings:
    """Settings of bracket words. Raises SpecError for a value out of range.

    k: number of bracket types. shuffle: types interleave (k-shuffle-Dyck); otherwise brackets nest (k-Dyck).
    open_probability: of opening a bracket where closing one is possible as well, an exact rational such as "1/2".
    uniform: every word of a length is equally likely instead. min_depth, max_depth: bounds of a word's depth, the
    largest number of its brackets that are open at once. length, min_length: tokens of a word, drawn between both,
    even. ending: "closed", a row is whole words with a document end after each, or "cut", a row is the beginning of a
    word that goes on. seq_len: tokens of a row that a model reads as input; a row has one more.
    """

    seq_len: int
    k: int
    shuffle: bool
    open_probability: str
    uniform: bool
    min_depth: int
    max_depth: int
    length: int
    min_length: int
    ending: str

    def __post_init__(self):
        _check_whole("k", self.k, MOST_K)
        _check_bool("shuffle", self.shuffle)
        _check_bool("uniform", self.uniform)
        if self.ending not in ENDINGS:
            raise SpecError(f"ending {shown(self.ending)} is not known: use {' or '.join(ENDINGS)}")
        if probability(self.open_probability) != self.open_probability:
            raise SpecError(f"open_probability {shown(self.open_probability)} is not a reduced fraction, as in 1/2")
        _check_lengths(self)
        _check_depths(self)
        _check_uniform(self)

    @property
    def row_tokens(self) -> int:
        """Number of stored tokens in a row."""
        return self.seq_len + 1

    @property
    def end(self) -> int:
        """The id of a document end. Opening brackets have ids 0 to k - 1, closing ones k to 2k - 1."""
        return 2 * self.k

    @property
    def cut(self) -> bool:
        """Whether a row is the beginning of a word, without a document end."""
        return self.ending == "cut"

    @property
    def machine(self) -> tuple[int, int, int]:
        """The arguments of `counts.machine` for these settings."""
        return self.k if self.shuffle else 1, self.min_depth, self.max_depth


def with_defaults(options: Mapping[str, Any], seq_len: int) -> dict[str, Any]:
    """Completes settings as a user types them: length, depth and probability get the values that are stored.

    seq_len: tokens of a row that a model reads as input. Raises SpecError for a setting that contradicts another.
    """
    values = DEFAULTS | dict(options)
    cut = values["ending"] == "cut"
    _check_alone("ending cut", cut, options, ("length", "min_length"))
    _check_alone("uniform", values["uniform"] is True, options, ("open_probability",))
    values.setdefault("length", seq_len + 1 if cut else seq_len // 2 * 2)
    values.setdefault("min_length", values["length"])
    values["open_probability"] = probability(values["open_probability"])
    length = values["length"]
    values.setdefault("max_depth", max(1, min(DEFAULT_DEPTH, length // 2)) if type(length) is int else DEFAULT_DEPTH)
    return values


def _check_alone(setting: str, given: bool, options: Mapping[str, Any], others: tuple[str, ...]) -> None:
    for name in others:
        if given and name in options:
            raise SpecError(f"{name} and {setting} exclude each other: leave one of them out")


def probability(value: object) -> str:
    """Returns a probability as a reduced fraction: 0.55, "0.55" and "11/20" are "11/20". Raises SpecError."""
    text = str(value).strip()
    good = re.fullmatch(r"[0-9]{1,40}/[0-9]{1,40}|[0-9]{0,3}\.?[0-9]{1,18}(e-?[0-9]{1,2})?", text, re.ASCII)
    try:
        found = Fraction(text) if good and not isinstance(value, bool) else None
    except ZeroDivisionError:
        found = None
    if found is None or not 0 < found < 1 or found.denominator > MOST_DENOMINATOR:
        raise SpecError(
            f"open_probability {shown(value)} is out of range: use a number above 0 and below 1, as in 0.5 or 1/3"
        )
    return str(found)


def _check_whole(name: str, value: object, most: int, least: int = 1) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SpecError(f"{name} {shown(value)} is out of range: use {least} to {most:,}")


def _check_bool(name: str, value: object) -> None:
    if type(value) is not bool:
        raise SpecError(f"{name} {shown(value)} is not true or false")


def _check_lengths(settings: Settings) -> None:
    if settings.cut:
        if not settings.length == settings.min_length == settings.row_tokens:
            raise SpecError(f"length and min_length are {settings.row_tokens:,}, the row, where the ending is cut")
        return
    _check_whole("length", settings.length, settings.seq_len, least=2)
    _check_whole("min_length", settings.min_length, settings.length, least=2)
    for name in ("length", "min_length"):
        if getattr(settings, name) % 2:
            raise SpecError(f"{name} {getattr(settings, name):,} is odd: use an even one, since brackets come in pairs")


def _check_depths(settings: Settings) -> None:
    pairs = 1 if settings.cut else 2
    for name, length in (("max_depth", settings.length), ("min_depth", settings.min_length)):
        value, most = getattr(settings, name), length // pairs
        if type(value) is not int or not 1 <= value <= most:
            raise SpecError(
                f"{name} {shown(value)} is out of range: use 1 to {most:,}, the depths of {length:,} tokens"
            )
    if settings.min_depth > settings.max_depth:
        raise SpecError(f"min_depth {settings.min_depth:,} is above max_depth {settings.max_depth:,}: use less")


def _check_uniform(settings: Settings) -> None:
    if not settings.uniform:
        return
    if settings.cut:
        raise SpecError("uniform and ending cut exclude each other: leave one of them out")
    if settings.open_probability != "1/2":
        raise SpecError("open_probability and uniform exclude each other: leave one of them out")
    size = counts.table_size(*settings.machine, settings.length)
    if size > MOST_THRESHOLDS or size * settings.length > MOST_BITS:
        words = f"{'interleaved' if settings.shuffle else 'nested'} words of {settings.length:,} tokens"
        raise SpecError(
            f"uniform cannot count {words} to depth {settings.max_depth:,}: use a smaller max_depth or length"
        )
