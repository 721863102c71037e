"""Reads the rows once: a few numbers for each, some whole rows for the n-grams, and rules that are in both splits.

Memory use is a chunk of rows, about 110 bytes for each row read, and samples of fixed size. Training is read last,
validation before it, so that rows can be compared with the rules of other splits as they are read. Not covered:
verdicts (`checks`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import numpy as np

from ncagen.audit.neighbours import (
    agreement,
    alike,
    breaks,
    follows,
    one_rule,
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


def look(source: Audited, most: int | None, progress: Callable[[int], None] = lambda rows: None) -> Figures:
    """Reads `most` rows of each part, evenly spaced, or all rows for None.

    progress: called with the number of rows after each chunk. Raises DamagedShard.
    """
    chosen = [chosen_rows(part.rows, most) for part in source.parts]
    found = Figures(source, looked={i: len(numbers) for i, numbers in enumerate(chosen)})
    splits = [part.split for part in source.parts]
    row_patches = source.shape.frames * source.shape.patches
    every = -(-sum(map(len, chosen)) * row_patches // NGRAM_PATCHES)
    held_out = sum(len(numbers) for numbers, split in zip(chosen, splits, strict=True) if split != TRAIN)
    rare = -(-held_out // max(1, min(RULE_ROWS, RULE_PATCHES // row_patches)))
    columns, kept = [], []
    known: dict[str, _Rules] = {}
    for i, number, tokens in _sound(found, chosen, progress):
        patches = source.shape.patches_of(tokens)
        rules = _rules(source.shape, i, number, patches)
        columns.append(_rows(source.shape, number, patches, tokens, rules))
        kept.append(patches[::every])
        others = [some for split, some in known.items() if split != splits[i]]
        if others and source.shape.stride == 1:
            found.one_rule += _one_rule(rules, _joined(others))
        if splits[i] != TRAIN:
            some = _Rules(*(column[::rare] for column in rules))
            known[splits[i]] = _joined([known[splits[i]], some]) if splits[i] in known else some
    if columns:
        found.rows, found.patches = _joined(columns), np.concatenate(kept)
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


def _sound(found: Figures, chosen: list[np.ndarray], progress: Callable[[int], None]) -> Iterator[tuple]:
    """Yields part, numbers and tokens of sound rows by chunk, the last split first; records others in `found`."""
    source = found.source
    for i in sorted(range(len(chosen)), key=lambda i: -SPLITS.index(source.parts[i].split)):
        for numbers in _chunks(source.shape, chosen[i]):
            tokens = source.parts[i].read(numbers).astype(np.int64)
            sound = _judge(found, i, numbers, tokens)
            if sound.any():
                yield i, numbers[sound], tokens[sound]
            progress(len(numbers))


def _judge(found: Figures, i: int, numbers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Returns bool[row], true for sound rows. Records the other rows in `found`."""
    shape = found.source.shape
    aligned, in_range = shape.aligned(tokens), shape.in_range(tokens)
    found.misaligned += [(i, int(n)) for n in numbers[~aligned]]
    found.out_of_range += [(i, int(n)) for n in numbers[~in_range]]
    found.highest = max(found.highest, int(tokens.max()))
    if found.offset is None and not aligned.all():
        starts = np.flatnonzero(tokens[np.argmin(aligned)] == shape.patch_ids)
        found.offset = int(starts[0]) if len(starts) else None
    return aligned & in_range


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
    states = np.stack([np.bincount(row.ravel(), minlength=shape.states) / row.size for row in grids])
    return Rows(
        part=rules.places[:, 0],
        number=number,
        period=_periods(patches),
        one_state=_one_state(grids[:, -1]),
        same_start=_one_state(grids[:, 0]),
        whole=row_names(tokens),
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


def row_names(rows: np.ndarray) -> np.ndarray:
    """Returns uint64[row], a hash of each row's bytes, equal for equal rows. rows: [row, ...] of any dtype."""
    return np.array([int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest()) for row in rows], np.uint64)


def _one_rule(rows: _Rules, known: _Rules) -> list[tuple[int, int, int, int]]:
    """Returns pairs of a chunk's rows and known ones that are proved to share a rule: (part, row, part, row)."""
    pairs = alike((rows.shares, known.shares), (rows.bits, known.bits))[:RULE_PROOFS]
    shown = [(a, b) for a, b in pairs if one_rule(rows.grids[a], known.grids[b])]
    return [(*rows.places[a].tolist(), *known.places[b].tolist()) for a, b in shown]
