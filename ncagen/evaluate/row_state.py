"""A small file of finished rows: what a model scored on each, one line of JSON a row, from which a run resumes.

The first line says which run the rows are of; a file of another run, or none of ours, is replaced when the first row is
added. A line that was cut by a kill is left out. Not covered: two processes that write the same file.
"""

import json
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ncagen.evaluate.model_score import RowScores

VERSION = 1
FIELDS = ("nats", "accuracy", "tokens")
DIGITS = 6  # of a loss


class RowState:
    """The finished rows of one run, in a file if there is one."""

    def __init__(self, path: Path | None, run: Mapping[str, Any]):
        """path: the file, None for none. run: what the scores depend on, as plain values. Raises OSError."""
        self._path = path
        self._head = json.dumps({"ncagen_model_scores": VERSION, **run}, sort_keys=True)
        self._lines = self._read()

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, rows: RowScores) -> None:
        """Keeps the scores of more rows. Raises OSError."""
        lines = [
            json.dumps({"nats": _plain(nats), "accuracy": _plain(accuracy), "tokens": round(float(tokens), DIGITS)})
            for nats, accuracy, tokens in zip(rows.nats, rows.accuracy, rows.tokens, strict=True)
        ]
        if self._path is not None:
            begun = bool(self._lines)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a" if begun else "w", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in (lines if begun else [self._head, *lines])))
        self._lines += lines

    def scores(self) -> RowScores:
        """Those of all rows, in order."""
        rows = [json.loads(line) for line in self._lines]
        return RowScores(
            *(np.array([row[name] for row in rows], np.float64) for name in ("nats", "accuracy", "tokens"))
        )

    def _read(self) -> list[str]:
        """The whole lines of a file of this run; what follows them is cut off the file."""
        if self._path is None or not self._path.is_file():
            return []
        text = self._path.read_text(encoding="utf-8", errors="replace")
        head, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
        if head != self._head:
            return []
        whole = list(takewhile(_is_whole, lines))
        kept = "".join(f"{line}\n" for line in (head, *whole))
        if kept != text:
            self._path.write_text(kept, encoding="utf-8")
        return whole


def _is_whole(line: str) -> bool:
    try:
        return set(FIELDS) <= set(json.loads(line))
    except (ValueError, TypeError):
        return False


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON, None for nan."""
    return [None if np.isnan(value) else round(float(value), DIGITS) for value in values]
