"""The names of an experiment's own files, and the line for who takes its folder for a dataset's.

`manifest` needs them to say what is wrong; what the files hold is in `experiment`.
"""

import json

from ncagen.dataset.folder import Folder
from ncagen.dataset.index import ManifestError

EXPERIMENT = "experiment.json"
EXPERIMENT_BUILDING = "experiment-building.json"

MOST_NAMES = 8


class IsExperiment(ManifestError):
    """A folder with several datasets, where one was expected."""


def no_dataset(folder: Folder) -> ManifestError | None:
    """Why a folder without a manifest is no dataset, if it is an experiment's. Raises OSError."""
    if folder.has(EXPERIMENT):
        names = _names(folder)
        return IsExperiment(f"{folder} is an experiment{names}: name one of its datasets, as in {folder.path('ARM')}")
    if folder.has(EXPERIMENT_BUILDING):
        return ManifestError(f"{folder} is not finished: run the same ncagen build again to complete it")
    return None


def _names(folder: Folder) -> str:
    """The arms of an experiment, as a phrase; none where its file is damaged."""
    try:
        names = list(json.loads(folder.read(EXPERIMENT, 2**26).to_pybytes())["experiment"]["arms"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f" of {', '.join(names[:MOST_NAMES])}{more}"
