"""The journal of an export in progress, and the receipt that replaces it when the export is finished.

`exporting.jsonl` has one line for the export's settings, then one for each part that is synced to disk and one for each
finished file. Lines are only appended, so a kill leaves at most one incomplete line, which is dropped. `export.json` is
written last, atomically: if it exists, the export is complete.
"""

import hashlib
import json
import os
from pathlib import Path

from ncagen.dataset.atomic_write import sync_folder
from ncagen.dataset.manifest import differences
from ncagen.errors import NcagenError
from ncagen.export.files import Written

JOURNAL = "exporting.jsonl"
RECEIPT = "export.json"
BLOCK = 2**20


class Journal:
    """What of an export is in its folder.

    done: the finished files. complete: whether these are all of them. open() or begin() it before anything is added.
    """

    def __init__(self, folder: Path, identity: dict):
        """Looks at the folder and changes nothing. Raises NcagenError where it holds anything but this export."""
        self.folder, self.identity = folder, identity
        self.done: dict[str, Written] = {}
        self.parts: dict[str, tuple[int, int]] = {}
        self.complete = False
        self._size = 0
        try:
            if (folder / RECEIPT).is_file():
                self._read_receipt()
            elif (folder / JOURNAL).is_file():
                self._read_lines()
            else:
                self._refuse_foreign()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NcagenError(f"{folder} holds a damaged {RECEIPT} or {JOURNAL}: delete the folder") from None

    def begin(self) -> None:
        """Opens the journal for one process. Files that were finished but are not as they were, are forgotten."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / JOURNAL).open("ab")
        self._lock()
        self.done = {path: written for path, written in self.done.items() if self._settle(path, written)}
        if (self.folder / RECEIPT).is_file() or not self._size:
            self._file.truncate(0)
            self._add({"export": self.identity})
            for path, written in self.done.items():
                self._add({"file": path, **written._asdict()})
            (self.folder / RECEIPT).unlink(missing_ok=True)
        else:
            self._file.truncate(self._size)

    def part(self, path: str, parts: int, size: int) -> None:
        """Of this file so many parts, which are its first bytes, are on disk."""
        self._add({"open": path, "parts": parts, "bytes": size})

    def file(self, path: str, written: Written) -> None:
        """This file is whole, under its temporary name at least."""
        self._add({"file": path, **written._asdict()})
        place(temporary(self.folder / path), self.folder / path)
        self.done[path] = written

    def finish(self, rows: dict[str, int]) -> None:
        """Writes the receipt."""
        files = {path: written._asdict() for path, written in sorted(self.done.items())}
        text = json.dumps({"export": self.identity, "rows": rows, "files": files}, indent=1) + "\n"
        path = temporary(self.folder / RECEIPT)
        with path.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        place(path, self.folder / RECEIPT)
        self.close()
        self.remove_stale()

    def remove_stale(self) -> None:
        """Removes the journal of a finished export."""
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets another process go on."""
        self._file.close()

    def _add(self, line: dict) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        """Two processes that write one file would spoil it."""
        if os.name != "posix":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NcagenError(
                f"another ncagen is exporting to {self.folder}: wait for it, or use another --out"
            ) from None

    def _settle(self, path: str, written: Written) -> bool:
        """Whether a finished file is there, if only under its temporary name; then it gets its own."""
        final = self.folder / path
        waiting = temporary(final)
        if waiting.is_file() and waiting.stat().st_size == written.bytes and not final.exists():
            place(waiting, final)
        return final.is_file() and final.stat().st_size == written.bytes

    def _read_receipt(self) -> None:
        receipt = json.loads((self.folder / RECEIPT).read_bytes())
        self._refuse_other(receipt["export"])
        self.done = {path: Written(**written) for path, written in receipt["files"].items()}
        self.complete = all(self._there(path, written) for path, written in self.done.items())

    def _there(self, path: str, written: Written) -> bool:
        final = self.folder / path
        return final.is_file() and final.stat().st_size == written.bytes

    def _read_lines(self) -> None:
        with (self.folder / JOURNAL).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_line(json.loads(line))
                self._size += len(line)
        if not self._size:
            self._refuse_foreign()

    def _read_line(self, value: dict) -> None:
        if "export" in value:
            self._refuse_other(value["export"])
        elif "open" in value:
            self.parts[value["open"]] = value["parts"], value["bytes"]
        else:
            path = value.pop("file")
            self.done[path] = Written(**value)
            self.parts.pop(path, None)

    def _refuse_other(self, there: dict) -> None:
        if changed := differences(there, self.identity):
            raise NcagenError(f"{self.folder} holds another export ({'; '.join(changed)}): use another --out")

    def _refuse_foreign(self) -> None:
        if self.folder.is_dir() and (names := sorted({path.name for path in self.folder.iterdir()} - {JOURNAL})):
            raise NcagenError(f"{self.folder} holds unrelated files ({names[0]}): use another --out")


def temporary(path: Path) -> Path:
    """Where a file grows. The name is always the same, so that the next process finds it."""
    return path.with_name(f".{path.name}.part")


def place(there: Path, path: Path) -> None:
    """Gives a whole file its name, for good."""
    there.replace(path)
    sync_folder(path.parent)


def hash_of(file, size: int):
    """The sha256 of a file's first bytes, ready for more."""
    digest = hashlib.sha256()
    while size:
        block = file.read(min(size, BLOCK))
        digest.update(block)
        size -= len(block)
    return digest
