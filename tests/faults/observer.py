"""Reads a folder over and over, as another program would while it is built, and says what it should not have seen.

    python watch.py FOLDER < EXPECTED

The first line of its input is a JSON object: for each final name the sha256 of every content that it may have. It
prints a line when it has looked once, goes on until its input ends, and prints what it saw as JSON. A process of its
own, so that nothing keeps it from looking; the standard library alone, so that it is there at once.

What is wrong at the first look may stay until it is replaced: the experiment put it there. But for that every file
under a final name is right whenever it is read; one that is right stays; and where a manifest appears, all is there.
Temporary names are not looked at: no reader knows them.
"""

import hashlib
import json
import os
import select
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.002

# A file whose inode changed longer ago than the clock's grain is the one that was read before.
GRAIN_SECONDS = 0.1

BUILDING, MANIFEST = "building.json", "manifest.json"


class Watcher:
    """What is expected of a folder, and what was seen."""

    def __init__(self, folder: Path, expected: dict[str, list[str]]):
        self._folder, self._expected = folder, expected
        self._known: dict[str, tuple] = {}
        self._right: set[str] = set()
        self.looks, self.reads, self.wrong = 0, 0, []
        there = {name: self._digest(name) for name in self._names()}
        self._before = {name: digest for name, digest in there.items() if digest not in expected.get(name, ())}
        self._finished = MANIFEST in there

    def look(self) -> None:
        """Reads what is new."""
        there = {name for name in self._names() if self._check(name)}
        self._complain(f"{name} is gone" for name in self._right - there if name != BUILDING and self._gone(name))
        self._right |= {name for name in there if name not in self._before}
        self.looks += 1

    def _check(self, name: str) -> bool:
        """Whether there is such a file. What is wrong about it is noted."""
        try:
            stat = (self._folder / name).stat()
        except FileNotFoundError:
            return False
        known = stat.st_ino, stat.st_size, stat.st_ctime_ns
        if self._known.get(name) == known:
            return True
        if (digest := self._digest(name)) is None:
            return False
        if time.time() - stat.st_ctime > GRAIN_SECONDS:
            self._known[name] = known
        if digest == self._before.get(name):
            return True
        self._before.pop(name, None)
        if digest not in self._expected.get(name, ()):
            self._complain([f"{name} has {(self._folder / name).stat().st_size} bytes that are not its own"])
        elif name == MANIFEST and not self._finished:
            self._finished = True
            missing = self._expected.keys() - {BUILDING} - set(self._names())
            self._complain(f"{other} is missing beside {MANIFEST}" for other in sorted(missing))
        return True

    def _names(self) -> list[str]:
        found = (Path(place) / name for place, _, names in os.walk(self._folder) for name in names)
        names = (path.relative_to(self._folder).as_posix() for path in found if not is_temporary(path.name))
        return sorted(names)

    def _digest(self, name: str) -> str | None:
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        self.reads += 1
        return hashlib.sha256(data).hexdigest()

    def _gone(self, name: str) -> bool:
        return not (self._folder / name).exists()

    def _complain(self, lines) -> None:
        self.wrong += lines


def is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp") and name.count("~") == 3


def main(folder: str) -> None:
    watcher = Watcher(Path(folder), json.loads(sys.stdin.readline()))
    watcher.look()
    print("looking", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        watcher.look()
    watcher.look()
    print(json.dumps({"looks": watcher.looks, "reads": watcher.reads, "wrong": sorted(set(watcher.wrong))}))


if __name__ == "__main__":
    main(sys.argv[1])
