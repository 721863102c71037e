"""Records which kernels are called from Python, and with which types, into `kernels.txt`.

    python -m ncagen.native.record

It runs the self-check of every source with settings for each branch, and functions that are used beside it. A kernel
that no run calls here is compiled on first use, so a missing line costs time and changes no result.
"""

from collections.abc import Callable
from typing import Any

from ncagen import kernels, native
from ncagen.native.compile import LIST


class Recorder:
    """Takes the place of a library: compiles every kernel, and lists its types."""

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def has(self, kernel: str) -> bool:
        """Every call is recorded."""
        return True

    def call(self, kernel: str, args: tuple, otherwise: Callable) -> Any:
        """Adds a line for this call and runs the compiled kernel."""
        types: list[str] = []
        try:
            native.flatten(args, types, [])
            self.lines.add(" ".join([kernel, *types]))
        except native.UnknownType:
            pass
        return otherwise(*args)


def main() -> None:
    """Runs what uses kernels, and writes the list."""
    from ncagen.sources import source_of  # noqa: F401

    recorder = Recorder()
    kernels._library = lambda: recorder  # type: ignore[assignment]
    run()
    LIST.write_text("\n".join(sorted(recorder.lines)) + "\n", encoding="utf-8")


def run() -> None:
    from ncagen.sources.nca import selfcheck
    from ncagen.sources.nca.options import settings_of
    from ncagen.deflate.lengths import gzip_length

    gzip_length(bytes(40))
    selfcheck.check(settings_of({}, seq_len=1024))


if __name__ == "__main__":
    main()
