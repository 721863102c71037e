"""What the checks share. A check runs within an environment that has the released package and knows nothing of ncagen.

It is called with the folder of the export and the folder of the source, which holds every split as plain arrays:
`train.npy`, `validation.npy`: input_ids [row, token], and the other columns beside it. It prints one line of JSON.
"""

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

import numpy as np

EXPORT, SOURCE = (Path(argument) for argument in sys.argv[1:3])
SPLITS = ("train", "validation")


def source(split: str, column: str = "input_ids") -> np.ndarray:
    """A column of the source."""
    name = split if column == "input_ids" else f"{split}-{column}"
    return np.load(SOURCE / f"{name}.npy")


def same(found: np.ndarray, split: str, column: str = "input_ids") -> int:
    """Compares every value with the source's, in order, and returns how many they are."""
    expected = source(split, column)
    found = np.asarray(found)
    assert found.shape == expected.shape, (split, column, found.shape, expected.shape)
    assert np.array_equal(found, expected), (split, column, "values differ")
    return expected.size


def report(package: str | None, loaded: str, tokens: int) -> None:
    """The check's one line: nothing differed."""
    print(json.dumps({"package": package, "loaded": loaded, "tokens": tokens, **versions(package)}))


def versions(package: str | None) -> dict[str, str]:
    """Of Python, NumPy and a package."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    return found | ({"version": importlib.metadata.version(package)} if package else {})
