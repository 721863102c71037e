"""A line on the terminal at the moment when numba begins to compile the first kernel of this process.

Kernels from numba's cache on disk are not compiled, and nothing is said. The line goes through `logging`, whose default
writes it to standard error; the logger `ncagen.compile_notice` at level ERROR keeps it away. How kernels are compiled
and cached is `kernels`' part.
"""

import logging
from functools import cache

from numba.core import event

COMPILING = "ncagen: compiling kernels for this machine (up to about 20 seconds; they are kept)"
PACKAGE = __name__.partition(".")[0] + "."

_LOG = logging.getLogger(__name__)


class Notice(event.Listener):
    """Logs COMPILING once, when a function of this package is compiled. Another's functions say nothing."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: event.Event) -> None:
        """Numba holds its compiler's lock here, so that threads do not say it twice."""
        if not self._said and event.data["dispatcher"].py_func.__module__.startswith(PACKAGE):
            self._said = True
            _LOG.warning(COMPILING)

    def on_end(self, event: event.Event) -> None:
        """Nothing: the results show that it is over."""


@cache
def watch() -> None:
    """Has this process say so; calls after the first change nothing."""
    event.register("numba:compile", Notice())
