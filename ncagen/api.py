"""What the command line does, as functions of Python; docs/python.md shows them at work.

Importing this module needs numpy and pyarrow alone. What makes, checks or draws rows is imported by the function that
needs it, and `MissingPackage` says what to type where it is not installed.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ncagen.cores import cores
from ncagen.dataset.experiment import ExperimentManifest, ExperimentSpec
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.reader import Dataset
from ncagen.dataset.receipt import read_receipt
from ncagen.dataset.shard import FORMATS
from ncagen.errors import NcagenError, SpecError
from ncagen.hints import needed_by
from ncagen.numbers import whole
from ncagen.opening import place
from ncagen.spec import BuildSpec

if TYPE_CHECKING:
    from ncagen.dataset.verify import Report
    from ncagen.evaluate.recommendation import Recommendation
    from ncagen.factory.build_experiment import ExperimentReport
    from ncagen.factory.events import Event
    from ncagen.factory.executor import Executor
    from ncagen.factory.inspect_rows import Rule
    from ncagen.factory.make_shard import BuildJob
    from ncagen.factory.text_corpus import Corpus

Spec = BuildSpec | Mapping[str, Any]
"""A build spec, or settings such as {"tokens": "164M", "band": "high"}, with the names of the command line's flags."""


def _ignore(event: "Event | int") -> None:
    """Takes note of nothing."""


def build(
    spec: Spec,
    out: str | os.PathLike,
    *,
    file_format: str = "parquet",
    workers: int | None = None,
    device: str = "cpu",
    ray: str | None = None,
    gpus_per_worker: float = 1.0,
    progress: "Callable[[Event], object]" = _ignore,
) -> Manifest:
    """Makes a dataset, or what is missing of it, and returns its manifest.

    out: a folder or a URL such as s3://bucket/name, made if missing, resumed if a build of the same spec began there.
    file_format: "parquet" or "arrow". workers: shards made at the same time, one for each core if left out.
    device: what runs the automata: "cpu", "cuda" or "auto". ray: a Ray cluster to build on: "auto" (this machine's),
    "local" or HOST:PORT. gpus_per_worker: of a worker on the cluster, with a device other than "cpu".
    progress: called in this thread with each event of `ncagen.factory.events`, such as RowsMade(rows, candidates), or
    Warned(text) before the first if much of a row would be noise.

    Raises NcagenError, with nothing half-written, for a spec, a folder or a device that cannot be used, a band that no
    candidate reaches, a full disk, and shards that fail again and again; the same call then resumes.
    """
    with needed_by("ncagen.build"):
        from ncagen.factory.claim import check
        from ncagen.factory.events import Warned
        from ncagen.factory.generate import as_spec
        from ncagen.factory.make_shard import BuildJob
        from ncagen.factory.plan import pilot, warnings
        from ncagen.factory.scheduler import build as run_build

    _check_format(file_format)
    workers = None if workers is None else whole("workers", workers, 1)
    job = BuildJob(as_spec(spec), file_format, Folder(out))
    check(job)
    with _executors(workers, device, ray, gpus_per_worker) as executor_of:
        executor = executor_of(job)
        pilot(job.spec, file_format)  # refuses a band that no candidate reaches, before anything is written
        for text in warnings(job.spec):
            progress(Warned(text))
        return run_build(job, executor, progress)


def build_experiment(
    experiment: ExperimentSpec | ExperimentManifest | Mapping[str, Any],
    out: str | os.PathLike,
    *,
    file_format: str = "parquet",
    workers: int | None = None,
    device: str = "cpu",
    ray: str | None = None,
    gpus_per_worker: float = 1.0,
    progress: "Callable[[Event], object]" = _ignore,
) -> ExperimentManifest:
    """Makes all datasets of an experiment, or what is missing of them, and returns its manifest.

    experiment: settings as in a TOML file with [arm.NAME] tables (docs/experiments.md), such as {"tokens": "164M",
    "band": "high", "arm": {"nca": {}, "small": {"grid": 8}}}; or the manifest of an experiment to make again, such as
    `ncagen.open_experiment(folder).manifest`: then every dataset has to come out as it says.
    The others: those of `build`. progress: also gets a `DatasetBegun` before the events of each dataset.

    Raises NcagenError as `build` does, naming the arm, and before anything is written where an arm cannot reach its
    band; the same call then resumes.
    """
    with needed_by("ncagen.build_experiment"):
        from ncagen.factory.build_experiment import ExperimentJob, check_devices
        from ncagen.factory.build_experiment import build_experiment as run_build
        from ncagen.factory.experiment import experiment_from_settings

    _check_format(file_format)
    workers = None if workers is None else whole("workers", workers, 1)
    wanted = experiment if isinstance(experiment, ExperimentManifest) else None
    spec = experiment.spec if isinstance(experiment, ExperimentManifest) else experiment
    spec = spec if isinstance(spec, ExperimentSpec) else experiment_from_settings(spec)
    job = ExperimentJob(spec, file_format, Folder(out), wanted)
    check_devices(spec, device, ray is not None)
    with _executors(workers, device, ray, gpus_per_worker) as executor_of:
        return run_build(job, executor_of, progress)


def rebuild(
    receipt: str | os.PathLike,
    out: str | os.PathLike,
    *,
    file_format: str | None = None,
    workers: int | None = None,
    progress: "Callable[[Event], object]" = _ignore,
) -> Manifest:
    """Makes a dataset again from its receipt or its manifest.json, and returns its manifest.

    file_format: that of the first dataset if left out. The others: those of `build`. Every shard comes out with the
    content hash that the receipt says, or is not written. Raises NcagenError as `build` does, and for a receipt that
    cannot be read or was altered.
    """
    with needed_by("ncagen.rebuild"):
        from ncagen.factory.claim import check
        from ncagen.factory.make_shard import BuildJob
        from ncagen.factory.plan import pilot
        from ncagen.factory.scheduler import build as run_build
        from ncagen.factory.scheduler import local

    read = read_receipt(Path(receipt))
    job = BuildJob(read.manifest.spec, file_format or read.manifest.file_format, Folder(out), read)
    check(job)
    if read.gaps is None:  # the candidates are searched for again
        pilot(job.spec, job.file_format)
    return run_build(job, local(job, workers or cores()), progress)


def prepare_corpus(
    files: str | os.PathLike | Sequence[str | os.PathLike],
    tokenizer: str | os.PathLike,
    *,
    field: str = "text",
    separator: str | None = None,
    progress: Callable[[int], object] = _ignore,
) -> "Corpus":
    """Prepares local text for source `text`, or finds the corpus that was prepared from the same bytes.

    files: names and patterns of text, JSON Lines and Parquet files, in this order. tokenizer: a tokenizer.json.
    field: where JSON objects and tables have their text. separator: what lies between the documents of a text file; one
    document if left out. progress: called with the number of characters read.
    Returns the corpus: `.sha256` is the setting `corpus` of a build, `.about` has its counts.

    Raises NcagenError, with nothing written, for files or a tokenizer that cannot be used, and for files without text.
    """
    with needed_by("ncagen.prepare_corpus"):
        from ncagen.factory.text_corpus import prepare

    return prepare(files, tokenizer, field, separator, progress)


def recommend(
    files: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    tokenizer: str | os.PathLike | None = None,
    field: str = "text",
    separator: str | None = None,
    progress: Callable[[int], object] = _ignore,
) -> "Recommendation":
    """Scores text as rows are scored, and proposes a band for it, with the evidence and its limits.

    tokenizer: a tokenizer.json, to score tokens too. The others: those of `prepare_corpus`.
    Raises NcagenError for files or a tokenizer that cannot be used, and for less text than one window of 1,440 bytes.
    """
    with needed_by("ncagen.recommend"):
        from ncagen.evaluate.recommendation import recommend as run

    return run(files, tokenizer, field, separator, progress)


def verify(
    dataset: str | os.PathLike | Folder,
    regenerate: float = 0.0,
    *,
    revision: str | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> "Report":
    """Checks every file and row of a dataset; `report.problems` has a line for everything that is wrong.

    dataset, revision: as `ncagen.open` takes them. regenerate: the share of rows, 0 to 1, that are made again from
    their candidates and compared. workers: shards checked at the same time, one for each core if left out. progress:
    called with the number of rows of each shard. Raises NcagenError where there is no dataset to check.
    """
    with needed_by("ncagen.verify"):
        from ncagen.factory.check_dataset import verify as run_verify

    if not 0 <= regenerate <= 1:
        raise NcagenError(f"regenerate {regenerate} is not a share: use 0 to 1, as in 0.01")
    return run_verify(place(dataset, revision), regenerate, progress, workers or cores())


def rule(dataset: Dataset, row: int, grid: int = 0) -> "Rule":
    """The rule that made a row: its weights, its start grid, and `simulate(steps)`, which gives grids.

    grid: a grid of the row, for rows of the control new-rule, whose later grids follow another rule. Raises NcagenError
    for rows of another source than automata and of controls that rearrange them, IndexError for a row out of range.
    """
    from ncagen.factory.inspect_rows import rule as rule_of_row

    return rule_of_row(dataset, row, grid)


def tokens_to_grids(rows: Dataset | Spec, tokens: np.ndarray) -> np.ndarray:
    """The grids of whole token rows.

    rows: the dataset, spec or settings that the tokens are of. tokens: integers [token] or [row, token]. Returns uint8
    [frame, y, x] or [row, frame, y, x]. Raises NcagenError for tokens that are not whole rows.
    """
    from ncagen.factory.inspect_rows import tokens_to_grids as grids_of

    return grids_of(rows, tokens)


def grids_to_tokens(rows: Dataset | Spec, grids: np.ndarray) -> np.ndarray:
    """The token rows of grids: what `tokens_to_grids` undoes.

    rows: as there. grids: integers [frame, y, x] or [row, frame, y, x]. Returns uint16 or uint32 [token] or
    [row, token]. Raises NcagenError for cells that are no grids of these rows.
    """
    from ncagen.factory.inspect_rows import grids_to_tokens as tokens_of

    return tokens_of(rows, grids)


def gzip_length(data: bytes | bytearray | memoryview) -> int:
    """The length in bytes of what gzip makes of `data` at level 9, as zlib 1.2.12 to 1.3 does, without any zlib.

    The score of a row is this length of the first ten grids' patches as little-endian int32, delimiters left out.
    """
    with needed_by("ncagen.gzip_length"):
        from ncagen.deflate.lengths import gzip_length as length_of

    return length_of(data)


def verify_experiment(
    experiment: str | os.PathLike | Folder,
    regenerate: float = 0.0,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> "ExperimentReport":
    """Checks every dataset of an experiment as `verify` does, and that experiment.json names them.

    `report.problems` has a line for everything that is wrong. The others: those of `verify`. Raises NcagenError where
    there is no experiment to check.
    """
    with needed_by("ncagen.verify_experiment"):
        from ncagen.factory.build_experiment import verify_experiment as run_verify

    return run_verify(place(experiment), lambda one: verify(one, regenerate, workers=workers, progress=progress))


def _check_format(file_format: object) -> None:
    """Raises SpecError unless it is a file format."""
    if file_format not in FORMATS:
        raise SpecError(f"format {file_format!r} is not known: use {' or '.join(FORMATS)}")


@contextmanager
def _executors(
    workers: int | None, device: str, ray: str | None, gpus_per_worker: float
) -> "Iterator[Callable[[BuildJob], Executor]]":
    """Gives the executor of a job: of this machine, or of a cluster, which stays connected for all jobs.

    Raises NcagenError for a device or a cluster that is not there.
    """
    if ray is None:
        yield lambda job: _local(job, workers, device)
        return
    with needed_by("ncagen.build on a Ray cluster"):
        from ncagen.factory.ray.connection import joined
        from ncagen.factory.ray.executor import cluster_for
    with joined(ray, workers) as address:
        yield lambda job: cluster_for(job, address, workers, device, gpus_per_worker)


def _local(job: "BuildJob", workers: int | None, device: str) -> "Executor":
    """The executor of this machine. Raises NcagenError for a device that is not there."""
    from ncagen.factory.make_shard import check_device
    from ncagen.factory.scheduler import local

    with needed_by("ncagen.build"):
        check_device(job.spec, device)
    return local(job, workers or cores(), device)
