"""ncagen evaluate."""

import json
from dataclasses import replace

import click
from tqdm import tqdm

from ncagen.commands import evaluate_model
from ncagen.commands.arguments import dataset_argument, folder_of
from ncagen.commands.console import progress
from ncagen.commands.evaluate_model import model_options
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset


@click.command()
@dataset_argument
@click.option("--rows", type=int, default=100, help="Rows of each band, evenly spaced.  [100]")
@click.option("--band", help="This band alone.")
@click.option("--split", help="[train, where it has rows]")
@click.option(
    "--rungs",
    help="Names, as in lookup,linear, or all, with the slow architecture (a second a row).  [all others]",
)
@click.option("--seed", type=int, default=0, help="Of the sample and of random starts.  [0]")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; no progress.")
def evaluate(folder, revision, rows, band, split, rungs, seed, as_json, **flags):
    """Print what a model could know of these rows: the losses of predictors that need no training run.

    From uniform noise over the row's histograms and its neighbourhoods to a model that knows the rule, in nats a patch.
    A training run's loss beside them says what was learned. Results are kept in FOLDER/ladder.json.

    With --model, a model is scored on the same rows and put among them; a run that was stopped resumes. With
    --check-training, your own function runs your loader, collator, loss and metric with a model that knows every next
    token, and returns a loss, or (loss, accuracy): 0 and 1 if the loop is right. Status 1 if it is not.

    FOLDER_OR_REPO is a folder, a URL such as s3://bucket/name, or user/name on the Hub.

    \b
    ncagen evaluate data/nca-high
    ncagen evaluate data/nca-high --rows 20 --rungs all
    ncagen evaluate data/nca-high --split validation --model runs/checkpoint-1000 --plot losses.png
    ncagen evaluate data/nca-high --check-training my_module:loss_fn
    """
    from ncagen.evaluate import compute, report
    from ncagen.evaluate.plot import plot

    folder = folder_of(folder, revision)
    manifest = read_manifest(folder)
    split = split or manifest.first_split
    bands = [band] if band else [band.name for band in manifest.spec.bands]
    if flags["check_training"]:
        evaluate_model.check_alone(flags)
        return evaluate_model.check(Dataset(folder, split, band), flags, as_json)
    evaluate_model.check_plot(flags["plot"], bands)
    ladders, scores = [], []
    for name in bands:
        dataset = Dataset(folder, split, name)
        if flags["model"]:  # first, since it is what cannot be loaded
            scores.append(evaluate_model.score(dataset, rows, seed, flags, as_json))
        with _Bars(min(rows, len(dataset)), as_json) as bars:
            ladders.append(compute.ladder(dataset, rows, rungs, seed=seed, progress=bars.update))
    scores = [replace(score, ladder=ladder) for score, ladder in zip(scores, ladders, strict=False)]
    if flags["plot"]:
        plot(flags["plot"], ladders[0], [score.rung for score in scores])
    if as_json:
        values = {"ladders": [report.to_dict(ladder) for ladder in ladders]}
        values |= {"models": [score.to_dict() for score in scores]} if scores else {}
        click.echo(json.dumps(values, indent=1))
    elif scores:
        click.echo("\n\n".join(evaluate_model.text(score) for score in scores))
    else:
        click.echo("\n\n".join(report.text(ladder) for ladder in ladders))
    return 0


class _Bars:
    """A progress bar for each rung, one after another."""

    def __init__(self, rows: int, quiet: bool):
        self.rows, self.quiet, self.name = rows, quiet, ""
        self.bar: tqdm | None = None

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, name: str, rows: int) -> None:
        """Counts rows of a rung."""
        if name != self.name:
            self.__exit__()
            self.name, self.bar = name, progress(self.rows, "rows", self.quiet)
            self.bar.set_description(name)
        if self.bar is not None:
            self.bar.update(rows)
