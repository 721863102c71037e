"""Reads rows that are not grids once: the highest id, a hash and the score of each row, and a sample of their tokens.

Memory use is a chunk of rows for each worker, about 30 bytes for each row read, and a sample of fixed size. Not
covered: grids, rules and neighbourhoods, which only automata have (`figures`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from ncagen.audit.figures import CHUNK_TOKENS, chosen_rows, row_names
from ncagen.audit.parts import AuditedTokens
from ncagen.row_format import RowFormat

NGRAM_TOKENS = 1 << 21


@dataclass
class TokenFigures:
    """The results of one pass. looked: rows read of each part. out_of_range: (part, row) of each row with such an id.

    highest: the highest id. part, number: int64[row], the index of the part and the row in it. names: uint64[row],
    hashes of the tokens. ratios: float32[row], empty without a measure. tokens: [row, token], some rows, for the
    n-grams.
    """

    source: AuditedTokens
    looked: dict[int, int]
    out_of_range: list[tuple[int, int]] = field(default_factory=list)
    highest: int = 0
    part: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    number: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    names: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    ratios: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    tokens: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint32))


class _Chunk(NamedTuple):
    """The results of a chunk: the fields of `TokenFigures` of its rows. ratios: empty without a measure."""

    looked: int
    out_of_range: list[tuple[int, int]]
    highest: int
    names: np.ndarray
    ratios: np.ndarray
    tokens: np.ndarray


def look(
    source: AuditedTokens, most: int | None, progress: Callable[[int], None] = lambda rows: None, workers: int = 1
) -> TokenFigures:
    """Reads `most` rows of each part, evenly spaced, or all rows for None.

    progress: called with the number of rows after each chunk. workers: chunks that are read at the same time, which
    changes no number. Raises DamagedShard.
    """
    chosen = [chosen_rows(part.rows, most) for part in source.parts]
    found = TokenFigures(source, {i: len(numbers) for i, numbers in enumerate(chosen)})
    every = -(-sum(map(len, chosen)) * source.row_format.row_tokens // NGRAM_TOKENS)
    tasks = [(i, some) for i, numbers in enumerate(chosen) for some in _chunks(source.row_format, numbers)]
    chunks = []
    with ThreadPoolExecutor(workers) as pool:
        for chunk in pool.map(partial(_look, source, every), tasks):
            chunks.append(chunk)
            progress(chunk.looked)
    found.part = np.repeat(np.arange(len(chosen)), [len(numbers) for numbers in chosen])
    found.number = np.concatenate(chosen)
    found.out_of_range = [place for chunk in chunks for place in chunk.out_of_range]
    found.highest = max(chunk.highest for chunk in chunks)
    found.names, found.ratios, found.tokens = (
        np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("names", "ratios", "tokens")
    )
    return found


def _look(source: AuditedTokens, every: int, task: tuple[int, np.ndarray]) -> _Chunk:
    """Reads some rows. every: the first of so many is kept for the n-grams.

    task: the index of a part, and int64[row], numbers of its rows.
    """
    i, numbers = task
    columns = source.parts[i].dataset.rows(numbers, columns=_columns(source))
    ids, measure = columns["input_ids"], source.measure
    wrong = (ids >= source.row_format.vocabulary).any(axis=1)
    ratios = measure.ratios(columns[measure.column]) if measure else np.empty(0, np.float32)
    places = [(i, int(number)) for number in numbers[wrong]]
    return _Chunk(len(numbers), places, int(ids.max()), row_names(ids), ratios, ids[::every].copy())


def _columns(source: AuditedTokens) -> tuple[str, ...]:
    return ("input_ids", source.measure.column) if source.measure else ("input_ids",)


def _chunks(rows: RowFormat, numbers: np.ndarray) -> list[np.ndarray]:
    size = max(1, CHUNK_TOKENS // rows.row_tokens)
    return np.split(numbers, range(size, len(numbers), size))
