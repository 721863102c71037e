"""Holds an experiment: several datasets, the arms to compare, and test sets, built from one file of settings.

`ExperimentSpec` is what is built, `ExperimentManifest` what was: the content of `experiment.json`, which is written
last, so its existence means that every dataset is complete. Arms lie in folders of their names, test sets below
`test/`, and each is a dataset of its own that knows nothing of the others. `experiment_sha256` is a pure function of
the spec: no time, host or path outside the folder.

With the vocabulary policy "shared", every arm has a range of ids of its own in one vocabulary. Stored ids are not
shifted; a reader adds the arm's offset. Not covered: building (`factory.build_experiment`) and opening rows
(`experiment_reader`). numpy and pyarrow only.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ncagen.dataset.experiment_files import EXPERIMENT, EXPERIMENT_BUILDING
from ncagen.dataset.folder import Folder
from ncagen.dataset.local import mapped
from ncagen.dataset.manifest import (
    MANIFEST,
    MOST_BYTES,
    ManifestError,
    canonical,
    without_duplicates,
)
from ncagen.dataset.shard import SPLITS, is_sha256, one_line
from ncagen.errors import SpecError
from ncagen.spec import BuildSpec

EXPERIMENT_VERSION = 1
VERSION_KEY = b'"experiment_version"'  # what experiment.json begins with

OWN, SHARED = "own", "shared"
VOCABULARIES = (OWN, SHARED)

# The folder of the test sets, so no arm's.
TEST = "test"
MOST_DATASETS = 1000

# In lower case, as some file systems take two names that differ in case alone for one folder.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset of an experiment: an arm, or a test set `of` an arm."""

    name: str
    spec: BuildSpec
    of: str | None = None

    @property
    def path(self) -> str:
        """Its folder within the experiment's."""
        return self.name if self.of is None else f"{TEST}/{self.name}"

    @property
    def label(self) -> str:
        """How it is called in a message."""
        return f"arm {self.name!r}" if self.of is None else f"test set {self.name!r}"

    @property
    def arm(self) -> str:
        """The arm whose ids it has."""
        return self.of or self.name

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split that has any, in all bands together."""
        counts = {split: len(self.spec.bands) * self.spec.rows(split) for split in SPLITS}
        return {split: rows for split, rows in counts.items() if rows}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in experiment.json."""
        of = {} if self.of is None else {"of": self.of}
        return of | {"spec": self.spec.to_dict()}


@dataclass(frozen=True)
class ExperimentSpec:
    """What an experiment holds. arms, tests: in order of their names, whatever the order they are given in.

    vocabulary: "own", every arm's ids begin at 0, or "shared", every arm has ids of its own.
    Raises SpecError for names that cannot be folders, and for arms that differ in seed or row length.
    """

    name: str
    vocabulary: str
    arms: tuple[DatasetSpec, ...]
    tests: tuple[DatasetSpec, ...] = ()

    def __post_init__(self):
        for field in ("arms", "tests"):
            object.__setattr__(self, field, tuple(sorted(getattr(self, field), key=lambda dataset: dataset.name)))
        check_name("experiment", self.name)
        if self.vocabulary not in VOCABULARIES:
            raise SpecError(f"vocabulary {self.vocabulary!r} is not known: use {' or '.join(VOCABULARIES)}")
        if not self.arms:
            raise SpecError("the experiment has no arm: add a table such as [arm.high]")
        if len(self.datasets) > MOST_DATASETS:
            raise SpecError(f"{len(self.datasets)} arms and test sets are too many: use {MOST_DATASETS} at most")
        self._check_names()
        self._check_matched()

    def _check_names(self) -> None:
        for kind, datasets in (("arm", self.arms), ("test set", self.tests)):
            names = [dataset.name for dataset in datasets]
            for name in names:
                check_name(kind, name)
                if names.count(name) > 1:
                    raise SpecError(f"{kind} {name!r} is given twice")
        known = [arm.name for arm in self.arms]
        if TEST in known:
            raise SpecError(f"arm {TEST!r} would take the folder of the test sets: use another name")
        for test in self.tests:
            if test.of not in known:
                raise SpecError(f"test set {test.name!r} is of arm {test.of!r}: use {' or '.join(known)}")

    def _check_matched(self) -> None:
        first = self.arms[0]
        for arm in self.arms:
            for name in ("seed", "seq_len"):
                value, other = getattr(arm.spec, name), getattr(first.spec, name)
                if value != other:
                    raise SpecError(f"{arm.label} has {name} {value} and {first.label} {other}: use one for all arms")
        seen: dict[BuildSpec, DatasetSpec] = {}
        for dataset in self.datasets:
            if (same := seen.setdefault(dataset.spec, dataset)) is not dataset:
                raise SpecError(
                    f"{dataset.label} has the settings of {same.label}: change one of them, or leave it out"
                )

    @property
    def datasets(self) -> tuple[DatasetSpec, ...]:
        """All arms, then all test sets: the order in which they are built."""
        return (*self.arms, *self.tests)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        arms, tests = ({d.name: d.to_dict() for d in datasets} for datasets in (self.arms, self.tests))
        return {"name": self.name, "vocabulary": self.vocabulary, "arms": arms, "tests": tests}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ExperimentSpec":
        """The spec that `to_dict` wrote. Raises SpecError."""
        try:
            arms, tests = (
                tuple(DatasetSpec(name, BuildSpec.from_dict(v["spec"]), v.get("of")) for name, v in values[key].items())
                for key in ("arms", "tests")
            )
            return cls(values["name"], values["vocabulary"], arms, tests)
        except (TypeError, KeyError, AttributeError) as error:
            raise SpecError(f"the experiment is incomplete: {one_line(error)}") from None

    def canonical(self) -> str:
        """The JSON text that identifies the experiment: sorted keys, no spaces."""
        return canonical(self.to_dict())


@dataclass(frozen=True)
class Made:
    """What is known of a dataset once it is built. vocabulary: the ids of its own rows are below it."""

    dataset_sha256: str
    vocabulary: int


@dataclass(frozen=True)
class ExperimentManifest:
    """A finished experiment. made: for the path of every dataset of the spec, what was built."""

    spec: ExperimentSpec
    made: Mapping[str, Made]

    @cached_property
    def ids(self) -> dict[str, int]:
        """For each arm by name, how many ids it takes: the most that it or one of its test sets has."""
        return {
            arm.name: max(self.made[d.path].vocabulary for d in self.spec.datasets if d.arm == arm.name)
            for arm in self.spec.arms
        }

    @property
    def vocabulary(self) -> int:
        """Ids that a model of any arm needs: of all arms together where they are shared, else of the largest."""
        return sum(self.ids.values()) if self.spec.vocabulary == SHARED else max(self.ids.values())

    def offset(self, dataset: DatasetSpec) -> int:
        """What a reader adds to a dataset's own ids."""
        if self.spec.vocabulary == OWN:
            return 0
        return sum(ids for name, ids in self.ids.items() if name < dataset.arm)

    @property
    def experiment(self) -> dict[str, Any]:
        """The hashed part of experiment.json."""
        arms, tests = (
            {dataset.name: self._described(dataset) for dataset in datasets}
            for datasets in (self.spec.arms, self.spec.tests)
        )
        return {"spec": self.spec.to_dict(), "vocabulary": self.vocabulary, "arms": arms, "tests": tests}

    @cached_property
    def experiment_sha256(self) -> str:
        """The identity of all rows of the experiment."""
        return hashlib.sha256(canonical(self.experiment).encode()).hexdigest()

    def _described(self, dataset: DatasetSpec) -> dict[str, Any]:
        made, rows = self.made[dataset.path], dataset.rows
        return {
            "path": dataset.path,
            "spec_sha256": dataset.spec.sha256,
            "dataset_sha256": made.dataset_sha256,
            "offset": self.offset(dataset),
            "vocabulary": made.vocabulary,
            "rows": rows,
            "tokens": {split: count * dataset.spec.seq_len for split, count in rows.items()},
        }

    def document(self) -> bytes:
        """The bytes of experiment.json."""
        value = {
            "experiment_version": EXPERIMENT_VERSION,
            "name": self.spec.name,
            "experiment": self.experiment,
            "experiment_sha256": self.experiment_sha256,
        }
        return (json.dumps(value, indent=1) + "\n").encode()


def check_name(kind: str, name: object) -> None:
    """Raises SpecError for a name that cannot be a folder everywhere."""
    if type(name) is not str or not _NAME.fullmatch(name):
        raise SpecError(
            f"{kind} {name!r} is not a name: use up to 64 of a-z, 0-9, - and _, a letter or digit first, as in nca-high"
        )


def read_experiment(folder: Folder) -> ExperimentManifest:
    """The manifest of a finished experiment. Raises ManifestError with one clear line."""
    path = folder.path(EXPERIMENT)
    try:
        return parse(folder.read(EXPERIMENT, MOST_BYTES).to_pybytes(), path)
    except FileNotFoundError:
        raise _missing(folder) from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or one_line(error)}") from None


def find_experiment(path: Path) -> ExperimentManifest | None:
    """The manifest in a file, None where it does not begin as one. Raises ManifestError for a damaged one."""
    try:
        text = mapped(path, MOST_BYTES).to_pybytes()
    except OSError:
        return None
    return parse(text, str(path)) if VERSION_KEY in text[:100] else None


def _missing(folder: Folder) -> ManifestError:
    if folder.has(EXPERIMENT_BUILDING):
        return ManifestError(f"{folder} is not finished: run the same ncagen build again to complete it")
    if folder.has(MANIFEST):
        return ManifestError(f"{folder} is one dataset, not an experiment: use ncagen.open")
    return ManifestError(f"{folder} holds no experiment: there is no {EXPERIMENT} in it")


def parse(text: bytes, path: str) -> ExperimentManifest:
    """The manifest in a JSON text. Raises ManifestError naming `path`, also where it is not what its spec gives."""
    try:
        value = json.loads(str(text, "utf-8"), object_pairs_hook=without_duplicates)
        version = value["experiment_version"]
        if type(version) is not int or version != EXPERIMENT_VERSION:
            version = one_line(Exception(version))
            raise ManifestError(f"{path} has version {version}, this ncagen reads {EXPERIMENT_VERSION}")
        spec = ExperimentSpec.from_dict(value["experiment"]["spec"])
        manifest = ExperimentManifest(spec, dict(_made(value["experiment"], spec)))
        same = canonical(json.loads(manifest.document())) == canonical(value)
    except RecursionError:
        raise ManifestError(f"{path} is damaged: it is nested too deeply") from None
    except KeyError as error:
        raise ManifestError(f"{path} is damaged: {one_line(error)} is missing") from None
    except (SpecError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ManifestError(f"{path} is damaged: {one_line(error)}") from None
    if not same:
        raise ManifestError(f"{path} is damaged: its hash does not match what it says")
    return manifest


def _made(experiment: Mapping[str, Any], spec: ExperimentSpec) -> Iterator[tuple[str, Made]]:
    for dataset in spec.datasets:
        found = experiment["arms" if dataset.of is None else "tests"][dataset.name]
        hashed, vocabulary = found["dataset_sha256"], found["vocabulary"]
        if not is_sha256(hashed) or type(vocabulary) is not int or not 1 <= vocabulary <= 2**32:
            raise ValueError(f"{dataset.label} has no hash and vocabulary")
        yield dataset.path, Made(hashed, vocabulary)
