"""Runs and scores batches of candidates, and computes the rows of those that are kept.

A batch runs each candidate's automaton only through the grids that are scored (the first ten recorded ones); `rows`
runs the kept candidates to the end of their row. A backend runs the automaton; all backends give the same integers.
The host computes the score. Not covered: bands, shards and files.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.row_format import Rows
from ncagen.sources import grid_facts, grid_tokens
from ncagen.sources.nca import controls, cpu, entropy, langton, structure
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
from ncagen.sources.nca.rollout import Backend, entropies, rollout
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import Settings
from ncagen.sources.scored import gzip_facts, gzip_problems, scored_bytes
from ncagen.sources.source import Stage, no_stage


@dataclass(frozen=True)
class NcaBatch:
    """Scored candidates.

    key: seed and stream. candidates: uint64[candidate]. drawn: their weights. grids: uint8[candidate, frame, cell], the
    scored frames. drawn and grids are arrays of the backend. patches: uint16 or uint32 [candidate, frame, patch].
    score: int32[candidate], of the settings' measure, or 0 where it is proven to be below `at_least`. entropy:
    int64[candidate, frame], of the cells of the scored frames as `cpu.rollout` adds it up; None where no column needs
    it, or the backend does not compute it.
    """

    settings: Settings
    key: tuple[int, int]
    candidates: np.ndarray
    drawn: Rules
    grids: Any
    patches: np.ndarray
    score: np.ndarray
    entropy: np.ndarray | None
    backend: Backend
    stage: Stage

    def rows(self, chosen: np.ndarray) -> Rows:
        """Computes the complete rows of exactly scored candidates. chosen: int64[row], indices into `candidates`."""
        settings = self.settings
        rest = settings.frames - settings.scored_frames
        sums = None if self.entropy is None else np.zeros((len(chosen), rest), np.int64)
        with self.stage("rollout"):
            ids, scored = self._tokens(chosen, sums)
        columns = {"input_ids": ids, "candidate": self.candidates[chosen]}
        score, selects = self.score[chosen], measure(settings)
        if settings.rearranges:
            with self.stage("score"):
                columns |= _score_columns(settings, scored)
            columns |= {selects.column: score, selects.ratio: selects.ratios(score)}
        else:
            columns |= _score_columns(settings, scored, score)
        if stores_oracle(settings):
            with self.stage("rollout"):
                columns[ORACLE] = entropy.micronats(settings, self._entropy_sums(chosen, sums))
        if stores_lambda(settings):
            columns[LAMBDA] = langton.counts(settings, self._rules(chosen))
        if names := stored(settings):
            columns |= grid_facts.computed(names, _row_cells(settings, ids))
        return Rows(columns)

    def token_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Computes the tokens of some candidates' rows.

        chosen: int64[row], indices into `candidates`. Returns uint16 or uint32 [row, token].
        """
        return self._tokens(chosen)[0]

    def _tokens(self, chosen: np.ndarray, sums: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Computes the tokens of rows, [row, token], and the patches of their scored grids, [row, frame, patch].

        sums: int64[row, frame after the scored ones], if given, is filled with the entropy of the trajectories.
        """
        settings, first = self.settings, self.settings.scored_frames
        parts = [self.patches[chosen]]
        if settings.frames > first:
            drawn = Rules(*(weights[chosen] for weights in self.drawn))
            last = self.grids[chosen, -1]
            arguments = settings, self.key, self.candidates[chosen], drawn, last, first, settings.frames - first
            rest = rollout(self.backend, *arguments, sums)
            parts.append(self.backend.patch_tokens(settings, rest))
        if settings.rearranges:
            whole = np.concatenate(parts, axis=1)
            whole = controls.rearrange(settings, self.key, self.candidates[chosen], whole)
            return grid_tokens.rows(settings, whole), np.ascontiguousarray(whole[:, :first])
        return grid_tokens.rows(settings, *parts), parts[0]

    def _entropy_sums(self, chosen: np.ndarray, rest: np.ndarray | None) -> np.ndarray:
        """Adds up the entropy of rows, without their first grid. rest: int64[row, frame]. Returns int64[row]."""
        if self.entropy is None or rest is None:  # another backend ran the automata
            return entropies(self.settings, self.key, self.candidates[chosen])[:, 1:].sum(axis=1)
        return self.entropy[chosen, 1:].sum(axis=1) + rest.sum(axis=1)

    def _rules(self, chosen: np.ndarray) -> Rules:
        """The rules of rows, in NumPy."""
        if self.backend is cpu:
            return Rules(*(weights[chosen] for weights in self.drawn))
        return cpu.sample(self.settings, self.key, self.candidates[chosen])[0]

    def scored_bytes(self) -> list[bytes]:
        """Returns the scored bytes of each candidate: its scored patches as little-endian int32."""
        return scored_bytes(self.patches)


def run(
    settings: Settings,
    key: tuple[int, int],
    candidates: np.ndarray,
    at_least: int = 0,
    *,
    backend: Backend,
    stage: Stage = no_stage,
) -> NcaBatch:
    """Runs and scores candidates.

    key: seed and stream. candidates: uint64[candidate]. at_least: gzip bytes; a length that is provably smaller may be
    returned as 0, which is cheaper; other measures are always computed.
    """
    with stage("rules"):
        drawn, starts = backend.sample(settings, key, candidates)
    counted = None
    if stores_oracle(settings) and backend is cpu:
        counted = np.zeros((len(candidates), settings.scored_frames), np.int64)
    with stage("rollout"):
        arguments = settings, key, candidates, drawn, starts, 0, settings.scored_frames
        grids = rollout(backend, *arguments, counted)
    with stage("tokens"):
        patches = backend.patch_tokens(settings, grids)
    with stage("score"):
        if settings.measure == "gzip":
            score = _lengths(patches, at_least)
        else:
            score = structure.linear_gaps(settings, grids if backend is cpu else _cells(settings, patches))
    return NcaBatch(settings, key, candidates, drawn, grids, patches, score, counted, backend, stage)


def _score_columns(settings: Settings, scored: np.ndarray, score: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The gzip lengths of rows and what else bands select by, and both as ratios.

    scored: patches of the rows as they are written, [row, frame, patch]. score: int32[row], of the settings' measure,
    where it is known.
    """
    lengths = score if score is not None and settings.measure == "gzip" else _lengths(scored)
    columns = gzip_facts(lengths, settings.scored_bytes)
    if settings.measure != "gzip":
        gaps = structure.linear_gaps(settings, _cells(settings, scored)) if score is None else score
        columns |= {LINEAR_GAP: gaps, LINEAR_GAP_RATIO: row_measure(settings).ratios(gaps)}
    return columns


def _lengths(patches: np.ndarray, at_least: int = 0) -> np.ndarray:
    """The gzip lengths of scored grids: int32[row]. patches: uint16 or uint32 [row, frame, patch]."""
    return token_gzip_lengths(patches.reshape(len(patches), -1), at_least)


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
