"""Reads rows that are not grids once: the highest id, a hash and the score of each row, and a sample of their tokens.

Memory use is a chunk of rows, about 30 bytes for each row read, and a sample of fixed size. Not covered: grids, rules
and neighbourhoods, which only automata have (`figures`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

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


def look(source: AuditedTokens, most: int | None, progress: Callable[[int], None] = lambda rows: None) -> TokenFigures:
    """Reads `most` rows of each part, evenly spaced, or all rows for None.

    progress: called with the number of rows after each chunk. Raises DamagedShard.
    """
    chosen = [chosen_rows(part.rows, most) for part in source.parts]
    found = TokenFigures(source, {i: len(numbers) for i, numbers in enumerate(chosen)})
    every = -(-sum(map(len, chosen)) * source.row_format.row_tokens // NGRAM_TOKENS)
    names, ratios, tokens = [found.names], [found.ratios], []
    for i, part in enumerate(source.parts):
        for numbers in _chunks(source.row_format, chosen[i]):
            columns = part.dataset.rows(numbers, columns=_columns(source))
            ids = columns["input_ids"]
            wrong = (ids >= source.row_format.vocabulary).any(axis=1)
            found.out_of_range += [(i, int(number)) for number in numbers[wrong]]
            found.highest = max(found.highest, int(ids.max()))
            names.append(row_names(ids))
            tokens.append(ids[::every])
            if source.measure:
                ratios.append(source.measure.ratios(columns[source.measure.column]))
            progress(len(numbers))
    found.part = np.repeat(np.arange(len(chosen)), [len(numbers) for numbers in chosen])
    found.number, found.names = np.concatenate(chosen), np.concatenate(names)
    found.ratios, found.tokens = np.concatenate(ratios), np.concatenate(tokens)
    return found


def _columns(source: AuditedTokens) -> tuple[str, ...]:
    return ("input_ids", source.measure.column) if source.measure else ("input_ids",)


def _chunks(rows: RowFormat, numbers: np.ndarray) -> list[np.ndarray]:
    size = max(1, CHUNK_TOKENS // rows.row_tokens)
    return np.split(numbers, range(size, len(numbers), size))
