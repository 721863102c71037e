"""Rows from neural cellular automata: candidates to scored batches, and kept candidates to token rows.

A batch runs each candidate's automaton only as far as the score looks (the first ten recorded grids); `rows` runs
the kept ones to their end. Where the automaton runs is the backend's matter: the same integers come out of all. The
score is computed by the host. Nothing here knows bands, shards or files.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources.nca import cpu, tokens
from ncagen.sources.nca.rules import Rules
from ncagen.spec import Spec


class Backend(Protocol):
    """What runs the automaton: the module `cpu`, or a `gpu.Torch`.

    Rules and grids are the backend's own arrays, which stay where they are; `patch_tokens` gives NumPy's.
    """

    def sample(self, spec: Spec, stream: int, candidates: np.ndarray) -> tuple[Rules, Any]: ...

    def rollout(
        self, spec: Spec, stream: int, candidates: np.ndarray, drawn: Rules, grids: Any, first_frame: int, frames: int
    ) -> Any: ...

    def patch_tokens(self, spec: Spec, grids: Any) -> np.ndarray: ...

    def batch_candidates(self, spec: Spec) -> int: ...

    def tables(self) -> dict[str, np.ndarray]: ...

    def __hash__(self) -> int: ...


class Batch(NamedTuple):
    """Scored candidates.

    candidates: uint64[batch]. rules: their weights. grids: uint8[batch, frame, cell], the scored frames; both are
    the backend's. patches: uint16 or uint32 [batch, frame, patch]. lengths: int32[batch], gzip bytes, or 0 where they
    are proven to be fewer than asked for.
    """

    spec: Spec
    stream: int
    candidates: np.ndarray
    rules: Rules
    grids: Any
    patches: np.ndarray
    lengths: np.ndarray


def batch(spec: Spec, stream: int, candidates: np.ndarray, at_least: int = 0, backend: Backend = cpu) -> Batch:
    """Runs and scores candidates. candidates: uint64[batch].

    With `at_least`, a length that is provably smaller may be given as 0, which is cheaper.
    """
    rules, starts = backend.sample(spec, stream, candidates)
    grids = backend.rollout(spec, stream, candidates, rules, starts, 0, spec.scored_frames)
    patches = backend.patch_tokens(spec, grids)
    lengths = token_gzip_lengths(patches.reshape(len(candidates), -1), at_least)
    return Batch(spec, stream, candidates, rules, grids, patches, lengths)


def rows(scored: Batch, chosen: np.ndarray, backend: Backend = cpu) -> np.ndarray:
    """The whole token rows of some candidates of a batch, which the same backend ran.

    chosen: indices [row]. Returns uint16 or uint32 [row, token].
    """
    spec, frames = scored.spec, scored.spec.scored_frames
    patches = scored.patches[chosen]
    if spec.frames > frames:
        rest = backend.rollout(
            spec,
            scored.stream,
            scored.candidates[chosen],
            Rules(*(weights[chosen] for weights in scored.rules)),
            scored.grids[chosen, -1],
            frames,
            spec.frames - frames,
        )
        patches = np.concatenate([patches, backend.patch_tokens(spec, rest)], axis=1)
    return tokens.rows(spec, patches)


def rebuild(spec: Spec, stream: int, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of known candidates and their exact gzip lengths, for a verifier.

    candidates: uint64[row]. Returns uint16 or uint32 [row, token] and int32[row].
    """
    scored = batch(spec, stream, candidates)
    return rows(scored, np.arange(len(candidates))), scored.lengths
