"""Turns a file of several arms into an experiment's spec.

    tokens = "164M"                 of every arm, as are validation, seed, seq_len, rows_per_shard and the band
    band = "0.4-0.5"
    vocabulary = "shared"
    [arm.high]                      the settings of a source; an arm may have tokens, validation and a band of its own
    [test.wide]                     a test set: an arm's settings, with some changed
    of = "high"

Everything is checked here or by the value objects it becomes; nothing is made. Errors name the arm.
"""

from collections.abc import Mapping
from typing import Any

from ncagen.dataset.experiment import TEST, VOCABULARIES, DatasetSpec, ExperimentSpec, check_name
from ncagen.errors import NcagenError, SpecError
from ncagen.factory import text_corpus
from ncagen.factory.settings import FILE_SETTINGS, WithCorpus, from_settings, refuse_unknown
from ncagen.spec import BuildSpec

ARM = "arm"
BAND_SETTINGS = ("band", "bands", "band_normalised", "for")
# What every arm has alike, and what an arm may have of its own.
ONE_FOR_ALL = ("seed", "seq_len", "rows_per_shard")
SHARED_SETTINGS = ("tokens", "validation", *ONE_FOR_ALL, *BAND_SETTINGS)
EXPERIMENT_SETTINGS = ("name", "vocabulary")

DEFAULT_NAME = "experiment"

# Sources whose build divides what there is among its splits: another build's test rows may be an arm's training rows.
DIVIDED_BY_BUILD = ("text",)

Settings = Mapping[str, Any]


def is_experiment(settings: Settings) -> bool:
    """Whether the settings of a TOML file are those of an experiment: one dataset's have no tables."""
    return ARM in settings or any(isinstance(value, Mapping) for value in settings.values())


def experiment_from_settings(settings: Settings, with_corpus: WithCorpus = dict) -> ExperimentSpec:
    """An experiment's spec from the settings of a TOML file. Raises SpecError with one line that says what to type.

    with_corpus: as of `from_settings`. Arms of other sources are checked first.
    """
    settings = _normal(settings)
    arms, tests = _tables(settings, ARM), _tables(settings, TEST)
    shared = {key: value for key, value in settings.items() if key not in (ARM, TEST)}
    refuse_unknown(shared, [*SHARED_SETTINGS, *EXPERIMENT_SETTINGS, *FILE_SETTINGS, ARM, TEST])
    shared_by_arms = {key: value for key, value in shared.items() if key in SHARED_SETTINGS}
    of_arms = {name: _arm(name, shared_by_arms, own) for name, own in arms.items()}
    of_tests = {name: _test(name, own, of_arms) for name, own in tests.items()}
    in_turn = sorted(of_arms, key=lambda name: text_corpus.names_files(of_arms[name]))
    made_tests = [_dataset(TEST, name, values, of=tests[name]["of"]) for name, values in of_tests.items()]
    made = {name: _dataset(ARM, name, of_arms[name], with_corpus) for name in in_turn}
    return ExperimentSpec(
        shared.get("name", DEFAULT_NAME),
        shared.get("vocabulary", VOCABULARIES[0]),
        tuple(made[name] for name in of_arms),
        tuple(made_tests),
    )


def _normal(settings: Settings) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in settings.items()}


def _tables(settings: Settings, kind: str) -> dict[str, dict[str, Any]]:
    """The tables of arms or of test sets, by name."""
    tables = settings.get(kind, {})
    if not isinstance(tables, Mapping):
        raise SpecError(f"{kind} {tables!r} is no table: use [{kind}.NAME]")
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise SpecError(f"{kind}.{name} {table!r} is no table: use [{kind}.NAME] with settings below it")
        check_name(_kind(kind), name)
    return {name: _normal(table) for name, table in tables.items()}


def _kind(kind: str) -> str:
    return "arm" if kind == ARM else "test set"


def _arm(name: str, shared: Settings, own: Settings) -> dict[str, Any]:
    """All settings of an arm."""
    for key in (*ONE_FOR_ALL, *FILE_SETTINGS, *EXPERIMENT_SETTINGS):
        if key in own:
            raise SpecError(f"arm {name!r} has {key} of its own: write it once, above the arms, for all of them")
    return _changed(shared, own)


def _changed(settings: Settings, changes: Settings) -> dict[str, Any]:
    """Settings with some changed; a band takes the place of every other way to say one."""
    if any(key in changes for key in BAND_SETTINGS):
        settings = {key: value for key, value in settings.items() if key not in BAND_SETTINGS}
    return {**settings, **changes}


def _test(name: str, own: Settings, arms: Mapping[str, Settings]) -> dict[str, Any]:
    """All settings of a test set: those of its arm with some changed, and rows of the split `test` alone."""
    of = own.get("of")
    if type(of) is not str or of not in arms:
        whose = f"is of arm {of!r}" if "of" in own else "does not say of which arm it is"
        known = " or ".join(f'"{arm}"' for arm in arms) or "an arm's name"
        raise SpecError(f"test set {name!r} {whose}: use of = {known}")
    if arms[of].get("source") in DIVIDED_BY_BUILD:
        raise SpecError(
            f"test set {name!r} is of arm {of!r}, whose own build has to hold its rows back: leave it out, and write"
            f' test = "1M" below [arm.{of}]'
        )
    for key in ("source", "validation", "seed", TEST, *FILE_SETTINGS, *EXPERIMENT_SETTINGS):
        if key in own:
            raise SpecError(f"test set {name!r} has {key} of its own: it has that of its arm, leave it out")
    if "tokens" not in own:
        raise SpecError(f'test set {name!r} has no tokens of its own: say how many, as in tokens = "1M"')
    changes = {key: value for key, value in own.items() if key not in ("of", "tokens")}
    counts = {"tokens": 0, "validation": 0, TEST: own["tokens"]}
    return {**_changed(arms[of], changes), **counts}


def _dataset(
    kind: str, name: str, settings: Settings, with_corpus: WithCorpus = dict, of: str | None = None
) -> DatasetSpec:
    try:
        spec: BuildSpec = from_settings(settings, with_corpus)
    except NcagenError as error:
        raise SpecError(f"{_kind(kind)} {name!r}: {error}") from None
    return DatasetSpec(name, spec, of)
