"""One candidate's automaton, to inspect and to run: its weights, its start grid, and grids of any number of steps."""

from dataclasses import dataclass, replace

import numpy as np

from ncagen.errors import NcagenError
from ncagen.numbers import whole
from ncagen.sources.nca.rules import Rules, later_candidates, sample_rules, sample_starts
from ncagen.sources.nca.settings import Settings

MOST_STEPS = 10**6


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule of one candidate. docs/automaton.md defines its arithmetic.

    settings: of the automaton. key: seed and stream. candidate: the number of the candidate, below 2**64.
    perception: int16[row, column, state, channel], which a neighbour in this state adds to each of 4 channels.
    hidden: int16[unit, channel]. output: int16[state, unit]. start: uint8[y, x], the grid at step 0.
    """

    settings: Settings
    key: tuple[int, int]
    candidate: int
    perception: np.ndarray
    hidden: np.ndarray
    output: np.ndarray
    start: np.ndarray

    def simulate(self, steps: int, start: np.ndarray | None = None) -> np.ndarray:
        """Computes the grids after 0, 1, ..., `steps` steps, starting with the start grid: uint8[steps + 1, y, x].

        steps: 0 to 1,000,000. start: integers [y, x] to run the rule from, by default the candidate's start grid. The
        noise is the candidate's, so its start grid gives the grids of its row as long as it follows this rule: after
        `warmup` steps, then every `stride` steps. Raises NcagenError for steps out of range, or a start that is not a
        grid of these settings.
        """
        from ncagen.sources.nca import cpu

        steps = whole("steps", steps, 0, MOST_STEPS)
        grid = self.start if start is None else self._checked(start)
        rules = Rules(self.perception[None], self.hidden[None], self.output[None])
        each_step = replace(self.settings, warmup=0, stride=1)
        candidates = np.array([self.candidate], np.uint64)
        cells = cpu.rollout(each_step, self.key, candidates, rules, grid.reshape(1, -1), 0, steps + 1)
        return cells.reshape(steps + 1, self.settings.height, self.settings.width)

    def __repr__(self) -> str:
        return f"<ncagen.Rule of candidate {self.candidate}: {self.settings.states} states, {self.settings.size} cells>"

    def _checked(self, start: np.ndarray) -> np.ndarray:
        grid, shape = np.asarray(start), (self.settings.height, self.settings.width)
        if grid.dtype.kind not in "iu" or grid.shape != shape:
            raise NcagenError(f"start is {grid.dtype} {grid.shape}: use integers of shape {shape}")
        if grid.min() < 0 or grid.max() >= self.settings.states:
            raise NcagenError(f"start has states {grid.min()} to {grid.max()}: use 0 to {self.settings.states - 1}")
        return grid.astype(np.uint8)


def rule_of(settings: Settings, key: tuple[int, int], candidate: int, grid: int = 0) -> Rule:
    """Draws the rule that leads to a grid of a candidate's row, and the candidate's start grid.

    key: seed and stream. candidate: below 2**64. grid: its number in the row. Raises NcagenError for rows that a
    control rearranged: they follow no rule.
    """
    if settings.rearranges:
        raise NcagenError(f"{settings.no_oracle}: use rows without it, whose candidates are the same")
    numbers = np.array([candidate], np.uint64)
    later = settings.change_at is not None and grid >= settings.change_at
    drawn = sample_rules(settings, key, later_candidates(settings, numbers) if later else numbers)
    [start] = sample_starts(settings, key, numbers)
    return Rule(settings, key, int(candidate), drawn.perception[0], drawn.hidden[0], drawn.output[0], start)
