"""Runs automata on a backend by the rules they follow: one throughout, or another from a grid on (control new-rule).

A backend runs one rule for each candidate; this module splits the grids where the rule changes. Not covered: the
arithmetic of a step (`cpu`, `gpu`).
"""

from typing import Any, Protocol

import numpy as np

from ncagen.sources.nca import cpu
from ncagen.sources.nca.rules import Rules, later_candidates
from ncagen.sources.nca.settings import Settings


class Backend(Protocol):
    """Runs the automaton: the module `cpu`, or a `gpu.Torch`. Both document the shapes.

    Rules and grids are arrays of the backend and stay on its device; `patch_tokens` returns NumPy arrays.
    """

    def sample(self, settings: Settings, key: tuple[int, int], candidates: np.ndarray) -> tuple[Rules, Any]: ...

    def rollout(
        self,
        settings: Settings,
        key: tuple[int, int],
        candidates: np.ndarray,
        drawn: Rules,
        grids: Any,
        first_frame: int,
        frames: int,
    ) -> Any: ...

    def joined(self, parts: list[Any]) -> Any: ...

    def patch_tokens(self, settings: Settings, grids: Any) -> np.ndarray: ...

    def batch_candidates(self, settings: Settings) -> int: ...

    def tables(self) -> dict[str, np.ndarray]: ...

    def __hash__(self) -> int: ...


def rollout(
    backend: Backend,
    settings: Settings,
    key: tuple[int, int],
    candidates: np.ndarray,
    drawn: Rules,
    grids: Any,
    first_frame: int,
    frames: int,
    sums: np.ndarray | None = None,
    counted_steps: int = 1,
) -> Any:
    """Computes recorded grids as `cpu.rollout` does, by the other rule from `change_at` on where there is one.

    drawn: the candidates' first rules. sums, counted_steps: as of `cpu.rollout`, for the backend `cpu` only.
    """
    change = settings.change_at
    before = frames if change is None else min(max(change - first_frame, 0), frames)
    parts: list[Any] = []
    for start, count in ((first_frame, before), (first_frame + before, frames - before)):
        if not count:
            continue
        if change is not None and start >= change:
            drawn, _ = backend.sample(settings, key, later_candidates(settings, candidates))
        if parts:
            grids = parts[-1][:, -1]
        arguments = settings, key, candidates, drawn, grids, start, count
        if sums is None:
            parts.append(backend.rollout(*arguments))
            continue
        counted = np.zeros((len(candidates), count), np.int64)
        parts.append(cpu.rollout(*arguments, counted, counted_steps))
        sums[:, start - first_frame : start - first_frame + count] = counted
    return parts[0] if len(parts) == 1 else backend.joined(parts)


def entropies(settings: Settings, key: tuple[int, int], candidates: np.ndarray, counted_steps: int = 1) -> np.ndarray:
    """Runs candidates through their rows for the entropy of the last `counted_steps` steps before each grid.

    key: seed and stream. candidates: uint64[batch]. Returns int64[batch, frame], in units of 1/2**24 nat.
    """
    drawn, starts = cpu.sample(settings, key, candidates)
    sums = np.zeros((len(candidates), settings.frames), np.int64)
    rollout(cpu, settings, key, candidates, drawn, starts, 0, settings.frames, sums, counted_steps)
    return sums
