"""What the cells of the matrix gave: counts by reader and framework, and failures with the rows in short."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ncagen.errors import NcagenError
from reader_matrix.oracle import Batches, flat

SHOWN = 6  # row numbers of each end that a failure prints


class Cell(NamedTuple):
    """workers: of the DataLoader, in words."""

    reader: str
    framework: str
    workers: str
    situation: str

    def __str__(self) -> str:
        return " / ".join(self)


class Ledger:
    """Cells that were run, by outcome. A framework that runs several processes merges theirs."""

    def __init__(self) -> None:
        self.exact: list[Cell] = []
        self.refused: list[Cell] = []
        self.impossible: dict[tuple[str, str], str] = {}  # by reader and framework: why
        self.failures: list[str] = []
        self.rows = 0

    def same(self, cell: Cell, found: list[Batches], expected: list[Batches]) -> None:
        """Counts a cell that must give these passes, batch by batch."""
        self.rows += sum(len(flat(batches)) for batches in found)
        if found == expected:
            self.exact.append(cell)
        else:
            self.failures.append(f"{cell}\n{difference(found, expected)}")

    def once(self, cell: Cell, found: list[list[int]], rows: range, *, padded: int = 0) -> None:
        """Counts a cell whose order is the framework's: each pass holds every row once, and up to `padded` twice."""
        self.rows += sum(map(len, found))
        wrong = [
            f"    pass {number}: {len(have)} rows, {len(set(have))} different,"
            f" missing {sorted(set(rows) - set(have))[:SHOWN]}"
            for number, have in enumerate(found)
            if set(have) != set(rows) or len(have) > len(rows) + padded
        ]
        if wrong:
            self.failures.append("\n".join([str(cell), *wrong]))
        else:
            self.exact.append(cell)

    def refuses(self, cell: Cell, action: Callable[[], object], message: str) -> None:
        """Counts a cell that must end in exactly this line."""
        try:
            action()
        except NcagenError as error:
            self.expect_message(cell, str(error), message)
        except Exception as error:
            self.expect_message(cell, f"{type(error).__name__}: {error}", message)
        else:
            self.expect_message(cell, "no error", message)

    def expect_message(self, cell: Cell, found: str, message: str) -> None:
        """Counts a cell by the line in which it ended; a worker's traceback around it is no difference."""
        if found.strip().splitlines()[-1].removeprefix("ncagen.errors.NcagenError: ") == message:
            self.refused.append(cell)
        else:
            self.failures.append(f"{cell}\n    found    {found}\n    expected {message}")

    def cannot(self, reader: str, framework: str, reason: str) -> None:
        """Notes that a framework cannot have a reader at all."""
        self.impossible[reader, framework] = reason

    def save(self, path: Path) -> None:
        """For the process that merges."""
        impossible = [[*pair, reason] for pair, reason in self.impossible.items()]
        path.write_text(json.dumps(vars(self) | {"impossible": impossible}))

    def merge(self, path: Path, *, count: bool) -> None:
        """Adds what another process compared. count: whether its cells are to be counted, as those of one rank are."""
        other = json.loads(path.read_text())
        self.failures += other["failures"]
        self.rows += other["rows"]
        if count:
            self.exact += [Cell(*cell) for cell in other["exact"]]
            self.refused += [Cell(*cell) for cell in other["refused"]]
            self.impossible |= {(reader, framework): reason for reader, framework, reason in other["impossible"]}

    def summary(self) -> dict:
        """Plain JSON: [reader, framework, exact, refused, reason] for each pair, and the rows compared."""
        pairs = dict.fromkeys([*(cell[:2] for cell in [*self.exact, *self.refused]), *self.impossible])
        counts = [
            [
                reader,
                framework,
                sum(cell[:2] == (reader, framework) for cell in self.exact),
                sum(cell[:2] == (reader, framework) for cell in self.refused),
                self.impossible.get((reader, framework), ""),
            ]
            for reader, framework in pairs
        ]
        return {"cells": counts, "rows": self.rows}


def difference(found: list[Batches], expected: list[Batches]) -> str:
    """The passes that differ, each as two lines."""
    lines = []
    for number in range(max(len(found), len(expected))):
        have = found[number] if number < len(found) else None
        want = expected[number] if number < len(expected) else None
        if have != want:
            lines += [f"    pass {number} found    {short(have)}", f"    pass {number} expected {short(want)}"]
    return "\n".join(lines)


def short(batches: Batches | None) -> str:
    """The first and last rows of a pass, and the sizes of its batches."""
    if batches is None:
        return "nothing"
    rows, sizes = flat(batches), [len(batch) for batch in batches]
    ends = rows if len(rows) <= 2 * SHOWN else [*rows[:SHOWN], "...", *rows[-SHOWN:]]
    return f"{len(rows)} rows in {len(batches)} batches {sizes}: {', '.join(map(str, ends))}"
