"""Checks that this process and its device compute what ncagen defines, before they make a row.

Kernels are compiled on each machine, cached on disk, and run on devices and drivers that no test has covered. A dataset
stores the hash of its rows, so a wrong row would look like a right one. Before a process makes rows of a source it runs
this check, in about 20 ms once the kernels are compiled:

    tables   compares the tables that the backend draws from with known hashes
    rows     compares rows of four candidates, with the same settings, with `definition`
    score    compares lengths of known tokens with those of zlib, and lengths of these rows by both parsers of `lz77`
    device   compares scores and rows of more candidates with this processor, where another device makes them
    facts    compares further columns of these rows with `entropy`, `langton` and `grid_facts`, where they are stored

Not covered: later steps of settings with a long warm-up or stride, whose definition would take minutes (`_shortened`),
the measure linear-gap, which `ncagen verify` compares, and faults that occur after the check. `ncagen verify
--regenerate` compares any row.
"""

import hashlib
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import NoReturn

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import defined_length, token_gzip_lengths
from ncagen.deflate.selfcheck import AGAIN, known_lengths
from ncagen.errors import SelfCheckFailed
from ncagen.sources import grid_facts, grid_tokens
from ncagen.sources.nca import batch, controls, definition, entropy, langton, oracle
from ncagen.sources.nca.backends import CPU, Backend
from ncagen.sources.nca.facts import LAMBDA, ORACLE, stored, stores_lambda, stores_oracle
from ncagen.sources.nca.rules import sample_rules
from ncagen.sources.nca.settings import Settings
from ncagen.sources.source import OutOfDeviceMemory

# Hashes of the backend's tables as little-endian bytes, int16 for weights, int32 for start and gumbel.
# tests/test_tables.py shows that floating-point arithmetic gives the same tables on every platform.
TABLE_SHA256 = {
    "perception": "81e75eed787a26a3efe86c0586519720c93cf8e72368b34209bc486ef4751338",
    "hidden": "ecca09dce91a7be5cc5edc25d6c74591e8df3bb9d4a6be415808f5318b7bfd7a",
    "output": "04178499292c8570833551b63b11ba525f300b98e6d8e53dd058911b933d56ab",
    "start": "6bd08380dd30e0ea0886b2f1f6e3494c49b66c7b5e146f436e90a3600d7293f2",
    "gumbel": "5ef79f4e2a810aa2fa678d7a13cc63a43a1deb469429514f5aa7f6c01e53626e",
}

KEY = 0, philox.STREAMS["train"]  # a dataset's seed changes which bits are drawn, not how
CANDIDATES = 4
# Candidates of a device that are compared with this processor, fewer above so many cells times states times grids.
COMPARED, COMPARED_WORK = 256, 1 << 24
CELLS_AND_STATES = 1 << 16  # of all candidates' grids together; above it, fewer candidates are run

# Limits of the trajectories that are compared. The default settings (10, 1 and 1024) are within them.
LONGEST_WARMUP, LONGEST_STRIDE, LONGEST_ROW = 16, 2, 1024


def check(settings: Settings, backend: Backend = CPU) -> None:
    """Compares a backend with the definition for these settings, once in a process. Raises SelfCheckFailed."""
    _check_once(settings, backend)


@lru_cache(maxsize=64)
def _check_once(settings: Settings, backend: Backend) -> None:
    for name, table in backend.tables().items():
        if hashlib.sha256(table.astype(table.dtype.newbyteorder("<")).tobytes()).hexdigest() != TABLE_SHA256[name]:
            _fail(backend, f"its table of {name} values is another")
    if not known_lengths(settings.token_dtype):
        _fail(backend, "known tokens have other gzip lengths")
    _check_rows(_shortened(settings), backend)
    if backend is not CPU:
        _compare(_shortened(settings), backend)


def _check_rows(settings: Settings, backend: Backend) -> None:
    """Compares rows and scores of a few candidates with the definition. Raises SelfCheckFailed."""
    count = max(1, min(CANDIDATES, CELLS_AND_STATES // (settings.cells * settings.states)))
    candidates = np.arange(count, dtype=np.uint64)
    patches = grid_tokens.patch_tokens(settings, definition.trajectories(settings, KEY, candidates, settings.frames))
    rows = patches
    if settings.rearranges:
        some = zip(candidates.tolist(), patches, strict=True)
        rows = np.stack([controls.rearranged(settings, KEY, candidate, each) for candidate, each in some])
    made = batch.run(settings, KEY, candidates, backend=backend)
    if not np.array_equal(made.token_rows(np.arange(count)), grid_tokens.rows(settings, rows)):
        _fail(backend, f"candidates 0 to {count - 1} have other rows than the definition gives them")
    scored = np.ascontiguousarray(patches[:, : settings.scored_frames]).reshape(count, -1)
    lengths = np.array([defined_length(row.astype("<u4").view(np.uint8)) for row in scored])
    least = int(np.sort(lengths)[count // 2])  # equal to one of the lengths, which must not be returned as 0
    bounded = token_gzip_lengths(scored, least)
    right = (bounded == lengths) | ((bounded == 0) & (lengths < least))
    if not np.array_equal(made.score, lengths) or not right.all():
        _fail(backend, f"candidates 0 to {count - 1} have other gzip lengths than the definition gives them")
    if stored(settings):
        columns = made.rows(np.arange(count))
        for name, column in _facts(settings, candidates, rows).items():
            if not np.array_equal(columns[name], column):
                _fail(backend, f"candidates 0 to {count - 1} have another {name} than the definition gives them")


def _compare(settings: Settings, backend: Backend) -> None:
    """Compares a device with this processor, for more candidates than the definition has time for."""
    work = settings.cells * settings.states * settings.frames
    most, made = max(1, min(COMPARED, COMPARED_WORK // work)), None
    while made is None:
        count = min(most, backend.batch_candidates(settings))
        candidates = np.arange(2**32, 2**32 + count, dtype=np.uint64)
        with suppress(OutOfDeviceMemory):  # then batch_candidates is smaller
            made = batch.run(settings, KEY, candidates, backend=backend)
    wanted = batch.run(settings, KEY, candidates)
    chosen = np.arange(count)
    if not np.array_equal(made.score, wanted.score) or not np.array_equal(
        made.token_rows(chosen), wanted.token_rows(chosen)
    ):
        _fail(backend, f"candidates {2**32} to {2**32 + count - 1} have other rows than this processor gives them")


def _facts(settings: Settings, candidates: np.ndarray, patches: np.ndarray) -> dict[str, np.ndarray]:
    """Computes further columns by their definitions: int32[candidate] each. patches: of rows, [row, frame, patch]."""
    cells = grid_tokens.patch_grids(settings, patches).reshape(*patches.shape[:2], settings.cells)
    found = grid_facts.defined(stored(settings), cells)
    if stores_oracle(settings) and settings.frames > 1:
        found[ORACLE] = _oracle_losses(settings, candidates)
    if stores_lambda(settings):
        found[LAMBDA] = langton.defined(settings, sample_rules(settings, KEY, candidates))
    return found


def _oracle_losses(settings: Settings, candidates: np.ndarray) -> np.ndarray:
    """Computes the column of oracle losses by its definition: int32[candidate]. candidates: uint64[candidate]."""
    earlier = replace(settings, warmup=settings.warmup + settings.stride - 1)
    before = definition.trajectories(earlier, KEY, candidates, settings.frames - 1)
    logits = oracle.known_logits(settings, KEY, candidates, before)
    return entropy.micronats(settings, entropy.cell_entropies(settings, logits).sum(axis=(1, 2)))


def _shortened(settings: Settings) -> Settings:
    """Returns the settings, with fewer steps where trajectories are long.

    A rule that changes beyond the shorter row's end changes in its last grid. A control that needs two grids is left
    out where a row has one.
    """
    kept = "" if settings.control in ("shuffle-time", "new-rule") else settings.control
    short = replace(
        settings,
        warmup=min(settings.warmup, LONGEST_WARMUP),
        stride=min(settings.stride, LONGEST_STRIDE),
        seq_len=min(settings.seq_len, LONGEST_ROW),
        measure="gzip",  # which is checked whatever bands select by
        control=kept,
        change_at=None,
    )
    if kept == settings.control or short.frames < 2:
        return short
    change_at = settings.change_at and min(settings.change_at, short.frames - 1)
    return replace(short, control=settings.control, change_at=change_at)


def _fail(backend: Backend, what: str) -> NoReturn:
    name = "this processor" if backend is CPU else f"device {backend.name}"
    raise SelfCheckFailed(
        f"{name} does not compute what ncagen defines: {what}; no row was made here: use another machine"
        f"{'' if backend is CPU else ', or --device cpu'}, {AGAIN}"
    )
