"""Reads an experiment from its TOML file: presets, tables and the checks of single values.

Every error is one line that names the table and the setting. Files that the experiment names are relative to the TOML
file's folder. Not covered: whether they are there and fit (`check`).
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ncagen import NcagenError
from ncagen.factory.settings import parse_tokens
from transfer.settings import (
    PRECISIONS,
    Arm,
    Choice,
    Experiment,
    ModelSize,
    SourceStage,
    TextStage,
    Training,
    TuneStage,
)

PRESETS = Path(__file__).parent / "presets.toml"
TOP = ("name", "preset", "seeds", "precision", "compile", "model", "source", "text", "tune", "arm")
ARM = ("source", "times", "checkpoint", "reinit", "freeze")
REINIT = ("embeddings", "head")
KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list",
    dict: "a table",
}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def read(path: Path) -> Experiment:
    """The experiment that a TOML file describes. Raises NcagenError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NcagenError(f"{path} does not exist: use an experiment's TOML file") from None
    except (OSError, ValueError) as error:
        raise NcagenError(f"{path} is no TOML file: {error}") from None
    return of_settings(values, path.parent)


def of_settings(values: Mapping[str, Any], folder: Path) -> Experiment:
    """The experiment of the tables of a TOML file. folder: what names of files begin in. Raises NcagenError."""
    _known("the experiment", values, TOP)
    preset = _preset(values.get("preset", "cpu"))
    text = {name: _text(name, table, preset, folder) for name, table in _tables(values, "text").items()}
    if not text:
        raise NcagenError("the experiment has no text: add a table such as [text.code]")
    experiment = Experiment(
        name=_name("experiment", values.get("name", "experiment")),
        preset=values.get("preset", "cpu"),
        seeds=_seeds(values.get("seeds", [0, 1, 2])),
        precision=_one_of("precision", values.get("precision", preset["precision"]), PRECISIONS),
        compile=_typed("the experiment", "compile", values.get("compile", preset["compile"]), bool),
        model=_made("[model]", ModelSize, preset["model"] | _table(values, "model")),
        source=_source(_table(values, "source"), preset, folder),
        text=text,
        tune={name: _tune(name, table, preset, folder) for name, table in _tables(values, "tune").items()},
        arms=tuple(_arm(name, table, folder) for name, table in _tables(values, "arm").items()),
    )
    _check_arms(experiment)
    return experiment


def with_seeds(experiment: Experiment, seeds: Sequence[int] | None) -> Experiment:
    """The experiment with some of its seeds, as one of several processes or machines runs it. Raises NcagenError."""
    if unknown := [seed for seed in seeds or () if seed not in experiment.seeds]:
        known = ", ".join(map(str, experiment.seeds))
        raise NcagenError(f"seed {unknown[0]} is not one of the experiment's: use {known}")
    return replace(experiment, seeds=tuple(seeds)) if seeds else experiment


def _preset(name: Any) -> dict[str, Any]:
    presets = tomllib.loads(PRESETS.read_text(encoding="utf-8"))
    return presets[_one_of("preset", name, tuple(presets))]


def _source(table: dict[str, Any], preset: dict[str, Any], folder: Path) -> SourceStage:
    return _stage("[source]", SourceStage, table, preset["source"], folder, ("experiment",))


def _text(name: str, table: dict[str, Any], preset: dict[str, Any], folder: Path) -> TextStage:
    return _stage(f"[text.{_name('text', name)}]", TextStage, table, preset["text"], folder, ("data",))


def _tune(name: str, table: dict[str, Any], preset: dict[str, Any], folder: Path) -> TuneStage:
    where = f"[tune.{_name('tune', name)}]"
    tasks = {task: _path(folder, path) for task, path in _typed(where, "tasks", table.get("tasks", {}), dict).items()}
    files = ("data", "validation", "tokenizer", "task_folder")
    return _stage(where, TuneStage, table | {"tasks": tasks}, preset["tune"], folder, files)


def _stage(where: str, kind: Any, table: dict[str, Any], preset: dict[str, Any], folder: Path, files: tuple) -> Any:
    """A stage of a table: its own settings, those of its training, which the preset has too, and names of files."""
    own = [entry.name for entry in fields(kind) if entry.name != "training"]
    _known(where, table, (*own, *preset))
    training = _made(where, Training, preset | {name: value for name, value in table.items() if name in preset})
    values = {name: table[name] for name in own if name in table}
    if "tokens" in values:
        values["tokens"] = parse_tokens(values["tokens"], f"{where} tokens")
    values |= {name: _path(folder, _typed(where, name, values[name], str)) for name in files if values.get(name)}
    return _made(where, kind, values | {"training": training})


def _arm(name: str, table: dict[str, Any], folder: Path) -> Arm:
    where = f"[arm.{_name('arm', name)}]"
    if "tokens" in table:
        raise NcagenError(f"{where} has tokens of its own: all arms have those of [source]; times = 10 gives ten times")
    _known(where, table, ARM)
    checkpoint, source = table.get("checkpoint"), table.get("source", name)
    times = _typed(where, "times", table.get("times", 1), int)
    if times < 1:
        raise NcagenError(f"{where} times {times} is out of range: use 1 or more")
    if checkpoint is not None and ("source" in table or "times" in table):
        raise NcagenError(f"{where} has a checkpoint and a stage 1: use one of them")
    if name == "scratch" or checkpoint is not None:
        source = None
    parts = {
        key: _choices(where, key, table.get(key, REINIT if key == "reinit" else ())) for key in ("reinit", "freeze")
    }
    if name == "scratch" and (unused := [key for key in ARM if key in table and key != "freeze"]):
        raise NcagenError(f"{where} has {unused[0]}: the arm scratch begins with nothing learned, leave it out")
    checkpoint = checkpoint and _path(folder, _typed(where, "checkpoint", checkpoint, str))
    return Arm(name, source and _typed(where, "source", source, str), times, checkpoint, **parts)


def _choices(where: str, key: str, texts: Any) -> tuple[Choice, ...]:
    try:
        return tuple(Choice.parse(text) for text in _typed(where, key, texts, tuple))
    except NcagenError as error:
        raise NcagenError(str(error) if str(error).startswith(where) else f"{where} {key}: {error}") from None


def _check_arms(experiment: Experiment) -> None:
    names = [arm.name for arm in experiment.arms]
    if "scratch" not in names:
        raise NcagenError("the experiment has no arm to compare with: add [arm.scratch]")
    if experiment.preset == "released" and (experiment.source.tokens != 163_840_000):
        raise NcagenError(
            f"[source] tokens {experiment.source.tokens:,}: the preset released takes the model after 5,000 updates,"
            " tokens = '163.84M'"
        )
    for arm in experiment.arms:
        for choice in (*arm.reinit, *arm.freeze):
            if choice.last is not None and choice.last >= experiment.model.layers:
                layers = experiment.model.layers
                raise NcagenError(f"[arm.{arm.name}] {choice}: the model has {layers} layers, 0 to {layers - 1}")
    for name, stage in experiment.tune.items():
        if stage.text not in experiment.text:
            known = ", ".join(experiment.text)
            raise NcagenError(f"[tune.{name}] text {stage.text!r} is not a table of the experiment: use {known}")


def _made(where: str, kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass of a table's values, each of the type that it declares. Raises NcagenError."""
    hints = get_type_hints(kind)
    _known(where, values, tuple(hints))
    required = [entry.name for entry in fields(kind) if str(entry.default_factory) == str(entry.default)]
    if missing := [name for name in required if name not in values]:
        raise NcagenError(f"{where} has no {missing[0]}: it is needed")
    checked = {}
    for name, value in values.items():
        wanted = hints[name] if isinstance(hints[name], type) else get_args(hints[name]) and hints[name].__origin__
        checked[name] = value if wanted not in KINDS else _typed(where, name, value, wanted)
    try:
        return kind(**checked)
    except NcagenError as error:
        raise NcagenError(f"{where} {error}") from None


def _typed(where: str, name: str, value: Any, kind: type) -> Any:
    """A value of a type; whole numbers are numbers too, and lists become tuples. Raises NcagenError."""
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind:
        raise NcagenError(f"{where} {name} {value!r} is not {KINDS[kind]}")
    return value


def _seeds(values: Any) -> tuple[int, ...]:
    whole = isinstance(values, list) and all(type(seed) is int and 0 <= seed < 2**31 for seed in values)
    if not whole or not values or len(set(values)) < len(values):
        raise NcagenError(f"seeds {values!r} are not different whole numbers: use a list such as [0, 1, 2]")
    return tuple(values)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise NcagenError(f"{name} {value!r} is not known: use {', '.join(known)}")
    return value


def _name(kind: str, value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise NcagenError(f"{kind} {value!r} is no name: use a-z, 0-9, - and _, up to 64, a letter or digit first")
    return value


def _known(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := [name for name in table if name not in known]:
        raise NcagenError(f"{where} has an unknown setting {unknown[0]!r}: known are {', '.join(known)}")


def _table(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _typed("the experiment", name, values.get(name, {}), dict)


def _tables(values: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {key: _typed(f"[{name}]", key, table, dict) for key, table in _table(values, name).items()}


def _path(folder: Path, name: str) -> str:
    """A name relative to the TOML file's folder, without detours such as a/../b."""
    return os.path.normpath(folder / name)
