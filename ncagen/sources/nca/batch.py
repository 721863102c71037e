"""Runs and scores batches of candidates, and computes the rows of those that are kept.

A backend runs each candidate's automaton only through the grids that are scored (the first ten recorded ones), and the
kept candidates to the end of their row. This module adds the other columns. Not covered: bands, shards and files.
"""

import math
from dataclasses import dataclass

import numpy as np

from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.row_format import Rows
from ncagen.sources import grid_facts, grid_tokens
from ncagen.sources.nca import controls, cpu, entropy, langton, structure
from ncagen.sources.nca.backends import CPU, Backend, Trajectories
from ncagen.sources.nca.facts import (
    LAMBDA,
    LINEAR_GAP,
    LINEAR_GAP_RATIO,
    ORACLE,
    measure,
    row_measure,
    stored,
    stores_lambda,
    stores_oracle,
)
from ncagen.sources.nca.settings import Settings
from ncagen.sources.scored import gzip_facts, gzip_problems, scored_bytes
from ncagen.sources.source import Stage, no_stage


@dataclass(frozen=True)
class NcaBatch:
    """Scored candidates.

    key: seed and stream. candidates: uint64[candidate]. trajectories: of a backend. score: int32[candidate], of the
    settings' measure, or 0 where it is proven to be below `at_least`.
    """

    settings: Settings
    key: tuple[int, int]
    candidates: np.ndarray
    trajectories: Trajectories
    score: np.ndarray
    stage: Stage

    @property
    def patches(self) -> np.ndarray:
        """The patches of the scored grids: uint16 or uint32 [candidate, frame, patch]."""
        return self.trajectories.patches()

    def rows(self, chosen: np.ndarray) -> Rows:
        """Computes the complete rows of exactly scored candidates. chosen: int64[row], indices into `candidates`."""
        settings, candidates = self.settings, self.candidates[chosen]
        with self.stage("rollout"):
            ids = self.token_rows(chosen)
        columns = {"input_ids": ids, "candidate": candidates}
        score, selects = self.score[chosen], measure(settings)
        if settings.rearranges:
            with self.stage("score"):
                columns |= _score_columns(settings, ids)
            columns |= {selects.column: score, selects.ratio: selects.ratios(score)}
        else:
            columns |= _score_columns(settings, ids, score)
        if stores_oracle(settings):
            with self.stage("rollout"):
                columns[ORACLE] = entropy.micronats(settings, self.trajectories.entropy_sums(chosen))
        if stores_lambda(settings):
            columns[LAMBDA] = langton.counts(settings, cpu.sample(settings, self.key, candidates)[0])
        if names := stored(settings):
            columns |= grid_facts.computed(names, _row_cells(settings, ids))
        return Rows(columns)

    def token_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Computes the tokens of some candidates' rows.

        chosen: int64[row], indices into `candidates`. Returns uint16 or uint32 [row, token].
        """
        ids = self.trajectories.rows(chosen)
        if not self.settings.rearranges:
            return ids
        whole = np.ascontiguousarray(grid_tokens.patches_of(self.settings, ids))
        return grid_tokens.rows(
            self.settings, controls.rearrange(self.settings, self.key, self.candidates[chosen], whole)
        )

    def scored_bytes(self) -> list[bytes]:
        """Returns the scored bytes of each candidate: its scored patches as little-endian int32."""
        return scored_bytes(self.patches)


def run(
    settings: Settings,
    key: tuple[int, int],
    candidates: np.ndarray,
    at_least: int = 0,
    *,
    backend: Backend = CPU,
    stage: Stage = no_stage,
) -> NcaBatch:
    """Runs and scores candidates.

    key: seed and stream. candidates: uint64[candidate]. at_least: gzip bytes; a length that is provably smaller may be
    returned as 0, which is cheaper; other measures are always computed. Raises OutOfDeviceMemory as `Backend.start`.
    """
    trajectories = backend.start(settings, key, candidates, at_least, stage)
    score = trajectories.lengths
    if score is None:
        with stage("score"):
            score = structure.linear_gaps(settings, _cells(settings, trajectories.patches()))
    return NcaBatch(settings, key, candidates, trajectories, score, stage)


def _score_columns(settings: Settings, ids: np.ndarray, score: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The gzip lengths of rows and what else bands select by, and both as ratios.

    ids: the rows as they are written, [row, token]. score: int32[row], of the settings' measure, where it is known.
    """
    if score is not None and settings.measure == "gzip":
        return gzip_facts(score, settings.scored_bytes)
    scored = np.ascontiguousarray(grid_tokens.patches_of(settings, ids)[:, : settings.scored_frames])
    columns = gzip_facts(token_gzip_lengths(scored.reshape(len(ids), -1)), settings.scored_bytes)
    if settings.measure != "gzip":
        gaps = structure.linear_gaps(settings, _cells(settings, scored)) if score is None else score
        columns |= {LINEAR_GAP: gaps, LINEAR_GAP_RATIO: row_measure(settings).ratios(gaps)}
    return columns


def _cells(settings: Settings, patches: np.ndarray) -> np.ndarray:
    """The cells of grids on the host: uint8[row, frame, cell]. patches: integers [row, frame, patch]."""
    return grid_tokens.patch_grids(settings, patches).reshape(*patches.shape[:2], settings.cells)


def _row_cells(settings: Settings, ids: np.ndarray) -> np.ndarray:
    """The cells of rows: uint8[row, frame, cell]. ids: integers [row, token]."""
    grids = ids.reshape(len(ids), settings.frames, settings.tokens_per_grid)
    return grid_facts.patch_cells(settings, grids[:, :, 1:-1])


def problems(settings: Settings, rows: Rows) -> dict[str, np.ndarray]:
    """Checks rows. Returns bool[row] by the text of each possible problem, true where the row is right."""
    grids = rows.input_ids.reshape(len(rows), settings.frames, settings.tokens_per_grid)
    scored = np.ascontiguousarray(grids[:, : settings.scored_frames, 1:-1])
    return {
        "tokens are not well formed": grid_tokens.well_formed(settings, rows.input_ids),
        **gzip_problems(rows, scored.reshape(len(rows), settings.scored_frames * settings.patches)),
        **(_gap_problems(settings, rows, scored) if settings.measure != "gzip" else {}),
        **(_original_problems(settings, rows) if settings.rearranges else {}),
        **(_oracle_problems(settings, rows[ORACLE]) if stores_oracle(settings) else {}),
        **(_lambda_problems(settings, rows[LAMBDA]) if stores_lambda(settings) else {}),
        **(_grid_problems(settings, rows) if stored(settings) else {}),
    }


def _gap_problems(settings: Settings, rows: Rows, scored: np.ndarray) -> dict[str, np.ndarray]:
    """Checks the gap of two learners. scored: integers [row, frame, patch]."""
    # Tokens that are no patches have no cells; they are a problem of their own.
    found = structure.linear_gaps(settings, _cells(settings, scored % settings.patch_ids))
    ratios = row_measure(settings).ratios(rows[LINEAR_GAP])
    return {
        "linear_gap is not that of the row's grids": found == rows[LINEAR_GAP],
        "linear_gap_ratio is not linear_gap by predicted cells": ratios == rows[LINEAR_GAP_RATIO],
    }


def _original_problems(settings: Settings, rows: Rows) -> dict[str, np.ndarray]:
    """Checks the ratio of the original's score, which only running the row's candidate again can check."""
    selects = measure(settings)
    right = selects.ratios(rows[selects.column]) == rows[selects.ratio]
    return {f"{selects.ratio} is not {selects.column} by {int(selects.denominator):,}": right}


def _oracle_problems(settings: Settings, losses: np.ndarray) -> dict[str, np.ndarray]:
    """Checks the range of oracle losses; only running the row's candidate again can check the value."""
    most = entropy.MICRO * settings.patch**2 * math.log(settings.states)
    return {"oracle_micronats is not from 0 to that of noise": (losses >= 0) & (losses <= most + 1)}


def _lambda_problems(settings: Settings, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Checks the range of Langton's lambda; only drawing the row's rule again can check the value."""
    most = langton.most(settings.states)
    return {f"{LAMBDA} is not from 0 to {most}": (counts >= 0) & (counts <= most)}


def _grid_problems(settings: Settings, rows: Rows) -> dict[str, np.ndarray]:
    """Checks the facts of grids."""
    return grid_facts.problems(stored(settings), _row_cells(settings, rows.input_ids), rows)
