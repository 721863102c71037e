"""Wraps standard output, so that a failed write to it can be told from a failed write to a file.

Both are an OSError without a file name where Python raises them, and so are many of a store's or a socket's.
"""

import io
import os
import sys


class CannotPrint(Exception):
    """What a write to standard output failed with. error: the system's."""

    def __init__(self, error: OSError):
        super().__init__(error.strerror)
        self.error = error


class Printer(io.TextIOWrapper):
    """The text layer of standard output. Raises CannotPrint where another would raise OSError."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise CannotPrint(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise CannotPrint(error) from None


def take_stdout() -> None:
    """Puts a Printer in place of this process's standard output, if that is a usual one.

    Characters that its encoding does not have are replaced: they are no reason to fail.
    """
    there = sys.stdout
    if isinstance(there, io.TextIOWrapper):
        there.flush()
        sys.stdout = Printer(
            there.buffer,
            there.encoding,
            "replace",
            newline=None if os.name == "nt" else "\n",
            line_buffering=there.line_buffering,
            write_through=there.write_through,
        )


def drop_stdout() -> None:
    """Lets what is still to be printed go nowhere, so that no second failure follows the first."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
