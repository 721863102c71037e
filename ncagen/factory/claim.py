"""Claims a folder for one build: checks which build it was started with, and whether this job may resume it.

`building.json` claims a folder. Two builds that begin in the same moment cannot both have written it; the second is
told, or resumes the first one's if it is its own.
"""

import errno
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset import card
from ncagen.dataset.folder import Folder
from ncagen.dataset.index import INDEX, index_head, shard_count, shard_keys
from ncagen.dataset.manifest import (
    BUILDING,
    MANIFEST,
    MOST_FILES,
    SPLITS,
    ManifestError,
    build_of,
    differences,
    read_manifest,
    without_duplicates,
)
from ncagen.dataset.shard import RECORD_KEY, relative_path
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import BuildJob, max_bytes
from ncagen.factory.settings import check_bands
from ncagen.spec import BuildSpec

# Of building.json and of a card.
SMALL_BYTES = 2**20


def check(job: BuildJob) -> bool:
    """Returns whether the folder holds this job, started or finished; False if it is new.

    Raises NcagenError if it holds anything else or cannot be written, and for a band that the spec's source cannot
    have. Writes nothing.
    """
    check_bands(job.spec)
    try:
        return _check(job)
    except OSError as error:
        raise explain(job, error) from error


def check_size(spec: BuildSpec) -> None:
    """Refuses more files than a manifest may list, before the work and not when it cannot be read."""
    files = shard_count(spec)
    if files > MOST_FILES:
        least = -(-spec.rows_per_shard * files // MOST_FILES)
        raise NcagenError(
            f"{files:,} files are more than the {MOST_FILES:,} that a manifest may list:"
            f" use --rows-per-shard {least} or more, or several datasets"
        )


def claim(job: BuildJob) -> None:
    """Claims the folder for this job, or finds it claimed already. Raises NcagenError as `check` does."""
    text = json.dumps(build_of(job.spec, job.file_format), indent=1) + "\n"
    try:
        while not _check(job):
            if job.folder.create(BUILDING, pa.py_buffer(text.encode())):
                if not job.folder.has(MANIFEST):
                    break
                job.folder.remove(BUILDING)  # another build ended between the check and the claim
        job.folder.remove_stale()
    except OSError as error:
        raise explain(job, error) from error


def nearest(folder: Path) -> Path:
    """The folder, or the last one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def explain(job: BuildJob, error: OSError) -> NcagenError:
    """Returns one clear line for an error of the disk or the store."""
    spec, place = job.spec, job.folder.local
    shard = max(spec.shard_rows(split, 0) for split in SPLITS) * job.row_format.row_bytes
    if error.errno == errno.EFBIG:
        return NcagenError(
            f"a shard of up to {shard / 1e6:.1f} MB exceeds the file size limit: raise it (ulimit -f)"
            " and run the same command to resume, or use another --out with fewer --rows-per-shard"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and place:
        rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
        missing = max(
            rows * job.row_format.row_bytes - sum(_size(job.folder, name) for name in job.folder.names()), shard
        )
        free = shutil.disk_usage(place).free
        return NcagenError(
            f"no space left in {job.folder}: up to {missing / 1e6:.1f} MB more are needed,"
            f" {free / 1e6:.1f} MB are free; make room and run the same command to resume"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NcagenError(f"{error.filename or job.folder} cannot be written ({error.strerror}): use another --out")
    where = job.folder if isinstance(error, ConnectionError) else error.filename or job.folder
    return NcagenError(f"{where}: {error.strerror or error}")


def _check(job: BuildJob) -> bool:
    check_size(job.spec)
    there = _build_there(job.folder)
    if there is not None and (changed := differences(there, build_of(job.spec, job.file_format))):
        raise NcagenError(
            f"{job.folder} holds another dataset ({'; '.join(changed)}): use another --out or the same spec"
        )
    if there is None:
        _refuse_foreign(job)
    if job.folder.local:
        existing = nearest(job.folder.local)
        if not existing.is_dir():
            raise NcagenError(f"{existing} is a file: use another --out")
        if not os.access(existing, os.W_OK | os.X_OK):
            read_only = os.name == "posix" and os.statvfs(existing).f_flag & os.ST_RDONLY
            reason = errno.EROFS if read_only else errno.EACCES
            raise OSError(reason, os.strerror(reason), str(existing))
    return there is not None


def _build_there(folder: Folder) -> dict | None:
    """The build that the folder was started or finished with, None for a new one."""
    # Another process may end its build meanwhile: it writes the manifest first, so this looks for that last.
    begun = _begun(folder)
    try:
        finished = _finished(folder)
    except ManifestError as error:
        if begun is None:
            raise NcagenError(f"{error}: delete it and run the same build again to have it written anew") from None
        return begun
    if begun and finished and (changed := differences(finished, begun)):
        raise NcagenError(
            f"{folder} holds a dataset and the started build of another ({'; '.join(changed)}): delete its {BUILDING}"
            " to keep the dataset, or use another --out"
        )
    return begun or finished


def _begun(folder: Folder) -> dict | None:
    """The build in building.json, if there is one."""
    try:
        there = json.loads(folder.read(BUILDING, SMALL_BYTES).to_pybytes(), object_pairs_hook=without_duplicates)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        there = None
    if not isinstance(there, dict):
        raise NcagenError(f"{folder.path(BUILDING)} is damaged: delete it and run the same build again")
    return there


def _finished(folder: Folder) -> dict | None:
    """The build in the manifest, if there is one. Raises ManifestError for a damaged one."""
    if not folder.has(MANIFEST):
        return None
    manifest = read_manifest(folder)
    return build_of(manifest.spec, manifest.file_format) | {"toolchain": dict(manifest.toolchain)}


def _refuse_foreign(job: BuildJob) -> None:
    """Raises NcagenError unless a folder without a build is empty, or holds only shards of this spec."""
    ours = {relative_path(job.spec, job.file_format, *key) for key in shard_keys(job.spec)}
    for name in job.folder.names():
        if name == BUILDING:  # written since it was looked for: the claim will meet it and say whose it is
            continue
        known = (name == card.CARD and _is_card(job)) or (name == INDEX and _is_index(job))
        if not known and not (name in ours and _belongs(job, name)):
            raise NcagenError(f"{job.folder} holds unrelated files ({name}): use another --out")


def _is_card(job: BuildJob) -> bool:
    return job.spec.canonical().encode() in job.folder.read(card.CARD, SMALL_BYTES).to_pybytes()


def _is_index(job: BuildJob) -> bool:
    head = index_head(job.spec)
    try:
        return job.folder.read_range(INDEX, 0, len(head)).to_pybytes() == head
    except OSError:
        return False


def _belongs(job: BuildJob, name: str) -> bool:
    try:
        data = pa.BufferReader(job.folder.read(name, max_bytes(job)))
        if job.file_format == "parquet":
            schema = pq.read_schema(data)
        else:
            with pa.ipc.open_file(data) as reader:
                schema = reader.schema
        return json.loads(schema.metadata[RECORD_KEY])["spec_sha256"] == job.spec.sha256
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return False


def _size(folder: Folder, name: str) -> int:
    """Bytes of a local file, 0 for one that another process has just removed."""
    try:
        return (folder.local / name).stat().st_size if folder.local else 0
    except OSError:
        return 0
