"""Writes an export's files, part after part, so that memory use is constant and a kill costs at most one part.

A file is written under a temporary name and renamed when it is complete; after each part the journal records the
progress. Run the same command to resume: the result has the same bytes.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ncagen.errors import NcagenError
from ncagen.export.files import File, Written
from ncagen.export.formats import FORMATS
from ncagen.export.journal import Journal, hash_of, temporary
from ncagen.export.plan import Export

Report = Callable[[int], object]


def write(export: Export, out: Path, report: Report) -> tuple[dict[str, Written], bool]:
    """Writes the export, or what is missing of it: its files, and whether there was anything to do.

    report(rows) is called after each part, made now or found there. Raises NcagenError for a folder that cannot be
    used or a full disk; after that, and after an interrupt, the same call goes on where it ended.
    """
    try:
        return _write(export, out, report)
    except OSError as error:
        raise explain(out, error) from error


def _write(export: Export, out: Path, report: Report) -> tuple[dict[str, Written], bool]:
    check(export, out)
    journal = Journal(out, export.identity)
    if journal.complete:
        journal.remove_stale()
        return journal.done, False
    journal.begin()
    try:
        for file in FORMATS[export.to].files(export, journal.done):
            _write_file(journal, file, report)
        journal.finish({split: export.row_count(split) for split in export.splits})
    finally:
        journal.close()
    return journal.done, True


def check(export: Export, out: Path) -> None:
    """Raises NcagenError where the folder cannot hold an export."""
    source = export.folder.local
    if source and source.resolve() in (out.resolve(), *out.resolve().parents):
        raise NcagenError(f"{out} is inside the dataset's folder: use another --out")
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise NcagenError(f"{existing} is a file: use another --out")


def _write_file(journal: Journal, file: File, report: Report) -> None:
    path = journal.folder / file.path
    if file.path in journal.done:
        report(sum(part.rows for part in file.parts))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    parts, size = journal.parts.get(file.path, (0, 0))
    growing = temporary(path)
    if not growing.is_file() or growing.stat().st_size < size:
        parts, size = 0, 0
        growing.touch()
    with growing.open("r+b") as handle:
        handle.truncate(size)
        digest = hash_of(handle, size)
        for number, part in enumerate(file.parts):
            if number >= parts:
                data = part.data()
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
                digest.update(data)
                journal.part(file.path, number + 1, handle.tell())
            report(part.rows)
        written = Written(handle.tell(), digest.hexdigest())
    journal.file(file.path, written)


def explain(out: Path, error: OSError) -> NcagenError:
    """One clear line for what the disk said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(next(path for path in (out, *out.absolute().parents) if path.exists())).free
        return NcagenError(
            f"no space left in {out}: {free / 1e6:.1f} MB are free; make room and run the same command to resume"
        )
    if error.errno == errno.EFBIG:
        return NcagenError(
            f"a file in {out} exceeds the file size limit: raise it (ulimit -f) and run the same command to resume"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NcagenError(f"{error.filename or out} cannot be written ({error.strerror}): use another --out")
    return NcagenError(f"{error.filename or out}: {error.strerror or error}")
