"""Whether this process and its device compute what ncagen defines, found out before they make a row.

Kernels are compiled on each machine, cached on disk, and run on devices and drivers that no test has seen. What they
make is kept by its hash, so a wrong row would look like a right one. So the first thing that a process does for a spec
is this, in some 20 ms once the kernels are compiled:

    tables   those that the backend draws from, by their hashes
    rows     of four candidates of this very spec, against `definition`
    score    of known tokens, against the lengths that zlib gives, and of these rows, by the two parsers of `lz77`

What it does not cover: later steps of a spec that warms up for long or records seldom, whose definition would take
minutes (`_shortened`), and what goes wrong after it was run. `ncagen verify --regenerate` compares any row.
"""

import hashlib
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import defined_length, token_gzip_lengths
from ncagen.errors import NcagenError
from ncagen.sources.nca import cpu, definition, tokens
from ncagen.sources.nca import source as nca
from ncagen.spec import Spec

# Of the backend's tables as little-endian bytes, int16 for weights, int32 for the others; tests/test_tables.py shows
# that no platform's floating-point arithmetic can give others.
TABLE_SHA256 = {
    "perception": "81e75eed787a26a3efe86c0586519720c93cf8e72368b34209bc486ef4751338",
    "hidden": "ecca09dce91a7be5cc5edc25d6c74591e8df3bb9d4a6be415808f5318b7bfd7a",
    "output": "04178499292c8570833551b63b11ba525f300b98e6d8e53dd058911b933d56ab",
    "start": "6bd08380dd30e0ea0886b2f1f6e3494c49b66c7b5e146f436e90a3600d7293f2",
    "gumbel": "5ef79f4e2a810aa2fa678d7a13cc63a43a1deb469429514f5aa7f6c01e53626e",
}

CANDIDATES = 4
CELLS_AND_STATES = 1 << 16  # of all candidates' grids together, beyond which fewer candidates are run

# What the definition takes of longer trajectories; all of those of the default spec, whose numbers are 10, 1 and 1024.
LONGEST_WARMUP, LONGEST_STRIDE, LONGEST_ROW = 16, 2, 1024

# Alphabets of the known tokens, and the lengths that madler's zlib gives at level 9; it is asked by
# tests/test_selfcheck.py.
ALPHABETS = (1, 2, 3, 10, 100, 1000, 10_000, 60_000)
KNOWN_TOKENS = 360
KNOWN_LENGTHS = (32, 104, 155, 227, 348, 527, 635, 691)


class SelfCheckFailed(NcagenError):
    """This machine, or its device, computes something else than ncagen defines."""


def check(spec: Spec, backend: nca.Backend = cpu) -> None:
    """Compares a backend with the definition for a spec, once in a process. Raises SelfCheckFailed."""
    _check_once(spec, backend)


@lru_cache(maxsize=64)
def _check_once(spec: Spec, backend: nca.Backend) -> None:
    for name, table in backend.tables().items():
        if hashlib.sha256(table.astype(table.dtype.newbyteorder("<")).tobytes()).hexdigest() != TABLE_SHA256[name]:
            _fail(backend, f"its table of {name} values is another")
    if not np.array_equal(token_gzip_lengths(known_tokens().astype(spec.token_dtype)), KNOWN_LENGTHS):
        _fail(backend, "known tokens have other gzip lengths")
    _check_rows(_shortened(spec), backend)


def known_tokens() -> np.ndarray:
    """A row of tokens for each alphabet, the second half of it like the first but for some: uint16[row, token]."""
    numbers = np.arange(len(ALPHABETS), dtype=np.uint64)
    words = philox.words(0, philox.STREAMS["pilot"], philox.START_CELLS, numbers, KNOWN_TOKENS)
    known = words % np.array(ALPHABETS, np.uint16)[:, None]
    half = KNOWN_TOKENS // 2
    known[:, half:] = np.where(words[:, half:] % 8 == 0, known[:, half:], known[:, :half])
    return known


def _check_rows(spec: Spec, backend: nca.Backend) -> None:
    """Rows and scores of a few candidates."""
    count = max(1, min(CANDIDATES, CELLS_AND_STATES // (spec.cells * spec.states)))
    candidates, stream = np.arange(count, dtype=np.uint64), philox.STREAMS["train"]
    patches = tokens.patch_tokens(spec, definition.trajectories(spec, stream, candidates, spec.frames))
    batch = nca.batch(spec, stream, candidates, backend=backend)
    if not np.array_equal(nca.rows(batch, np.arange(count), backend), tokens.rows(spec, patches)):
        _fail(backend, f"candidates 0 to {count - 1} have other rows than the definition gives them")
    scored = np.ascontiguousarray(patches[:, : spec.scored_frames]).reshape(count, -1)
    lengths = np.array([defined_length(row.astype("<u4").view(np.uint8)) for row in scored])
    least = int(np.sort(lengths)[count // 2])  # one of them: it must not be taken for less
    bounded = token_gzip_lengths(scored, least)
    right = (bounded == lengths) | ((bounded == 0) & (lengths < least))
    if not np.array_equal(batch.lengths, lengths) or not right.all():
        _fail(backend, f"candidates 0 to {count - 1} have other gzip lengths than the definition gives them")


def _shortened(spec: Spec) -> Spec:
    """The spec itself, or where its trajectories are long one of fewer steps that shares everything else."""
    return replace(
        spec,
        warmup=min(spec.warmup, LONGEST_WARMUP),
        stride=min(spec.stride, LONGEST_STRIDE),
        seq_len=min(spec.seq_len, LONGEST_ROW),
    )


def _fail(backend: Any, what: str) -> NoReturn:
    name = "this processor" if backend is cpu else f"device {backend.device}"
    raise SelfCheckFailed(
        f"{name} does not compute what ncagen defines: {what}; no row was made here: use another machine"
        f"{'' if backend is cpu else ', or --device cpu'}, or delete the __pycache__ folders of ncagen and install"
        " ncagen[build] anew"
    )
