"""Builds all datasets of an experiment, one after another, and writes experiment.json when they are there.

`experiment-building.json` claims the folder as `building.json` does for one dataset: the same command resumes a build
that was stopped at any moment, another experiment is refused. What is complete is decided by each dataset's own
manifest. Every band is checked with a pilot before anything is written. Not covered: how one dataset is built
(`scheduler`), and parsing (`experiment`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from ncagen.dataset.experiment import DatasetSpec, ExperimentManifest, ExperimentSpec, Made, read_experiment
from ncagen.dataset.experiment_files import EXPERIMENT, EXPERIMENT_BUILDING
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import (
    MOST_BYTES,
    Manifest,
    ManifestError,
    differences,
    without_duplicates,
)
from ncagen.errors import NcagenError
from ncagen.factory.claim import check, explain
from ncagen.factory.events import DatasetBegun, Event, Warned
from ncagen.factory.executor import Executor
from ncagen.factory.make_shard import BuildJob, check_device
from ncagen.factory.plan import Pilot, pilot, warnings
from ncagen.factory.scheduler import build
from ncagen.sources import source_of
from ncagen.sources.token_source import TokenSource

MOST_CHANGES = 4  # that an error names

ExecutorOf = Callable[[BuildJob], Executor]
"""Gives the executor of one dataset's build. Raises NcagenError where it cannot run here."""


@dataclass(frozen=True)
class ExperimentJob:
    """An experiment, the file format of all its datasets, and the folder that they go to.

    wanted: the manifest that has to come out, where an experiment is made again.
    """

    spec: ExperimentSpec
    file_format: str
    folder: Folder
    wanted: ExperimentManifest | None = None

    def accepts(self, dataset: DatasetSpec, made: Made) -> bool:
        """Whether a finished dataset may be part of the experiment: any, unless it is made again."""
        return self.wanted is None or self.wanted.made[dataset.path] == made

    @cached_property
    def jobs(self) -> dict[DatasetSpec, BuildJob]:
        """The job of each dataset, in the order in which they are built."""
        return {
            dataset: BuildJob(dataset.spec, self.file_format, self.folder.within(dataset.path))
            for dataset in self.spec.datasets
        }


def check_experiment(job: ExperimentJob) -> bool:
    """Returns whether the folder holds this experiment, started or finished. Writes nothing.

    Raises NcagenError if the folder, or that of a dataset, holds anything else or cannot be written.
    """
    try:
        begun = _check(job)
    except OSError as error:
        raise _explain(job, error) from error
    for one in job.jobs.values():
        check(one)
    return begun


def pilots(spec: ExperimentSpec, file_format: str) -> dict[DatasetSpec, Pilot]:
    """The pilot of each dataset. Raises NcagenError, naming the arm, for a band that it cannot reach."""
    found = {}
    for dataset in spec.datasets:
        with _naming(dataset):
            found[dataset] = pilot(dataset.spec, file_format)
    return found


def check_devices(spec: ExperimentSpec, device: str, on_cluster: bool) -> None:
    """Raises NcagenError, naming the arm, for a device that does not make an arm's rows, or is not here.

    on_cluster: its nodes are asked for their devices later; whether a source can use one is known without them.
    """
    for dataset in spec.datasets:
        if not on_cluster or isinstance(source_of(dataset.spec), TokenSource):
            with _naming(dataset):
                check_device(dataset.spec, device)


@contextmanager
def _naming(dataset: DatasetSpec) -> Iterator[None]:
    """Makes an error say which dataset it is about."""
    try:
        yield
    except NcagenError as error:
        error.args = (f"{dataset.label}: {error}",)
        raise


def build_experiment(
    job: ExperimentJob, executor_of: ExecutorOf, progress: Callable[[Event], object] = lambda event: None
) -> ExperimentManifest:
    """Makes the experiment, or what is missing of it, and returns its manifest.

    progress: called in this thread with each event, a `DatasetBegun` before those of each dataset.
    Raises what `scheduler.build_events` and the functions above raise; after any of it the same call resumes.
    """
    if not check_experiment(job):
        pilots(job.spec, job.file_format)
    made = {}
    for dataset, one in job.jobs.items():
        executor = executor_of(one)  # before the claim: where it cannot run, nothing is written
        _claim(job)
        progress(DatasetBegun(dataset.label, dataset.spec))
        for text in warnings(dataset.spec):
            progress(Warned(f"{dataset.label}: {text}"))
        made[dataset.path] = made_of(build(one, executor, progress))
        if not job.accepts(dataset, made[dataset.path]):
            raise NcagenError(
                f"{one.folder} is not the dataset that the given {EXPERIMENT} names, which was altered or comes from"
                " another version of ncagen"
            )
    manifest = ExperimentManifest(job.spec, made)
    try:
        _finish(job, manifest)
    except OSError as error:
        raise _explain(job, error) from error
    return manifest


def made_of(manifest: Manifest) -> Made:
    """What an experiment's manifest says of a finished dataset."""
    return Made(manifest.dataset_sha256, manifest.row_format.vocabulary)


@dataclass
class ExperimentReport:
    """The result of a check. rows, rebuilt, files: of all datasets. problems: a line for each fault."""

    manifest: ExperimentManifest
    files: int = 0
    rows: int = 0
    rebuilt: int = 0
    listed: bool = True
    problems: list[str] = field(default_factory=list)


def verify_experiment(folder: Folder, verify: Callable[[Folder], Any]) -> ExperimentReport:
    """Checks every dataset of an experiment, and that they are those that experiment.json names.

    verify(folder): checks one dataset, as `check_dataset.verify`. Raises NcagenError where there is no experiment.
    """
    report = ExperimentReport(read_experiment(folder))
    for dataset in report.manifest.spec.datasets:
        try:
            found = verify(folder.within(dataset.path))
        except ManifestError as error:
            report.problems.append(f"{dataset.path}: {error}")
            continue
        report.files += found.files
        report.rows += found.rows
        report.rebuilt += found.rebuilt
        report.listed &= found.listed
        report.problems += [f"{dataset.path}/{problem}" for problem in found.problems]
        if made_of(found.manifest) != report.manifest.made[dataset.path]:
            report.problems.append(f"{dataset.path}: it is not the dataset that {EXPERIMENT} names")
    report.problems += [f"{name}: does not belong to the experiment" for name in _foreign(folder, report.manifest.spec)]
    return report


def _foreign(folder: Folder, spec: ExperimentSpec) -> list[str]:
    """The files in a folder that are neither the experiment's own nor below a dataset's folder."""
    ours = tuple(f"{dataset.path}/" for dataset in spec.datasets)
    own = (EXPERIMENT, EXPERIMENT_BUILDING)
    return [name for name in folder.names() if name not in own and not name.startswith(ours)]


def _check(job: ExperimentJob) -> bool:
    """Whether the folder holds this experiment, but for its datasets. Raises NcagenError, OSError."""
    there = _there(job.folder)
    if there is None:
        if foreign := _foreign(job.folder, job.spec):
            raise NcagenError(f"{job.folder} holds unrelated files ({foreign[0]}): use another --out")
        return False
    if changed := _differences(there, job.spec.to_dict()):
        raise NcagenError(
            f"{job.folder} holds another experiment ({_listed(changed)}): use another --out or the same file"
        )
    return True


def _there(folder: Folder) -> dict[str, Any] | None:
    """The experiment that the folder was started or finished with, None for a new one."""
    try:
        text = folder.read(EXPERIMENT_BUILDING, MOST_BYTES).to_pybytes()
        there = json.loads(text, object_pairs_hook=without_duplicates)
        return ExperimentSpec.from_dict(there).to_dict()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (ValueError, NcagenError):
        raise NcagenError(
            f"{folder.path(EXPERIMENT_BUILDING)} is damaged: delete it and run the same build again"
        ) from None
    if not folder.has(EXPERIMENT):
        return None
    try:
        return read_experiment(folder).spec.to_dict()
    except ManifestError as error:
        raise NcagenError(f"{error}: delete it and run the same build again to have it written anew") from None


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between two experiments, each as a phrase."""
    found = [f"{key}: {there[key]} -> {wanted[key]}" for key in ("name", "vocabulary") if there[key] != wanted[key]]
    for kind, label in (("arms", "arm"), ("tests", "test set")):
        old, new = there[kind], wanted[kind]
        found += [f"{label} {name!r} is left out" for name in old if name not in new]
        found += [f"{label} {name!r} is new" for name in new if name not in old]
        for name in old:
            found += [f"{label} {name!r} {change}" for change in _changes(old[name], new.get(name, old[name]))]
    return found


def _changes(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between two datasets; settings of two sources are not compared."""
    names = [dataset["spec"]["source"]["name"] for dataset in (there, wanted)]
    return differences(there, wanted) if names[0] == names[1] else [f"source: {' -> '.join(names)}"]


def _listed(changes: list[str]) -> str:
    """The first few of them."""
    more = f"; and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return "; ".join(changes[:MOST_CHANGES]) + more


def _claim(job: ExperimentJob) -> None:
    """Claims the folder for this experiment, or finds it claimed already. Raises NcagenError."""
    text = pa.py_buffer((json.dumps(job.spec.to_dict(), indent=1) + "\n").encode())
    try:
        while not _check(job):
            if job.folder.create(EXPERIMENT_BUILDING, text):
                return
    except OSError as error:
        raise _explain(job, error) from error


def _finish(job: ExperimentJob, manifest: ExperimentManifest) -> None:
    """Writes experiment.json, unless it is there as it should be. Raises OSError."""
    data = manifest.document()
    try:
        same = job.folder.read(EXPERIMENT, MOST_BYTES).to_pybytes() == data
    except FileNotFoundError:
        same = False
    if not same:
        job.folder.write(EXPERIMENT, pa.py_buffer(data))
    job.folder.remove(EXPERIMENT_BUILDING)
    job.folder.remove_stale()


def _explain(job: ExperimentJob, error: OSError) -> NcagenError:
    return explain(next(iter(job.jobs.values())), error)
