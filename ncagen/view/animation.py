"""Texts of the same height played one after the other in the same place of a terminal."""

import time
from collections.abc import Callable, Sequence

from ncagen.errors import NcagenError

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
SECONDS = 0.125  # of a frame


def check_room(columns: int, lines: int, wide: int, high: int) -> None:
    """Raises NcagenError where a frame does not fit a terminal: broken lines would not stay in their place."""
    if wide > columns or high >= lines:
        raise NcagenError(
            f"a grid takes {wide} columns and {high + 1} lines, the terminal has {columns} and {lines}:"
            " make it larger, or use --gif FILE"
        )


def play(texts: Sequence[str], write: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Shows each text in the place of the one before; the last one stays."""
    write(HIDE)
    try:
        for i, text in enumerate(texts):
            if i:
                wait(SECONDS)
                write(f"\x1b[{text.count(chr(10)) + 1}F")
            write(text + "\n")
    finally:
        write(SHOW)
