"""Runs commands in processes of their own, as a user does, but forked from one that has the slow imports behind it.

Each has its own environment; the arguments, the exit status and what is printed are a real command's. `-c` and a
program run that instead of a command of ncagen.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

FORKED = multiprocessing.get_context("forkserver")
TESTS = str(Path(__file__).parents[1])

SECONDS = 120


class Command:
    """A command that runs. out, err: what it prints, complete once it has ended."""

    def __init__(self, arguments: tuple[object, ...], environment: Mapping[str, str]):
        self._folder = Path(tempfile.mkdtemp(prefix="ncagen-command-"))
        words = [str(argument) for argument in arguments]
        _serve()
        self._process = FORKED.Process(target=_main, args=(words, dict(environment), str(self._folder)), daemon=True)
        self._process.start()

    def kill(self) -> None:
        """Ends it at once, as a power cut does."""
        self._process.kill()

    def stop(self) -> None:
        """Asks it to end, as Ctrl-C does."""
        self._process.terminate()

    def wait(self, seconds: float = SECONDS) -> int:
        """The exit status; minus the signal's number for one that was killed."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"still running after {seconds} seconds")
        return self._process.exitcode

    @property
    def out(self) -> str:
        return (self._folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "err").read_text()


@cache
def _serve() -> None:
    """Starts the process that commands are forked from, which finds its modules by the environment alone."""
    FORKED.set_forkserver_preload(["hub.warm"])
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [TESTS, before]))
    try:
        forkserver.ensure_running()
    finally:
        os.environ["PYTHONPATH"] = before


def _main(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-c":
        exec(arguments[1], {"__name__": "__main__"})
        return
    sys.argv = ["ncagen", *arguments]
    from ncagen.__main__ import main

    main()
