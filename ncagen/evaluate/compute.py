"""Computes the ladder of a dataset: a sample of its rows, every predictor over it, and the oracle.

Not covered: a model's own loss (`score`), and where results are kept (`cache`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.evaluate import cache
from ncagen.evaluate.ladder import Ladder, Rung
from ncagen.evaluate.oracle import has_oracle, oracle
from ncagen.evaluate.rungs import PREDICTORS, Predictor
from ncagen.evaluate.rungs.scores import Scores, rung_of
from ncagen.evaluate.sample import GridSample, Sample, numbers_of, sample_of

ORACLE = "oracle"
RUNGS = (*(predictor.name for predictor in PREDICTORS), ORACLE)
ALL, SLOWEST = "all", "architecture"
ROWS = 100

Progress = Callable[[str, int], object]
"""Takes a rung's name and the number of rows that were predicted since the last call."""


def ladder(
    dataset: Dataset,
    rows: int = ROWS,
    rungs: str | Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = lambda name, rows: None,
) -> Ladder:
    """Computes the losses and accuracies of predictors on a sample of a dataset's rows.

    rows: how many, evenly spaced, all if there are fewer. rungs: names of RUNGS, also as text, such as "lookup,linear",
    or "all"; if left out, all that these rows have but the architecture, which takes about a second a row. seed: of the
    sample and of random starts. progress: see Progress. Rungs that are kept beside the dataset are not computed again,
    and each new one is kept there at once if its folder can be written. The number of threads changes no figure.

    Raises NcagenError for numbers out of range, and for rungs that are not known or that these rows do not have.
    """
    sample = sample_of(dataset, rows, seed)
    names = _names(dataset, sample, rungs)
    empty = Ladder((), len(sample), seed, dataset.manifest.dataset_sha256, dataset.band, dataset.split)
    kept = cache.read(dataset, empty) if dataset.selection is None else empty
    known = {rung.name: rung for rung in kept.rungs}
    for name in [name for name in names if name not in known]:
        # Rounded as it is kept, so that a call which finds it there gives the same.
        known[name] = Rung.from_dict(_rung(dataset, sample, name, progress).to_dict())
        if dataset.selection is None:
            cache.write(dataset, replace(empty, rungs=tuple(known[name] for name in RUNGS if name in known)))
    shown = known if rungs is None else names
    return replace(empty, rungs=tuple(known[name] for name in RUNGS if name in shown))


def available(sample: Sample, with_oracle: bool) -> list[str]:
    """The rungs that these rows have: without cells, those that read tokens alone."""
    cells = isinstance(sample, GridSample)
    names = [predictor.name for predictor in PREDICTORS if cells or not predictor.needs_cells]
    return [*names, ORACLE] if with_oracle else names


def rung(sample: Sample, predictor: Predictor, progress: Progress = lambda name, rows: None) -> Rung:
    """One predictor's figures."""
    scores = predictor.predict(sample, lambda rows: progress(predictor.name, rows))
    return rung_of(predictor.name, scores, sample.patches.shape[2], sample.delimiters)


def _rung(dataset: Dataset, sample: Sample, name: str, progress: Progress) -> Rung:
    if name != ORACLE:
        return rung(sample, next(p for p in PREDICTORS if p.name == name), progress)
    known = oracle(dataset, numbers_of(len(dataset), len(sample), sample.seed))
    progress(name, len(sample))
    return rung_of(name, Scores(known.nats, known.accuracy), sample.patches.shape[2], sample.delimiters)


def _names(dataset: Dataset, sample: Sample, rungs: str | Sequence[str] | None) -> list[str]:
    """The rungs to compute. Raises NcagenError."""
    there = available(sample, has_oracle(dataset))
    if rungs is None or rungs == ALL:
        return [name for name in there if rungs == ALL or name != SLOWEST]
    listed = rungs.split(",") if isinstance(rungs, str) else rungs
    names = [name.strip().replace("-", " ") for name in listed]
    unknown = [name for name in names if name not in RUNGS]
    if unknown:
        raise NcagenError(f"rung {unknown[0]!r} is not known: use {', '.join(RUNGS)}, or {ALL}")
    lacking = [name for name in names if name not in there]
    if lacking:
        source = dataset.manifest.spec.source
        control = dict(source.values).get("control")
        rows = f"control {control}" if control else f"source {source.name}"
        raise NcagenError(f"rows of {rows} have no rung {lacking[0]!r}: use {', '.join(there)}")
    return names
