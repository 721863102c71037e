"""Plays texts of the same height one after the other on the same lines of a terminal."""

import time
from collections.abc import Callable, Sequence

from ncagen.errors import NcagenError

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
SECONDS = 0.125  # of a frame


def check_room(columns: int, lines: int, wide: int, high: int) -> None:
    """Raises NcagenError if a frame does not fit the terminal, where wrapped lines would not be overwritten.

    columns, lines: of the terminal. wide, high: columns and lines of a frame.
    """
    if wide > columns or high >= lines:
        raise NcagenError(
            f"a grid takes {wide} columns and {high + 1} lines, the terminal has {columns} and {lines}:"
            " make it larger, or use --gif FILE"
        )


def play(texts: Sequence[str], write: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Writes each text over the one before; the last one stays. texts: of equally many lines. wait: takes seconds."""
    write(HIDE)
    try:
        for i, text in enumerate(texts):
            if i:
                wait(SECONDS)
                write(f"\x1b[{text.count(chr(10)) + 1}F")
            write(text + "\n")
    finally:
        write(SHOW)
