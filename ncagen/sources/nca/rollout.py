"""Runs automata on the processor by the rules they follow: one, or another from a grid on (control new-rule).

`cpu` runs one rule for each candidate; this module splits the grids where the rule changes. Not covered: the arithmetic
of a step (`cpu`), and devices, whose kernels change the rule themselves (`gpu`).
"""

import numpy as np

from ncagen.sources.nca import cpu
from ncagen.sources.nca.rules import Rules, later_candidates
from ncagen.sources.nca.settings import Settings


def rollout(
    settings: Settings,
    key: tuple[int, int],
    candidates: np.ndarray,
    drawn: Rules,
    grids: np.ndarray,
    first_frame: int,
    frames: int,
    sums: np.ndarray | None = None,
    counted_steps: int = 1,
) -> np.ndarray:
    """Computes recorded grids as `cpu.rollout` does, by the other rule from `change_at` on where there is one.

    drawn: the candidates' first rules. The others are those of `cpu.rollout`.
    """
    change = settings.change_at
    before = frames if change is None else min(max(change - first_frame, 0), frames)
    parts: list[np.ndarray] = []
    for start, count in ((first_frame, before), (first_frame + before, frames - before)):
        if not count:
            continue
        if change is not None and start >= change:
            drawn, _ = cpu.sample(settings, key, later_candidates(settings, candidates))
        if parts:
            grids = parts[-1][:, -1]
        counted = None if sums is None else np.zeros((len(candidates), count), np.int64)
        parts.append(cpu.rollout(settings, key, candidates, drawn, grids, start, count, counted, counted_steps))
        if sums is not None:
            sums[:, start - first_frame : start - first_frame + count] = counted
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def entropies(settings: Settings, key: tuple[int, int], candidates: np.ndarray, counted_steps: int = 1) -> np.ndarray:
    """Runs candidates through their rows for the entropy of the last `counted_steps` steps before each grid.

    key: seed and stream. candidates: uint64[batch]. Returns int64[batch, frame], in units of 1/2**24 nat.
    """
    drawn, starts = cpu.sample(settings, key, candidates)
    sums = np.zeros((len(candidates), settings.frames), np.int64)
    rollout(settings, key, candidates, drawn, starts, 0, settings.frames, sums, counted_steps)
    return sums
