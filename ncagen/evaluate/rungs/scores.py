"""What a predictor gives: the loss and the accuracy of each grid of each row; and cells to patches."""

from typing import NamedTuple

import numpy as np

from ncagen.evaluate.ladder import Rung
from ncagen.sources.patches import Patching


class Scores(NamedTuple):
    """nats: float64[row, grid], the mean loss of a patch. right: float64[row, grid], the share of patches whose most
    likely value is right. Both are nan for the first grid."""

    nats: np.ndarray
    right: np.ndarray


def without_first(nats: np.ndarray, right: np.ndarray) -> Scores:
    """Scores from those of the second and later grids: [row, grid - 1, patch] or [row, grid - 1] each."""
    return Scores(*(_padded(values.reshape(*values.shape[:2], -1).mean(axis=2)) for values in (nats, right)))


def of_cells(shape: Patching, nats: np.ndarray, right: np.ndarray) -> Scores:
    """Scores of patches whose cells are predicted independently: losses add, and all cells have to be right.

    nats: float[row, grid - 1, cell], of the second and later grids. right: bool of the same shape.
    """
    high, wide = shape.height // shape.patch_height, shape.width // shape.patch
    by_patch = right.reshape(*right.shape[:2], high, shape.patch_height, wide, shape.patch).min(axis=(3, 5))
    return without_first(nats.sum(axis=2) / shape.patches, by_patch)


def rung_of(name: str, scores: Scores, patches: int, delimiters: int) -> Rung:
    """The rung of a sample's scores. A sample of one row has standard errors of 0."""
    rows = len(scores.nats)
    stderr = np.sqrt(np.var(scores.nats, axis=0) / (rows - 1)) if rows > 1 else 0 * scores.nats[0]
    means = scores.nats[:, 1:].mean(axis=1)
    mean_stderr = float(np.sqrt(np.var(means) / (rows - 1))) if rows > 1 else 0.0
    return Rung(name, scores.nats.mean(axis=0), scores.right.mean(axis=0), stderr, mean_stderr, patches, delimiters)


def _padded(values: np.ndarray) -> np.ndarray:
    """[row, grid] from [row, grid - 1], with nan for the first grid."""
    return np.concatenate([np.full((len(values), 1), np.nan), values], axis=1)
