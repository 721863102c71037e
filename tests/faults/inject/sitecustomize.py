"""Harms the process that it is loaded into, at a chosen step, once or always. Python loads it before any program.

It does nothing unless the environment variable FAULT is set, a JSON object:

    step   generate, write, fsync, rename, record (just after the rename), remove, or compute
    on     what the step is done on, a regular expression: "train 1" when rows are generated, else a file's final name;
           of compute what comes out wrong: table (an entry of the noise), kernel (a cell of a grid) or score (a length)
    at     the how manyeth such call in this process it is, and with it those that follow
    how    "kill" (SIGKILL), "raise" (RuntimeError), an errno such as "EIO" (OSError), "hold" (until the mark is
           removed), or "meet" (until another process is at the same step)
    mark   a file that the first strike makes, so that no process strikes again; for "meet" a folder in which the
           processes see each other

Child processes inherit it with the environment. Another sitecustomize on the path is run as well.
"""

import errno
import io
import json
import os
import re
import signal
import sys
import threading
import time
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

HOLD_SECONDS = 60


class Fault:
    """What is to happen, and how often its step came by in this process."""

    def __init__(self, step: str, on: str = "", at: int = 1, how: str = "kill", mark: str | None = None):
        self.step, self._on, self._at, self._how = step, re.compile(on), at, how
        self._mark = None if mark is None else Path(mark)
        self._calls, self._lock = 0, threading.Lock()

    def due(self, name: str) -> bool:
        """Whether this call is the one, or one after it; who was held once is not held again."""
        if not self._on.search(name):
            return False
        with self._lock:
            self._calls += 1
            if self._calls < self._at or (self._how == "hold" and self._calls > self._at):
                return False
            return self._how == "meet" or self._first()

    def strike(self, name: str) -> None:
        """Does the harm."""
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._how == "raise":
            raise RuntimeError(f"{name} is poisoned")
        elif self._how == "hold":
            wait(lambda: not self._mark.exists())
        elif self._how == "meet":
            (self._mark / str(os.getpid())).touch()
            wait(lambda: len(list(self._mark.iterdir())) >= 2)
        else:
            code = getattr(errno, self._how)
            raise OSError(code, os.strerror(code))

    def _first(self) -> bool:
        if self._mark is None:
            return True
        try:
            self._mark.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def __call__(self, name: str) -> None:
        if self.due(name):
            self.strike(name)


def wait(condition) -> None:
    """Until the condition holds, to a fraction of a millisecond."""
    end = time.monotonic() + HOLD_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.0002)


def final(path: object) -> str:
    """The final name of a file that may have its temporary one."""
    name = Path(os.fspath(path)).name
    return name[1:].split("~")[0] if name.endswith(".tmp") else name


def on_write(fault: Fault) -> None:
    """Half of a file's bytes are on their way to the disk."""
    plain = Path.open

    class Torn(io.BufferedWriter):
        def write(self, data) -> int:
            name, rest, written = final(self.raw.name), memoryview(data).cast("B"), 0
            if fault.due(name):
                written = super().write(rest[: rest.nbytes // 2])
                self.flush()
                fault.strike(name)
            return written + super().write(rest[written:])

    def opened(self, mode="r", *arguments, **options):
        return Torn(io.FileIO(self, "x")) if mode == "xb" else plain(self, mode, *arguments, **options)

    Path.open = opened


def on_fsync(fault: Fault) -> None:
    """A file's bytes are written, and may not have reached the disk."""
    plain = os.fsync

    def fsync(handle):
        fault(final(Path(f"/proc/self/fd/{handle}").readlink()))
        plain(handle)

    os.fsync = fsync


def on_rename(fault: Fault) -> None:
    """A file is whole, and has its temporary name still, or has its final one and nobody was told."""
    for name in ("replace", "link"):
        plain = getattr(os, name)

        def named(source, target, *arguments, plain=plain, **options):
            if fault.step == "rename":
                fault(final(target))
            plain(source, target, *arguments, **options)
            if fault.step == "record":
                fault(final(target))

        setattr(os, name, named)


def on_remove(fault: Fault) -> None:
    """A file is to be removed; it is named as it stands."""
    plain = os.unlink

    def unlink(path, *arguments, **options):
        fault(Path(path).name)
        plain(path, *arguments, **options)

    os.unlink = unlink


def when_imported(name: str, change) -> None:
    """Changes a module as it is imported, if it ever is."""

    class Finder:
        @staticmethod
        def find_spec(found_name, path=None, target=None):
            found = PathFinder.find_spec(found_name, path) if found_name == name else None
            if found:
                load = found.loader.exec_module
                found.loader.exec_module = lambda module: (load(module), change(module))
            return found

    sys.meta_path.insert(0, Finder)


def on_generate(fault: Fault) -> None:
    """A batch of a shard's candidates has been run."""

    def change(module):
        plain = module.search

        def search(spec, split, shard, *arguments, **options):
            for step in plain(spec, split, shard, *arguments, **options):
                fault(f"{split} {shard}")
                yield step

        module.search = search

    when_imported("ncagen.factory.search", change)


def on_compute(fault: Fault) -> None:
    """The process computes other integers than it should, by one."""

    def changed(plain, place):
        def wrong(*arguments, **options):
            found = plain(*arguments, **options).copy()
            found[place] += 1
            return found

        return wrong

    places = {
        "table": ("ncagen.sources.nca.rules", "gumbel_table", 40_000),
        "kernel": ("ncagen.sources.nca.cpu", "rollout", (0, -1, 0)),
        "score": ("ncagen.deflate.lengths", "token_gzip_lengths", 0),
    }
    for what, (module, function, place) in places.items():
        if fault.due(what):
            when_imported(
                module,
                lambda module, function=function, place=place: setattr(
                    module, function, changed(getattr(module, function), place)
                ),
            )


STEPS = {
    "generate": on_generate,
    "write": on_write,
    "fsync": on_fsync,
    "rename": on_rename,
    "record": on_rename,
    "remove": on_remove,
    "compute": on_compute,
}

if "FAULT" in os.environ:
    chosen = Fault(**json.loads(os.environ["FAULT"]))
    STEPS[chosen.step](chosen)

here = Path(__file__).parent
if other := PathFinder.find_spec("sitecustomize", [place for place in sys.path if Path(place).absolute() != here]):
    other.loader.exec_module(module_from_spec(other))
