"""Synthetic language-model data from random neural cellular automata, bit for bit reproducible.

Reading needs numpy and pyarrow alone: `ncagen.open(folder)` opens a finished dataset and `ncagen.Stream` gives its rows
in batches; `ncagen.open("user/name")` reads one on the Hugging Face Hub, with huggingface_hub. Making and checking need
the build extra: `ncagen.build`, `rebuild`, `verify`, and `generate`, which gives a build's rows without a file. `rule`,
`tokens_to_grids` and `gzip_length` show what a row is. docs/python.md has all of them.
"""

from ncagen.api import (
    build,
    build_experiment,
    grids_to_tokens,
    gzip_length,
    prepare_corpus,
    rebuild,
    recommend,
    rule,
    tokens_to_grids,
    verify,
    verify_experiment,
)
from ncagen.dataset.experiment_reader import Experiment, ExperimentDataset
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.reader import Dataset
from ncagen.dataset.stream import Stream
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.factory.generate import generate
from ncagen.opening import open, open_experiment
from ncagen.version import VERSION as __version__

__all__ = [
    "Dataset",
    "Experiment",
    "ExperimentDataset",
    "Layout",
    "Mixture",
    "NcagenError",
    "Stream",
    "Tokens",
    "__version__",
    "build",
    "build_experiment",
    "generate",
    "grids_to_tokens",
    "gzip_length",
    "open",
    "open_experiment",
    "prepare_corpus",
    "rebuild",
    "recommend",
    "rule",
    "tokens_to_grids",
    "verify",
    "verify_experiment",
]
