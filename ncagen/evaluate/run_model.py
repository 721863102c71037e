"""Runs a causal model of transformers over a sample of rows and scores it; resumes where it was stopped.

The scores of finished rows are lines of a small file of JSON (`row_state`). Not covered: models in parts on several
devices, quantized ones, and adapters.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import one_line
from ncagen.errors import NcagenError
from ncagen.evaluate.compute import ROWS
from ncagen.evaluate.ladder import Ladder
from ncagen.evaluate.model_score import ModelScore
from ncagen.evaluate.row_state import RowState
from ncagen.evaluate.sample import numbers_of
from ncagen.evaluate.score import positions, read, row_scores, summary
from ncagen.hints import needed_by
from ncagen.numbers import whole
from ncagen.row_format import RowFormat


def run_model(
    path: str | os.PathLike,
    dataset: Dataset,
    *,
    rows: int = ROWS,
    seed: int = 0,
    ladder: Ladder | None = None,
    batch_size: int = 4,
    device: str = "auto",
    token_offset: int = 0,
    state: Path | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> ModelScore:
    """Scores a causal model that transformers loads, on the rows that a ladder of equal `rows` and `seed` is of.

    path: a folder with config.json and weights, or a name on the Hub. batch_size: rows at a time; their logits take
    batch_size * 1,024 * ids floats. device: of torch, such as cpu, cuda, cuda:1 or mps; "auto" is a GPU if there is
    one. token_offset: what was added to each id in training. state: the file of finished rows, from which the same
    call resumes. progress: called with the number of rows done. Raises NcagenError for a model that cannot be loaded,
    or has too few ids or positions, and for losses that are NaN.
    """
    numbers, at_once = numbers_of(len(dataset), rows, seed), whole("batch_size", batch_size, 1)
    offset = whole("token_offset", token_offset, 0)
    finished = RowState(state, _identity(str(path), dataset, numbers, offset))
    progress(len(finished))
    left = numbers[len(finished) :]
    if len(left):
        predict = _load(str(path), dataset.row_format, device, offset)
    for first in range(0, len(left), at_once):
        batch = left[first : first + at_once]
        tokens = read(dataset, batch)
        finished.add(row_scores(dataset.row_format, batch, tokens, predict(tokens)))
        progress(len(batch))
    return summary(dataset.row_format, finished.scores(), ladder, Path(path).name or str(path))


def _identity(path: str, dataset: Dataset, numbers: np.ndarray, offset: int) -> dict[str, Any]:
    """What the scores of rows depend on. A local model is known by the names, sizes and times of its files."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file()) if Path(path).is_dir() else []
    listed = [f"{file.relative_to(path)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return {
        "model": path,
        "files": hashlib.sha256("\n".join(listed).encode()).hexdigest(),
        "dataset_sha256": dataset.manifest.dataset_sha256,
        "split": dataset.split,
        "band": dataset.band,
        "rows": hashlib.sha256(numbers.tobytes()).hexdigest(),
        "token_offset": offset,
    }


def _load(
    path: str, row_format: RowFormat, device: str, offset: int
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function from tokens, int64[row, position + 1], to losses and hits [row, position]. Raises NcagenError."""
    with needed_by("scoring a model"):
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise NcagenError(f"{path} is no model: it has no config.json, which save_pretrained writes")
    try:
        _check_config(path, AutoConfig.from_pretrained(path).get_text_config(), row_format, offset)
        # A pair, which its annotation does not say.
        found: Any = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
        model, loaded = found
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise NcagenError(f"{path} is no causal model that transformers loads: {one_line(error)}") from None
    if loaded["missing_keys"]:
        raise NcagenError(
            f"{path} lacks weights, which would be random: {', '.join(sorted(loaded['missing_keys'])[:3])}"
        )
    name = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = model.to(name).eval()
    except (RuntimeError, AssertionError, AttributeError) as error:
        raise NcagenError(f"device {device!r} cannot be used: {one_line(error)}") from None
    return _Predict(model, name, offset)


def _check_config(path: str, config: Any, row_format: RowFormat, offset: int) -> None:
    """Raises NcagenError for a model whose vocabulary or context is too small for the rows."""
    needed, given = row_format.vocabulary + offset, positions(row_format)
    ids, context = getattr(config, "vocab_size", None), getattr(config, "max_position_embeddings", None)
    if ids is not None and ids < needed:
        raise NcagenError(f"{path} has {ids:,} ids and the rows need {needed:,}: use one with more")
    if context is not None and 0 < context < given:
        raise NcagenError(f"{path} has {context:,} positions and the rows need {given:,}: use one of longer context")


class _Predict:
    """A loaded model as a function of tokens; the logits stay on the device."""

    def __init__(self, model: Any, device: str, offset: int):
        self.model, self.device, self.offset = model, device, offset

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch
        from torch.nn.functional import cross_entropy

        ids = torch.from_numpy(tokens + self.offset).to(self.device)
        try:
            with torch.inference_mode():
                logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
                pairs = [(row.float(), labels) for row, labels in zip(logits, ids[:, 1:], strict=True)]
                losses = torch.stack([cross_entropy(row, labels, reduction="none") for row, labels in pairs])
                hits = logits.argmax(dim=-1) == ids[:, 1:]
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            raise NcagenError(f"out of memory on {self.device}: use a batch size below {len(tokens)}") from None
        return losses.cpu().numpy(), hits.cpu().numpy()
