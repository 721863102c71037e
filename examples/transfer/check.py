"""Opens what an experiment reads and checks that all of it fits, before anything is trained.

Refused in one line each: a file that is missing, fewer rows than a stage takes (a pass never repeats rows, so all arms
see as many different ones), ids that a model does not have, embeddings that would be kept for other ids, another
tokenizer, a checkpoint of another architecture, rows that do not divide among ranks.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

import ncagen
from ncagen import NcagenError
from transfer.model import check_shape, config_of
from transfer.rows import layout_of
from transfer.settings import Arm, Experiment, Training, TuneStage

MULTIPLE = 64  # matrices of such sizes are faster; higher ids are unused


@dataclass(frozen=True)
class Data:
    """A dataset as a stage reads it. offset: added to its ids."""

    train: ncagen.Dataset
    validation: ncagen.Dataset
    offset: int

    @property
    def seq_len(self) -> int:
        return self.train.row_format.seq_len

    @property
    def sha256(self) -> str:
        return self.train.manifest.dataset_sha256

    @property
    def ids(self) -> int:
        """The highest id of its rows and one."""
        return self.train.row_format.vocabulary + self.offset

    def setting(self, name: str) -> Any:
        """A setting of its source, None where it has none of this name."""
        return dict(self.train.manifest.spec.source.values).get(name)


@dataclass(frozen=True)
class Materials:
    """An experiment with all that it reads, checked. source: by the name of an arm's source. text: by domain."""

    experiment: Experiment
    source: dict[str, Data]
    text: dict[str, Data]
    config: LlamaConfig

    @property
    def vocabulary(self) -> int:
        """Ids of the model, in all stages."""
        return self.config.vocab_size

    def steps(self, arm: Arm) -> int:
        """Steps of an arm's stage 1."""
        return arm.times * steps_of(
            self.experiment.source.tokens, self.experiment.source.training, self.source[arm.source]
        )

    def text_steps(self, domain: str) -> int:
        """Steps of stage 2, of every arm."""
        stage = self.experiment.text[domain]
        return steps_of(stage.tokens, stage.training, self.text[domain])

    def layout(self, data: Data) -> ncagen.Layout:
        """How a dataset's rows become inputs and labels."""
        return layout_of(data.offset, self.vocabulary)


def steps_of(tokens: int, training: Training, data: Data) -> int:
    """Whole steps of a budget of tokens."""
    return tokens // (training.batch * data.seq_len)


def check(experiment: Experiment, world: int = 1) -> Materials:
    """Opens everything and checks it. world: the number of ranks. Raises NcagenError."""
    _check_ranks(experiment, world)
    source = _sources(experiment)
    text = {domain: _open(f"[text.{domain}]", stage.data) for domain, stage in experiment.text.items()}
    config = config_of(experiment.model, _vocabulary(experiment, source, text), _positions(experiment, source, text))
    found = Materials(experiment, source, text, config)
    for arm in experiment.arms:
        _check_arm(found, arm)
    for domain, stage in experiment.text.items():
        _check_rows(f"[text.{domain}]", found.text_steps(domain), stage.training, text[domain], stage.tokens)
    for name, stage in experiment.tune.items():
        _check_tune(f"[tune.{name}]", stage, text[stage.text])
    return found


def _sources(experiment: Experiment) -> dict[str, Data]:
    wanted = {arm.source: arm for arm in experiment.arms if arm.source is not None}
    if not wanted:
        return {}
    if not experiment.source.experiment:
        raise NcagenError("[source] has no experiment: name the folder that `ncagen build ARMS.toml --out` made")
    built = ncagen.open_experiment(experiment.source.experiment)
    for name, arm in wanted.items():
        if name not in built.arms:
            known = ", ".join(built.arms)
            raise NcagenError(
                f"[arm.{arm.name}] source {name!r} is no arm of {experiment.source.experiment}: use {known}"
            )
    return {
        name: Data(arm.open(), arm.open("validation"), arm.offset) for name, arm in built.arms.items() if name in wanted
    }


def _open(where: str, folder: str) -> Data:
    try:
        return Data(ncagen.open(folder), ncagen.open(folder, split="validation"), 0)
    except NcagenError as error:
        raise NcagenError(f"{where} {error}") from None


def _vocabulary(experiment: Experiment, source: dict[str, Data], text: dict[str, Data]) -> int:
    named = {f"arm {name!r}": data.ids for name, data in source.items()} | {
        f"text {n!r}": d.ids for n, d in text.items()
    }
    largest, given = max(named, key=named.__getitem__), experiment.model.vocabulary
    if given and given < named[largest]:
        raise NcagenError(f"vocabulary {given:,} is too small: {largest} has {named[largest]:,} ids")
    return given or -(-named[largest] // MULTIPLE) * MULTIPLE


def _positions(experiment: Experiment, source: dict[str, Data], text: dict[str, Data]) -> int:
    lengths = [data.seq_len for data in (*source.values(), *text.values())]
    return max([*lengths, *(stage.seq_len for stage in experiment.tune.values())])


def _check_arm(found: Materials, arm: Arm) -> None:
    where = f"[arm.{arm.name}]"
    if arm.checkpoint is not None:
        try:
            check_shape(arm.checkpoint, found.config)
        except NcagenError as error:
            raise NcagenError(f"{where} {error}") from None
    if arm.source is None:
        return
    data, stage = found.source[arm.source], found.experiment.source
    _check_rows(where, found.steps(arm), stage.training, data, stage.tokens * arm.times)
    if "embeddings" in {choice.part for choice in arm.reinit}:
        return
    for domain, text in found.text.items():
        if data.offset or data.setting("tokenizer_sha256") != text.setting("tokenizer_sha256"):
            raise NcagenError(
                f"{where} keeps the embeddings of other ids than those of text {domain!r}: add embeddings to reinit"
            )


def _check_rows(where: str, steps: int, training: Training, data: Data, tokens: int) -> None:
    needed, there = steps * training.batch, len(data.train)
    if not steps:
        step = training.batch * data.seq_len
        raise NcagenError(f"{where} {tokens:,} tokens are less than one step of {step:,}: use more, or a smaller batch")
    if there < needed:
        raise NcagenError(
            f"{where} has {there * data.seq_len:,} tokens and the stage takes {needed * data.seq_len:,}: all arms have"
            " one budget, so build more rows or use fewer tokens"
        )


def _check_tune(where: str, stage: TuneStage, text: Data) -> None:
    for path in _files(stage):
        if not Path(path).exists():
            raise NcagenError(f"{where} {path} does not exist")
    if stage.few and (files := [path for path in stage.tasks.values() if Path(path).is_file()]):
        raise NcagenError(
            f"{where} few {stage.few} needs examples of another split: use a folder instead of {files[0]}"
        )
    found = hashlib.sha256(Path(stage.tokenizer).read_bytes()).hexdigest()
    if found != text.setting("tokenizer_sha256"):
        raise NcagenError(f"{where} tokenizer {stage.tokenizer} is not the one of text {stage.text!r}: use that one")
    if stage.tasks and importlib.util.find_spec("lm_eval") is None:
        raise NcagenError(f"{where} has tasks, which need lm_eval: pip install -r examples/transfer/requirements.txt")


def _files(stage: TuneStage) -> Iterator[str]:
    yield from filter(None, (stage.data, stage.validation, stage.tokenizer, stage.task_folder))
    yield from stage.tasks.values()


def _check_ranks(experiment: Experiment, world: int) -> None:
    stages: list[tuple[str, Any]] = [("[source]", experiment.source)]
    stages += [(f"[text.{name}]", stage) for name, stage in experiment.text.items()]
    stages += [(f"[tune.{name}]", stage) for name, stage in experiment.tune.items()]
    for where, stage in stages:
        training = stage.training
        if training.batch % (training.micro * world):
            raise NcagenError(
                f"{where} batch {training.batch} is not a multiple of micro {training.micro} on {world} ranks: change"
                " one of them"
            )
