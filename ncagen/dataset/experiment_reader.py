"""Opens the datasets of a finished experiment: the rows of each arm and test set, and the layout that goes with them.

A dataset here is opened as `reader.Dataset`, by its folder; what is added is which layout gives every arm its range
of ids (`experiment` says how they are divided). numpy and pyarrow only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncagen.dataset.experiment import DatasetSpec, ExperimentManifest, read_experiment
from ncagen.dataset.folder import Folder
from ncagen.dataset.layout import Layout
from ncagen.dataset.manifest import ManifestError
from ncagen.dataset.reader import Dataset
from ncagen.errors import NcagenError
from ncagen.spec import BuildSpec


@dataclass(frozen=True)
class ExperimentDataset:
    """An arm or a test set: its name, its folder, and what experiment.json says of it.

    of: the arm that a test set is for, None for an arm. offset: what `layout` adds to each id. vocabulary: ids that a
    model of any arm of the experiment needs.
    """

    name: str
    folder: Folder
    spec: BuildSpec
    of: str | None
    dataset_sha256: str
    offset: int
    vocabulary: int

    def open(self, split: str | None = None, band: str | None = None, **options: Any) -> Dataset:
        """Its rows. split: "train" of an arm and "test" of a test set if left out.

        options: those of `ncagen.open`, such as `where`. Raises NcagenError, also where the folder holds another
        dataset than experiment.json names.
        """
        rows = Dataset(self.folder, split or ("train" if self.of is None else "test"), band, **options)
        if rows.manifest.dataset_sha256 != self.dataset_sha256:
            raise ManifestError(
                f"{self.folder} is not the dataset that experiment.json names: run the same ncagen build again"
            )
        return rows

    def layout(self, **options: Any) -> Layout:
        """The layout that shifts its ids into the experiment's vocabulary. options: the others of `ncagen.Layout`."""
        if given := sorted(options.keys() & {"token_offset"}):
            raise NcagenError(f"{given[0]} is the experiment's, {self.offset}: leave it out")
        return Layout(**{"token_offset": self.offset, "vocab_size": self.vocabulary, **options})

    def __repr__(self) -> str:
        return f"<ncagen.ExperimentDataset {self.folder}: ids from {self.offset} of {self.vocabulary}>"


class Experiment:
    """A finished experiment. arms, tests: its datasets by name. manifest: the content of experiment.json.

    experiment_sha256: the identity of all its rows. vocabulary: ids that a model of any arm needs.
    """

    def __init__(self, folder: Folder):
        """Reads experiment.json alone; a dataset's own files are read when it is opened. Raises NcagenError."""
        self.folder = folder
        self.manifest: ExperimentManifest = read_experiment(folder)
        spec = self.manifest.spec
        self.arms: Mapping[str, ExperimentDataset] = {arm.name: self._dataset(arm) for arm in spec.arms}
        self.tests: Mapping[str, ExperimentDataset] = {test.name: self._dataset(test) for test in spec.tests}

    @property
    def experiment_sha256(self) -> str:
        """The identity of all rows of the experiment."""
        return self.manifest.experiment_sha256

    @property
    def vocabulary(self) -> int:
        """Ids that a model of any arm needs."""
        return self.manifest.vocabulary

    def __repr__(self) -> str:
        tests = f", tests {', '.join(self.tests)}" if self.tests else ""
        return f"<ncagen.Experiment {self.folder}: arms {', '.join(self.arms)}{tests}>"

    def _dataset(self, dataset: DatasetSpec) -> ExperimentDataset:
        manifest = self.manifest
        return ExperimentDataset(
            dataset.name,
            self.folder.within(dataset.path),
            dataset.spec,
            dataset.of,
            manifest.made[dataset.path].dataset_sha256,
            manifest.offset(dataset),
            manifest.vocabulary,
        )
