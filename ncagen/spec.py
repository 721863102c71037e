"""The order: everything that decides which rows a dataset holds, and nothing else.

A `Spec` is read from flags or a TOML order, checked once, and never changes. Its canonical JSON and the sha256 of
that are the dataset's identity: two machines with the same spec make the same rows. How rows are stored (Parquet or
Arrow), where, and by how many workers is not part of it.

This module knows no automaton, score or file; it only states their settings and the limits these must keep.
"""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from ncagen.errors import NcagenError

# A change of the automaton, the tokens or the score that moves a single bit of any row is a new version.
AUTOMATON_VERSION = 1

# The bands of gzip ratio that the paper compares, as fractions of the scored bytes: low <= ratio < high.
BANDS = {"low": (0.2, 0.3), "medium": (0.3, 0.4), "upper": (0.4, 0.5), "high": (0.5, 1.0)}

# The paper's best band for each kind of text that the model will learn afterwards.
DOMAINS = {"web": "high", "math": "high", "code": "medium"}

# `released` is what the authors' launcher ran, `paper` what their text states.
PRESETS = {
    "released": {"temperature": 1e-4, "start": "categorical"},
    "paper": {"temperature": 1e-3, "start": "uniform"},
}

STARTS = ("categorical", "uniform")
HIGHEST_RATIO = 2  # the shortest scored text is 40 bytes, which gzip turns into 63 at most
ORDER_EXTRAS = ("format", "out")  # what an order may hold beside the settings of its rows
SCORED_GRIDS = 10
SCORED_TOKEN_BYTES = 4  # the released filter compresses little-endian int32 tokens
DELIMITERS = 2  # start-of-grid and end-of-grid, the two ids above all patches

_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class SpecError(NcagenError):
    """A setting that no dataset can have."""


@dataclass(frozen=True)
class Band:
    """Gzip ratios from `low` up to, but not including, `high`; `name` is the folder its rows go to."""

    name: str
    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> "Band":
        """A band from its name ("high") or its limits ("0.35-0.45"). Raises SpecError."""
        if text in BANDS:
            return cls(text, *BANDS[text])
        match = re.fullmatch(r"([0-9]*\.?[0-9]+)-([0-9]*\.?[0-9]+)", text)
        if not match:
            raise SpecError(f"band {text!r} is not known: use {', '.join(BANDS)}, or limits such as 0.35-0.45")
        low, high = float(match[1]), float(match[2])
        if low >= high:
            raise SpecError(f"band {text!r} is empty: its first limit must be below its second, as in 0.35-0.45")
        if high > HIGHEST_RATIO:
            raise SpecError(f"band {text!r} is out of range: use limits from 0 to {HIGHEST_RATIO}, as in 0.35-0.45")
        return cls("-".join(f"{Decimal(repr(limit)).normalize():f}" for limit in (low, high)), low, high)

    def lengths(self, scored_bytes: int) -> tuple[int, int]:
        """The gzip lengths in this band, first and one past the last, exactly: ceil(limit * scored_bytes)."""
        first, end = (math.ceil(Fraction(repr(limit)) * scored_bytes) for limit in (self.low, self.high))
        return first, end


class Patching:
    """What follows from how grids are cut into patches, for whatever has these three."""

    states: int
    grid: int
    patch: int

    @property
    def patches(self) -> int:
        """Patches of a grid."""
        return (self.grid // self.patch) ** 2

    @property
    def patch_ids(self) -> int:
        """Ids that a patch can have; start-of-grid is this number, end-of-grid the next."""
        return self.states ** (self.patch * self.patch)


@dataclass(frozen=True)
class Spec(Patching):
    """What a dataset holds. `tokens` and `validation` count training tokens (rows of `seq_len`) in each band."""

    tokens: int
    bands: tuple[Band, ...]
    validation: int = 1_000_000
    seed: int = 0
    rows_per_shard: int = 4096
    states: int = 10
    grid: int = 12
    patch: int = 2
    seq_len: int = 1024
    warmup: int = 10
    stride: int = 1
    temperature: float = 1e-4
    identity_bias: float = 0.0
    start: str = "categorical"
    channel_wrap: bool = True
    trajectories_per_rule: int = 1

    def __post_init__(self):
        _check(self)

    @property
    def cells(self) -> int:
        """Cells of a grid."""
        return self.grid * self.grid

    @property
    def vocabulary(self) -> int:
        """Ids in use: 0 to vocabulary - 1."""
        return self.patch_ids + DELIMITERS

    @property
    def token_dtype(self) -> str:
        """The narrower of uint16 and uint32 that holds every id."""
        return "uint16" if self.vocabulary <= 2**16 else "uint32"

    @property
    def tokens_per_grid(self) -> int:
        """Patches and the two delimiters."""
        return self.patches + DELIMITERS

    @property
    def frames(self) -> int:
        """Recorded grids of a row: the fewest that give `seq_len` inputs and the token after each."""
        return -(-(self.seq_len + 1) // self.tokens_per_grid)

    @property
    def row_tokens(self) -> int:
        """Stored tokens of a row."""
        return self.frames * self.tokens_per_grid

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's tokens, before any encoding."""
        return self.row_tokens * (2 if self.token_dtype == "uint16" else 4)

    @property
    def scored_frames(self) -> int:
        """Grids that the gzip score is taken over: the first ten, or all of a shorter row."""
        return min(SCORED_GRIDS, self.frames)

    @property
    def scored_bytes(self) -> int:
        """Bytes that the gzip score is taken over."""
        return self.scored_frames * self.patches * SCORED_TOKEN_BYTES

    def rows(self, split: str) -> int:
        """Rows of a split in each band."""
        return -(-{"train": self.tokens, "validation": self.validation}[split] // self.seq_len)

    def shards(self, split: str) -> int:
        """Shards of a split in each band."""
        return -(-self.rows(split) // self.rows_per_shard)

    def shard_rows(self, split: str, shard: int) -> int:
        """Rows of one shard: `rows_per_shard`, fewer in the last."""
        return min(self.rows_per_shard, self.rows(split) - shard * self.rows_per_shard)

    def to_dict(self) -> dict:
        """Plain values, as they stand in a manifest; `from_dict` reads them back."""
        return {"automaton_version": AUTOMATON_VERSION} | asdict(self) | {"bands": [asdict(b) for b in self.bands]}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Spec":
        """The spec that `to_dict` wrote. Raises SpecError for another version or a setting out of range."""
        values = dict(values)
        version = values.pop("automaton_version", None)
        if version != AUTOMATON_VERSION:
            raise SpecError(f"automaton version {version} is not this ncagen's: it makes version {AUTOMATON_VERSION}")
        _refuse_unknown(values, [f.name for f in fields(cls)])
        try:
            bands = tuple(Band(**band) for band in values.pop("bands"))
            return cls(bands=bands, **values)
        except (TypeError, KeyError, AttributeError) as error:
            raise SpecError(f"the spec is incomplete: {error}") from None

    def canonical(self) -> str:
        """The JSON text that is hashed: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """The spec's identity, in hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def parse_tokens(text: str | int, name: str = "tokens", least: int = 1) -> int:
    """A number of tokens from text such as 164M (K, M, B, T are powers of 1000). Raises SpecError."""
    match = re.fullmatch(r"([+-]?[0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)([KMBT]?)", str(text).strip().upper())
    number = Fraction(match[1].replace("_", "")) * _SUFFIXES[match[2]] if match and len(match[1]) < 100 else None
    if number is None or number.denominator != 1:
        raise SpecError(f"{name} {str(text)!r} is not a number of tokens: use digits and K, M, B or T, as in 164M")
    if number < least:
        raise SpecError(f"{name} {str(text)!r} is too few: use {least} or more, as in 164M")
    return int(number)


def parse_seq_len(text: str | int) -> int:
    """A row's training length from text such as 1024 or 8k (k is 1024 here). Raises SpecError."""
    match = re.fullmatch(r"([0-9]{1,9})(k?)", str(text).strip().lower())
    if not match:
        raise SpecError(f"seq_len {str(text)!r} is not a length: use 1k to 16k, as in 1024 or 8k")
    return int(match[1]) * (1024 if match[2] else 1)


def from_settings(settings: Mapping) -> Spec:
    """A spec from the settings of a TOML order or of the command line, as people type them.

    Beside the fields of `Spec` this takes `band` or `bands` (a name, limits or a list of them), `for` (a domain)
    and `preset`; `format` and `out` may stand there too and decide nothing here.
    Raises SpecError with one line that says what to type instead.
    """
    settings = {key.replace("-", "_"): value for key, value in settings.items() if value is not None}
    _refuse_unknown(settings, [*(f.name for f in fields(Spec)), "band", "for", "preset", *ORDER_EXTRAS])
    settings = {key: value for key, value in settings.items() if key not in ORDER_EXTRAS}
    preset = settings.pop("preset", "released")
    if preset not in list(PRESETS):
        raise SpecError(f"preset {preset!r} is not known: use {' or '.join(PRESETS)}")
    if "tokens" not in settings:
        raise SpecError("tokens is missing: say how many, as in --tokens 164M")
    bands = _bands(settings)
    tokens = parse_tokens(settings.pop("tokens"))
    validation = parse_tokens(settings.pop("validation", Spec.validation), "validation", least=0)
    seq_len = parse_seq_len(settings.pop("seq_len", Spec.seq_len))
    values = PRESETS[preset] | settings
    for name in ("temperature", "identity_bias"):
        value = values.get(name)
        if type(value) is float or (type(value) is int and abs(value) < 2**32):
            values[name] = float(value) + 0.0  # so that -0.0 is 0.0, which has the same rows
    return Spec(tokens=tokens, validation=validation, bands=bands, seq_len=seq_len, **values)


def read_order(path: str | Path) -> dict:
    """The settings of a TOML order, for `from_settings`. Raises SpecError."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"order {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"order {str(path)!r} is not TOML: {error}") from None


def _bands(settings: dict) -> tuple[Band, ...]:
    """Takes band, bands and for out of the settings."""
    named = [settings.pop(key) for key in ("band", "bands") if key in settings]
    texts = [str(text) for entry in named for text in (entry if isinstance(entry, list | tuple) else [entry])]
    domain = settings.pop("for", None)
    if domain is not None:
        if domain not in list(DOMAINS):
            raise SpecError(f"domain {domain!r} is not known: use {', '.join(DOMAINS)}")
        texts.append(DOMAINS[domain])
    if not texts:
        raise SpecError("no band is given: use --band high (web text, math), --band medium (code) or --for code")
    return tuple(Band.parse(text) for text in dict.fromkeys(texts))


def _refuse_unknown(settings: Mapping, known: list[str]) -> None:
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise SpecError(f"setting {key!r} is not known: {hint}")


def _check(spec: Spec) -> None:
    """Raises SpecError for the first setting that is out of its range."""
    # Temperature and bias are bounded so that logits stay inside int32 for every alphabet: see sources/nca/rules.py.
    ranges: dict[str, tuple[type[int] | type[float], float, float]] = {
        "tokens": (int, 1, 10**15),
        "validation": (int, 0, 10**15),
        "seed": (int, 0, 2**32 - 1),
        "rows_per_shard": (int, 1, 10**6),
        "states": (int, 2, 256),
        "grid": (int, 3, 128),
        "patch": (int, 1, 128),
        "seq_len": (int, 1000, 16384),
        "warmup": (int, 0, 10**6),
        "stride": (int, 1, 10**4),
        "temperature": (float, 0.0, 1.0),
        "identity_bias": (float, -10.0, 10.0),
        "trajectories_per_rule": (int, 1, 10**6),
    }
    for name, (kind, least, most) in ranges.items():
        value = getattr(spec, name)
        if type(value) is not kind:
            raise SpecError(f"{name} {value!r} is not {'a whole number' if kind is int else 'a number'}")
        if not least <= value <= most:
            raise SpecError(f"{name} {value} is out of range: use {_plain(least)} to {_plain(most)}")
    if type(spec.channel_wrap) is not bool:
        raise SpecError(f"channel_wrap {spec.channel_wrap!r} is not true or false")
    if spec.start not in STARTS:
        raise SpecError(f"start {spec.start!r} is not known: use {' or '.join(STARTS)}")
    if spec.grid % spec.patch:
        fitting = ", ".join(str(p) for p in range(1, spec.grid + 1) if spec.grid % p == 0)
        raise SpecError(f"grid {spec.grid} is not divisible by patch {spec.patch}: use a patch of {fitting}")
    if spec.vocabulary > 2**32:
        raise SpecError(
            f"vocabulary of states {spec.states} to the power {spec.patch**2} (the cells of a patch), and {DELIMITERS},"
            f" is over {2**32}: use fewer states or a smaller patch"
        )
    if not spec.bands:
        raise SpecError("no band is given: use --band high")
    names = [band.name for band in spec.bands]
    for band in spec.bands:
        if Band.parse(band.name) != band or not type(band.low) is type(band.high) is float:  # the name is a folder's
            raise SpecError(f"band {band.name!r} does not have the limits {band.low} and {band.high}")
        if names.count(band.name) > 1:
            raise SpecError(f"band {band.name!r} is given twice")
        first, end = band.lengths(spec.scored_bytes)
        if first >= end:
            raise SpecError(f"band {band.name!r} holds no gzip length of {spec.scored_bytes} bytes: make it wider")
    if spec.shards("train") >= 2**31 or spec.shards("validation") >= 2**31:
        raise SpecError("this is over 2147483647 shards: use more rows_per_shard")


def _plain(limit: float) -> str:
    """An integer in full, another number in short."""
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
