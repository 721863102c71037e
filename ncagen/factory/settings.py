"""Turns what people type, as flags or in a TOML file, into a build spec.

A setting is of the build (tokens, bands, seed, row length), or of the source that `source` names (`nca` if left out),
which lists its own. Everything is checked here or by the value objects it becomes; nothing is made.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ncagen.errors import SpecError
from ncagen.selection import ALL, BANDS, DOMAINS, Band
from ncagen.sources import SOURCES, source_of
from ncagen.sources.scored import GZIP_COLUMNS
from ncagen.sources.source import Option, Source
from ncagen.spec import BuildSpec, SourceSettings, check_range, default_rows_per_shard

DEFAULT_SOURCE = "nca"

BUILD_SETTINGS = ("tokens", "validation", "test", "seed", "seq_len", "rows_per_shard")
OTHER_SETTINGS = ("source", "band", "bands", "band_normalised", "for")
FILE_SETTINGS = ("format", "out")  # what a TOML file may hold beside the settings of its rows

WithCorpus = Callable[[Mapping[str, Any]], dict[str, Any]]

_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_TOKENS = r"([+-]?[0-9][0-9_]*(?:\.[0-9]+)?|\.[0-9]+)(?:E([+-]?[0-9]{1,2})|([KMBT]))?"


def from_settings(settings: Mapping[str, Any], with_corpus: WithCorpus = dict) -> BuildSpec:
    """A build spec from the settings of a TOML file or of the command line, as people type them.

    These are the fields of `BuildSpec`, the options of the source, `band` or `bands` (a name, limits or a list of
    them) and `for` (a domain); `format` and `out` may be among them and decide nothing here.
    with_corpus: puts a prepared corpus in the place of files, which may take hours: called after all other checks.
    Raises SpecError with one line that says what to type instead.
    """
    settings = {key.replace("-", "_"): value for key, value in settings.items() if value is not None}
    if isinstance(settings.get("arm"), Mapping):
        raise SpecError("settings with arms are of an experiment: use ncagen.build_experiment, or those of one arm")
    source = source_named(settings)
    settings.pop("source", None)
    options = [option.name for option in source.options]
    known = [*BUILD_SETTINGS, *OTHER_SETTINGS, *options, *FILE_SETTINGS]
    for key in settings:
        theirs = [name for name in SOURCES if key in [option.name for option in SOURCES[name].options]]
        if theirs and key not in known:
            raise SpecError(f"setting {key!r} is of source {' and '.join(theirs)}, not of {source.name}: leave it out")
    refuse_unknown(settings, known)
    if "tokens" not in settings and "test" not in settings:
        raise SpecError("tokens is missing: say how many, as in --tokens 164M")
    build: dict[str, Any] = {name: settings[name] for name in BUILD_SETTINGS if name in settings}
    build["test"] = parse_tokens(build.get("test", BuildSpec.test), "test", least=0)
    build["tokens"] = parse_tokens(build.get("tokens", 0), least=0 if build["test"] else 1)
    validation = BuildSpec.validation if build["tokens"] else 0
    build["validation"] = parse_tokens(build.get("validation", validation), "validation", least=0)
    build["seq_len"] = parse_seq_len(build.get("seq_len", BuildSpec.seq_len))
    for name in build:
        check_range(name, build[name], least=0 if name == "tokens" else None)
    build.setdefault("rows_per_shard", default_rows_per_shard(build["seq_len"]))
    _band_texts(settings)
    settings = with_corpus(settings | {"source": source.name})
    made = source.from_options({name: settings[name] for name in options if name in settings}, build["seq_len"])
    spec = BuildSpec(source=settings_of_source(made), bands=_bands(settings, made), **build)
    spec = replace(spec, source=settings_of_source(made.for_build(spec)))
    check_bands(spec)
    return spec


def settings_of_source(source: Source) -> SourceSettings:
    """A source as it stands in a spec."""
    return SourceSettings(source.name, source.version, tuple(source.to_dict().items()))


def check_bands(spec: BuildSpec) -> None:
    """Raises SpecError for a band that its source cannot have."""
    measures = source_of(spec).measures
    for band in spec.bands:
        if not measures:
            if band.name != ALL:
                raise SpecError(f"band {band.name!r} selects by a measure, and source {spec.source.name} has none")
            continue
        if band.name in BANDS and measures[0].column not in GZIP_COLUMNS:
            raise SpecError(
                f"band {band.name!r} is a range of gzip ratios, and bands select by {measures[0].column}: use limits,"
                " as in --band 0.1-0.3"
            )
        if band.of:
            _check_noise(band, source_of(spec))
        first, end = band.limits(measures[0])
        if first >= end:
            raise SpecError(
                f"band {band.name!r} holds no {measures[0].column} of {measures[0].denominator}: make it wider"
            )


def source_options() -> tuple[Option, ...]:
    """The options of every source, each name once, for the command line; texts that are not those of the default
    source say whose they are."""
    found: dict[str, Option] = {}
    texts: dict[str, dict[str, list[str]]] = {}
    for source in SOURCES.values():
        for option in source.options:
            found.setdefault(option.name, option)
            texts.setdefault(option.name, {}).setdefault(option.doc, []).append(source.name)
    return tuple(replace(option, doc=_doc(texts[name])) for name, option in found.items())


def _doc(texts: Mapping[str, list[str]]) -> str:
    """The texts of one option, each with the sources that have it."""
    return " ".join(text if DEFAULT_SOURCE in names else f"{', '.join(names)}: {text}" for text, names in texts.items())


def parse_tokens(text: str | int, name: str = "tokens", least: int = 1) -> int:
    """A number of tokens from text such as 164M (K, M, B, T are powers of 1000) or 1.64e8. Raises SpecError."""
    match = re.fullmatch(_TOKENS, str(text).strip().upper())
    number = _number(match[1], match[2], match[3]) if match and len(match[1]) < 100 else None
    if number is None or number.denominator != 1:
        raise SpecError(f"{name} {str(text)!r} is not a number of tokens: use digits and K, M, B or T, as in 164M")
    if number < least:
        raise SpecError(f"{name} {str(text)!r} is too few: use {least} or more, as in 164M")
    return int(number)


def _number(digits: str, exponent: str | None, suffix: str | None) -> Fraction:
    return Fraction(digits.replace("_", "")) * Fraction(10) ** int(exponent or 0) * _SUFFIXES[suffix or ""]


def parse_seq_len(text: str | int) -> int:
    """A row's training length from text such as 1024 or 8k (k is 1024 here). Raises SpecError."""
    match = re.fullmatch(r"([0-9]{1,9})(k?)", str(text).strip().lower())
    if not match:
        raise SpecError(f"seq_len {str(text)!r} is not a length: use 64 to 128k, as in 1024 or 8k")
    return int(match[1]) * (1024 if match[2] else 1)


def read_spec_file(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file, for `from_settings`. Raises SpecError."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"spec file {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"spec file {str(path)!r} is not TOML: {error}") from None


def source_named(settings: Mapping[str, Any]) -> type[Source]:
    """The source that settings name, the default one if they name none. Raises SpecError."""
    name = settings.get("source", DEFAULT_SOURCE)
    if name not in list(SOURCES):
        raise SpecError(f"source {name!r} is not known: use {', '.join(SOURCES)}")
    return SOURCES[str(name)]


def _bands(settings: Mapping[str, Any], source: Source) -> tuple[Band, ...]:
    """The bands in band, bands, band_normalised and for; the one of all rows where there are none."""
    texts, shares = _band_texts(settings)
    if not texts and not shares and source.measures and source.needs_band:
        raise SpecError("no band is given: use --band high (web text, math), --band medium (code) or --for code")
    bands = [Band.parse(text) for text in dict.fromkeys(texts if texts or shares else [ALL])]
    return *bands, *(Band.parse(text, _noise_score(text, source)) for text in dict.fromkeys(shares))


def _band_texts(settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The bands that settings name, and those as shares of noise. Raises SpecError for a text that is no band."""
    texts = _texts(settings, "band", "bands")
    domain = settings.get("for")
    if domain is not None:
        if domain not in list(DOMAINS):
            raise SpecError(f"domain {domain!r} is not known: use {', '.join(DOMAINS)}")
        texts.append(DOMAINS[domain])
    shares = _texts(settings, "band_normalised")
    for text in texts + shares:
        Band.parse(text)
    return texts, shares


def _texts(settings: Mapping[str, Any], *keys: str) -> list[str]:
    """The values of some settings, each a text or a list of them."""
    named = [settings[key] for key in keys if key in settings]
    return [str(text) for entry in named for text in (entry if isinstance(entry, list | tuple) else [entry])]


def _noise_score(text: str, source: Source) -> str:
    """The mean score of noise, as an exact fraction. Raises SpecError where bands do not select by such a score."""
    score = mean_noise(source)
    if not score:
        raise SpecError(
            f"band-normalised {text!r} is a share of what noise scores, and noise has no score in source"
            f" {source.name} with these settings: use --band"
        )
    return score


def mean_noise(source: Source) -> str:
    """The mean score of noise in a source, as an exact fraction; empty where noise has no score."""
    scores = source.noise_scores()
    return str(Fraction(int(scores.sum()), len(scores))) if len(scores) else ""


def _check_noise(band: Band, source: Source) -> None:
    """Raises SpecError for a normalised band of another alphabet, or of none that noise has a score in."""
    score = mean_noise(source)
    if band.of != score:
        noise = f"scores {score}" if score else "has no score"
        raise SpecError(
            f"band {band.name!r} is normalised by {band.of}, and noise {noise} in source {source.name} with these"
            " settings: it is another source's band"
        )


def refuse_unknown(settings: Mapping[str, Any], known: list[str]) -> None:
    """Raises SpecError for the first setting that is not known."""
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise SpecError(f"setting {key!r} is not known: {hint}")
