"""Reads the rows once: a few numbers for each, some whole rows for the n-grams, and rules that are in both splits.

Memory use is a chunk of rows for each worker, about 110 bytes for each row read, and samples of fixed size. Training is
read last, validation before it, so that rows can be compared with the rules of other splits as they are read. Chunks of
one split do not depend on each other: several threads look at them, and their results are put in order, so the number
of threads changes no number. Not covered: verdicts (`checks`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from ncagen.audit.neighbour_kernels import count_states, hash_rows
from ncagen.audit.neighbours import (
    Others,
    agreement,
    alike,
    breaks,
    follows,
    one_rule,
    others,
    own_bits,
    pair_bits,
    pair_shares,
    step_bits,
)
from ncagen.audit.parts import TRAIN, Audited
from ncagen.audit.shape import Shape
from ncagen.dataset.shard import SPLITS
from ncagen.deflate.lengths import token_gzip_lengths

CHUNK_TOKENS = 1 << 18
NGRAM_PATCHES = 1 << 21
# Of validation and test, whose rules are searched in training, and their patches, of long rows fewer.
RULE_ROWS, RULE_PATCHES = 2000, 1 << 25
RULE_PROOFS = 64  # pairs of rows that are compared exactly, for each chunk, most alike first
LONGEST_PERIOD = 8

Columns = TypeVar("Columns", bound=tuple)


class Rows(NamedTuple):
    """Columns [row] of the sound rows: aligned, and all ids in range.

    part, number: int64, the index of the part and the row in it. period: int8, how many grids before the last one an
    equal grid occurs, 0 if it does not. one_state, same_start: bool, the last and the first grid have one state only.
    whole, later, first: uint64, hashes of all tokens, of all grids except the first, of the first grid. length: int32,
    gzip bytes. repeats, agreed: int64, see `neighbours.agreement`. chance: float64, how often two of its cells are
    equal. bits: see `neighbours.own_bits`. usual: float32, the median of `neighbours.step_bits`. broken: int64, the
    first grid that does not follow, or 0.
    """

    part: np.ndarray
    number: np.ndarray
    period: np.ndarray
    one_state: np.ndarray
    same_start: np.ndarray
    whole: np.ndarray
    later: np.ndarray
    first: np.ndarray
    length: np.ndarray
    repeats: np.ndarray
    agreed: np.ndarray
    chance: np.ndarray
    bits: np.ndarray
    usual: np.ndarray
    broken: np.ndarray


@dataclass
class Figures:
    """The results of one pass. looked: rows read of each part. misaligned, out_of_range: (part, row) of each such row.

    highest: the highest id. rows: columns of the sound rows. patches: some of them, [row, frame, patch]. one_rule:
    (part, row, part of a later split, row). offset: the first start-of-grid of the first misaligned row, None if it
    has none.
    """

    source: Audited
    looked: dict[int, int] = field(default_factory=dict)
    misaligned: list[tuple[int, int]] = field(default_factory=list)
    out_of_range: list[tuple[int, int]] = field(default_factory=list)
    offset: int | None = None
    highest: int = 0
    one_rule: list[tuple[int, int, int, int]] = field(default_factory=list)
    rows: Rows = field(default_factory=lambda: Rows(*(np.empty(0, np.int64) for _ in Rows._fields)))
    patches: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 1), np.uint16))


class _Rules(NamedTuple):
    """Rows for comparing rules: places int64[row, 2], part and number; shares and bits, see `neighbours`; grids."""

    places: np.ndarray
    shares: np.ndarray
    bits: np.ndarray
    grids: np.ndarray


class _Known(NamedTuple):
    """Rows of splits that were read before. counts: arranged for `neighbours.alike`. places, grids: as in `_Rules`."""

    counts: Others
    places: np.ndarray
    grids: np.ndarray


class _Chunk(NamedTuple):
    """The results of a chunk: the fields of `Figures` of its rows; known, some of its rules for other splits.

    rows, patches, known: None where no row is sound, known also where no split will be compared with this one.
    """

    looked: int
    misaligned: list[tuple[int, int]]
    out_of_range: list[tuple[int, int]]
    offset: int | None
    highest: int
    rows: Rows | None = None
    patches: np.ndarray | None = None
    known: _Rules | None = None
    one_rule: Sequence[tuple[int, int, int, int]] = ()


class _Sampling(NamedTuple):
    """Of the sound rows of each chunk, every so manieth is kept for n-grams, and for comparing rules."""

    patches: int
    rules: int


def look(
    source: Audited, most: int | None, progress: Callable[[int], None] = lambda rows: None, workers: int = 1
) -> Figures:
    """Reads `most` rows of each part, evenly spaced, or all rows for None.

    progress: called with the number of rows after each chunk. workers: chunks that are read at the same time, which
    changes no number. Raises DamagedShard.
    """
    chosen = [chosen_rows(part.rows, most) for part in source.parts]
    found = Figures(source, looked={i: len(numbers) for i, numbers in enumerate(chosen)})
    sampling, chunks = _sampling(source, chosen), []
    known = None  # rows of the splits that were read before
    with ThreadPoolExecutor(workers) as pool:
        for split in reversed(SPLITS):
            tasks = [(i, some) for i in source.parts_of(split) for some in _chunks(source.shape, chosen[i])]
            for chunk in pool.map(partial(_look, source, sampling, known), tasks):
                chunks.append(chunk)
                progress(chunk.looked)
            if rules := [chunk.known for chunk in chunks if chunk.known is not None]:
                known = _arranged(_joined(rules))
    return _together(found, chunks)


def _sampling(source: Audited, chosen: list[np.ndarray]) -> _Sampling:
    row_patches = source.shape.frames * source.shape.patches
    held_out = sum(len(chosen[i]) for split in SPLITS if split != TRAIN for i in source.parts_of(split))
    return _Sampling(
        -(-sum(map(len, chosen)) * row_patches // NGRAM_PATCHES),
        -(-held_out // max(1, min(RULE_ROWS, RULE_PATCHES // row_patches))),
    )


def _together(found: Figures, chunks: list[_Chunk]) -> Figures:
    """Puts the results of chunks, in the order of reading, into the figures."""
    for chunk in chunks:
        found.misaligned += chunk.misaligned
        found.out_of_range += chunk.out_of_range
        found.one_rule += chunk.one_rule
        found.offset = chunk.offset if found.offset is None else found.offset
        found.highest = max(found.highest, chunk.highest)
    if rows := [chunk.rows for chunk in chunks if chunk.rows is not None]:
        found.rows = _joined(rows)
        found.patches = np.concatenate([chunk.patches for chunk in chunks if chunk.patches is not None])
    return found


def chosen_rows(rows: int, most: int | None) -> np.ndarray:
    """Returns int64[row], the numbers of at most `most` evenly spaced rows of `rows`, or of all for None."""
    if most is None or most >= rows:
        return np.arange(rows)
    return np.linspace(0, rows - 1, most).astype(np.int64)


def _chunks(shape: Shape, numbers: np.ndarray) -> list[np.ndarray]:
    size = max(1, CHUNK_TOKENS // shape.row_tokens)
    return np.split(numbers, range(size, len(numbers), size))


def _joined(parts: list[Columns]) -> Columns:
    """Concatenates named columns of several chunks."""
    return parts[0] if len(parts) == 1 else type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def _look(source: Audited, sampling: _Sampling, known: _Known | None, task: tuple[int, np.ndarray]) -> _Chunk:
    """Reads some rows and computes their figures.

    known: rows of other splits, for comparing rules. task: the index of a part, and int64[row], numbers of its rows.
    """
    i, numbers = task
    shape, part = source.shape, source.parts[i]
    tokens = part.read(numbers).astype(np.int64)
    sound, chunk = _judge(shape, i, numbers, tokens)
    if not sound.any():
        return chunk
    number, tokens = numbers[sound], tokens[sound]
    patches = shape.patches_of(tokens)
    rules = _rules(shape, i, number, patches)
    return chunk._replace(
        rows=_rows(shape, number, patches, tokens, rules),
        patches=patches[:: sampling.patches].copy(),
        known=None if part.split == TRAIN else _Rules(*(column[:: sampling.rules].copy() for column in rules)),
        one_rule=_one_rule(rules, known) if known is not None and shape.stride == 1 else (),
    )


def _judge(shape: Shape, i: int, numbers: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, _Chunk]:
    """Returns bool[row], true for sound rows, and a chunk with the faults of the others."""
    aligned, in_range = shape.aligned(tokens), shape.in_range(tokens)
    offset = None
    if not aligned.all():
        starts = np.flatnonzero(tokens[np.argmin(aligned)] == shape.patch_ids)
        offset = int(starts[0]) if len(starts) else None
    misaligned, out_of_range = ([(i, int(n)) for n in numbers[~good]] for good in (aligned, in_range))
    return aligned & in_range, _Chunk(len(numbers), misaligned, out_of_range, offset, int(tokens.max()))


def _rules(shape: Shape, part: int, number: np.ndarray, patches: np.ndarray) -> _Rules:
    grids = shape.grids_of(patches)
    shares = pair_shares(grids, shape.states)
    places = np.stack([np.full(len(number), part), number], axis=1)
    return _Rules(places, shares, pair_bits(shares, grids[0, 1:].size), grids)


def _rows(shape: Shape, number: np.ndarray, patches: np.ndarray, tokens: np.ndarray, rules: _Rules) -> Rows:
    """Computes the columns of a chunk's sound rows."""
    n, grids, bits = len(number), rules.grids, rules.bits
    cells = grids[0, 1:].size
    flat = patches.reshape(n, -1)
    repeats, agreed = agreement(grids, shape.states)
    steps = step_bits(grids, bits, shape.states)
    broken = _broken(grids, steps) if shape.stride == 1 else np.zeros(steps.shape, bool)
    scored = patches[:, : shape.scored_frames].reshape(n, -1)
    states = _state_counts(grids, shape.states) / grids[0].size
    return Rows(
        part=rules.places[:, 0],
        number=number,
        period=_periods(patches),
        one_state=_one_state(grids[:, -1]),
        same_start=_one_state(grids[:, 0]),
        whole=row_names(tokens.astype(patches.dtype)),
        later=row_names(flat[:, shape.patches :]),
        first=row_names(flat[:, : shape.patches]),
        length=token_gzip_lengths(np.ascontiguousarray(scored)),
        repeats=repeats,
        agreed=agreed,
        chance=(states**2).sum(axis=1),
        bits=own_bits(rules.shares, bits, cells),
        usual=np.median(steps, axis=1),
        broken=np.where(broken.any(axis=1), broken.argmax(axis=1) + 1, 0),
    )


def _broken(grids: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Returns bool[row, step], true for steps that break their row's rule and are not cleared."""
    broken = breaks(steps)
    for row, step in np.argwhere(broken):
        broken[row, step] = not follows(grids[row], step)
    return broken


def _periods(patches: np.ndarray) -> np.ndarray:
    """Returns int8[row], how many grids before the last one an equal grid occurs, up to LONGEST_PERIOD; else 0."""
    found = np.zeros(len(patches), np.int8)
    for period in range(min(LONGEST_PERIOD, patches.shape[1] - 1), 0, -1):
        found[(patches[:, -1] == patches[:, -1 - period]).all(axis=1)] = period
    return found


def _one_state(grids: np.ndarray) -> np.ndarray:
    return (grids == grids[:, :1, :1]).all(axis=(1, 2))


def _state_counts(grids: np.ndarray, states: int) -> np.ndarray:
    """Returns int64[row, state], how many cells of each row are in each state. grids: uint8[row, ...]."""
    counts = np.empty((len(grids), states), np.int64)
    count_states(np.ascontiguousarray(grids.reshape(len(grids), -1)), np.empty((4, 256), np.int64), counts)
    return counts


def row_names(rows: np.ndarray) -> np.ndarray:
    """Returns uint64[row], a hash of each row's values, equal for equal rows. rows: uint16 or uint32 [row, value]."""
    found = np.empty(len(rows), np.uint64)
    hash_rows(np.ascontiguousarray(rows), found)
    return found


def _arranged(rules: _Rules) -> _Known:
    return _Known(others(rules.shares, rules.bits), rules.places, rules.grids)


def _one_rule(rows: _Rules, known: _Known) -> list[tuple[int, int, int, int]]:
    """Returns pairs of a chunk's rows and known ones that are proved to share a rule: (part, row, part, row)."""
    pairs = alike(rows.shares, rows.bits, known.counts)[:RULE_PROOFS]
    shown = [(a, b) for a, b in pairs if one_rule(rows.grids[a], known.grids[b])]
    return [(*rows.places[a].tolist(), *known.places[b].tolist()) for a, b in shown]
