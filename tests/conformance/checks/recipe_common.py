"""What the checks of docs/recipes.md share: what a model must receive in stage 2, and what a hand-over keeps."""

from pathlib import Path

import numpy as np
from common import EXPORT, SOURCE
from consumer_common import LENGTH

import ncagen

VOCABULARY = 10_002  # of stage 1: patches and two delimiters


def link_text(place: Path, name: str) -> None:
    """Puts the export of the text at data/text-<name>."""
    (place / "data" / f"text-{name}").symlink_to(EXPORT.resolve().parent / f"{EXPORT.name}-text")


def text() -> ncagen.Dataset:
    """The dataset of stage 2."""
    return ncagen.open(EXPORT.parent / "text")


def text_rows() -> np.ndarray:
    """Its training rows as the source has them: int64 [row, token]."""
    return np.load(SOURCE.parent / "source-text" / "train.npy").astype(np.int64)


def text_order(seed: int) -> np.ndarray:
    """The numbers of its rows in the order that a stream of a seed gives."""
    candidates = np.concatenate([batch["candidate"] for batch in ncagen.Stream(text(), 64, seed=seed)])
    known = np.load(SOURCE.parent / "source-text" / "train-candidate.npy")
    numbers = np.searchsorted(known, candidates)
    assert np.array_equal(np.sort(numbers), np.arange(len(known)))
    return numbers


def received_text(tokens: np.ndarray, seed: int) -> int:
    """Asserts that tokens [row, token] are the first rows of text in a stream's order; returns how many."""
    expected = text_rows()[text_order(seed)][: len(tokens), :LENGTH]
    assert len(tokens) and np.array_equal(tokens, expected), "stage 2 received other rows"
    return tokens.size


def handed_over(stage1: dict, start: dict, new: dict[str, int]) -> None:
    """Asserts what stage 2 starts with.

    stage1, start: every weight by name. new: the names of embeddings and heads, and which axis is the vocabulary.
    """
    assert stage1.keys() == start.keys(), stage1.keys() ^ start.keys()
    sizes = VOCABULARY, text().row_format.vocabulary
    for name in stage1:
        old, begun = np.asarray(stage1[name]), np.asarray(start[name])
        if name not in new:
            assert old.dtype == begun.dtype and old.tobytes() == begun.tobytes(), f"{name} differs"
            continue
        found = old.shape[new[name]], begun.shape[new[name]]
        assert all(size <= padded < size + 128 for size, padded in zip(sizes, found, strict=True)), (name, found)
        shared = tuple(slice(0, min(pair)) for pair in zip(old.shape, begun.shape, strict=True))
        assert not np.array_equal(old[shared], begun[shared]), f"{name} is not new"
