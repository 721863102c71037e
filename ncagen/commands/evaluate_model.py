"""The parts of ncagen evaluate that have a model or a training loop: --model and --check-training."""

import hashlib
import importlib
import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ncagen.commands.console import WRONG, progress
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError

KINDS = ("huggingface", "torch", "numpy")
OPTIONS = (
    click.option("--model", help="A causal model that transformers loads, to score: a folder, or a name on the Hub."),
    click.option("--batch-size", type=click.IntRange(min=1), default=4, help="With --model: rows at a time.  [4]"),
    click.option("--device", default="auto", help="With --model: cpu, cuda, cuda:1, ..., or auto.  [auto]"),
    click.option("--plot", type=click.Path(path_type=Path), help="Draw the losses by grid: .png, .svg or .pdf."),
    click.option("--check-training", metavar="MODULE:FUNCTION", help="A loop to check: a function of a model."),
    click.option("--kind", type=click.Choice(KINDS), default=KINDS[0], help="How the loop calls it.  [huggingface]"),
    click.option("--vocab-size", type=int, help="With --check-training: ids of your model.  [as many as are needed]"),
    click.option("--mask-first", type=int, help="With --check-training: first tokens without a loss.  [a grid's]"),
    click.option("--token-offset", type=int, default=0, help="What was added to each id in training.  [0]"),
)


def model_options(command: Callable) -> Callable:
    """Adds the options of models and training loops."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def check(dataset: Dataset, flags: dict[str, Any], as_json: bool) -> int:
    """Checks a training loop, prints the result, and returns the status: 0 if nothing is wrong. Raises NcagenError."""
    from ncagen.evaluate.check_training import check_training

    names = ("kind", "vocab_size", "token_offset", "mask_first")
    found = check_training(_function(flags["check_training"]), dataset, **{name: flags[name] for name in names})
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else wrapped(str(found)))
    return 0 if found.ok else WRONG


def wrapped(lines: str) -> str:
    """Lines of at most 110 characters, continued with an indent."""
    return "\n".join(textwrap.fill(line, 110, subsequent_indent="    ") for line in lines.splitlines())


def score(dataset: Dataset, rows: int, seed: int, flags: dict[str, Any], quiet: bool) -> Any:
    """The score of --model on a sample of rows, without a ladder. Raises NcagenError."""
    from ncagen.evaluate.run_model import run_model

    with progress(min(rows, len(dataset)), "rows", quiet) as bar:
        bar.set_description(Path(flags["model"]).name)
        return run_model(
            flags["model"],
            dataset,
            rows=rows,
            seed=seed,
            batch_size=flags["batch_size"],
            device=flags["device"],
            token_offset=flags["token_offset"],
            state=state_file(flags["model"], dataset, rows, seed),
            progress=bar.update,
        )


def text(score: Any) -> str:
    """The table of a score, and its sentence."""
    from ncagen.evaluate import report

    return "\n".join([report.text(score.among()), "", *textwrap.wrap(score.sentence(), report.WIDTH)])


def check_alone(flags: dict[str, Any]) -> None:
    """Raises NcagenError where --check-training comes with what belongs to scores."""
    for name in ("model", "plot"):
        if flags[name]:
            raise NcagenError(f"--{name} does not go with --check-training: run them one after another")


def check_plot(path: Path | None, bands: list[str]) -> None:
    """Raises NcagenError for a picture that cannot be drawn, before anything is computed."""
    if path is None:
        return
    from ncagen.evaluate.plot import check_name

    check_name(path)
    if len(bands) > 1:
        raise NcagenError(f"a plot is of one band: choose one with --band, of {', '.join(bands)}")


def state_file(model: str, dataset: Dataset, rows: int, seed: int) -> Path | None:
    """Where the finished rows of a run are kept: in the user's cache. None where that cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ncagen" / "scores"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    run = [str(Path(model).absolute()), dataset.manifest.dataset_sha256, dataset.split, dataset.band, rows, seed]
    return cache / f"{hashlib.sha256(json.dumps(run).encode()).hexdigest()[:16]}.jsonl"


def _function(text: str) -> Callable:
    """The function that MODULE:FUNCTION names; modules of the working directory come first. Raises NcagenError."""
    module, _, name = text.partition(":")
    if not module or not name:
        raise NcagenError(f"--check-training {text!r} is no function: use MODULE:FUNCTION, as in my_module:loss_fn")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise NcagenError(f"module {module} cannot be imported: no module named {error.name!r}") from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise NcagenError(f"module {module} has no function {name!r}")
    return found
