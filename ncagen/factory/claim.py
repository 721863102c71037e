"""Whose a folder is: the order it was begun with, and whether another may go on with it. Makes no shard.

`building.json` claims a folder. Two builds that begin in the same moment cannot both have written it; the second is
told, or goes on with the first one's order if it is its own.
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
from ncagen.dataset.manifest import (
    BUILDING,
    MANIFEST,
    MOST_FILES,
    SPLITS,
    ManifestError,
    differences,
    order_of,
    read_manifest,
    shard_keys,
    without_duplicates,
)
from ncagen.dataset.shard import RECORD_KEY, relative_path
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import BuildJob, most_bytes
from ncagen.spec import Spec

# Of building.json and of a card.
SMALL_BYTES = 2**20


def check(order: BuildJob) -> bool:
    """Whether the folder holds this very order, begun or finished; False if it is new.

    Raises NcagenError if it holds anything else or cannot be written. Writes nothing.
    """
    try:
        return _check(order)
    except OSError as error:
        raise explain(order, error) from error


def check_size(spec: Spec) -> None:
    """Refuses more files than a manifest may list, before the work and not when it cannot be read."""
    files = len(spec.bands) * sum(spec.shards(split) for split in SPLITS)
    if files > MOST_FILES:
        least = -(-spec.rows_per_shard * files // MOST_FILES)
        raise NcagenError(
            f"{files:,} files are more than the {MOST_FILES:,} that a manifest may list:"
            f" use --rows-per-shard {least} or more, or several datasets"
        )


def claim(order: BuildJob) -> None:
    """Makes the folder ours, or goes on with it where it is. Raises NcagenError as `check` does."""
    text = json.dumps(order_of(order.spec, order.storage), indent=1) + "\n"
    try:
        while not _check(order):
            if order.folder.create(BUILDING, pa.py_buffer(text.encode())):
                if not order.folder.has(MANIFEST):
                    break
                order.folder.remove(BUILDING)  # another build ended between the look and the claim
        order.folder.remove_stale()
    except OSError as error:
        raise explain(order, error) from error


def nearest(folder: Path) -> Path:
    """The folder, or the last one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def explain(order: BuildJob, error: OSError) -> NcagenError:
    """One clear line for what the disk said."""
    spec, place = order.spec, order.folder.local
    shard = spec.shard_rows("train", 0) * spec.row_bytes
    if error.errno == errno.EFBIG:
        return NcagenError(
            f"a shard of up to {shard / 1e6:.1f} MB is over the limit of a file's size here: raise it (ulimit -f)"
            " and run the same command to go on, or use another --out with fewer --rows-per-shard"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and place:
        rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
        missing = max(rows * spec.row_bytes - sum(_size(order.folder, name) for name in order.folder.names()), shard)
        free = shutil.disk_usage(place).free
        return NcagenError(
            f"no space left in {order.folder}: up to {missing / 1e6:.1f} MB more are needed,"
            f" {free / 1e6:.1f} MB are free; make room and run the same command to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NcagenError(f"{error.filename or order.folder} cannot be written ({error.strerror}): use another --out")
    where = order.folder if isinstance(error, ConnectionError) else error.filename or order.folder
    return NcagenError(f"{where}: {error.strerror or error}")


def _check(order: BuildJob) -> bool:
    check_size(order.spec)
    there = _order_there(order.folder)
    if there is not None and (changed := differences(there, order_of(order.spec, order.storage))):
        raise NcagenError(
            f"{order.folder} holds another dataset ({'; '.join(changed)}): use another --out or the same order"
        )
    if there is None:
        _refuse_foreign(order)
    if order.folder.local:
        existing = nearest(order.folder.local)
        if not existing.is_dir():
            raise NcagenError(f"{existing} is a file: use another --out")
        if not os.access(existing, os.W_OK | os.X_OK):
            read_only = os.name == "posix" and os.statvfs(existing).f_flag & os.ST_RDONLY
            reason = errno.EROFS if read_only else errno.EACCES
            raise OSError(reason, os.strerror(reason), str(existing))
    return there is not None


def _order_there(folder: Folder) -> dict | None:
    """The order that the folder was begun or finished with, None for a new one."""
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
            f"{folder} holds a dataset and the begun order of another ({'; '.join(changed)}): delete its {BUILDING}"
            " to keep the dataset, or use another --out"
        )
    return begun or finished


def _begun(folder: Folder) -> dict | None:
    """The order in building.json, if there is one."""
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
    """The order in the manifest, if there is one. Raises ManifestError for a damaged one."""
    if not folder.has(MANIFEST):
        return None
    manifest = read_manifest(folder)
    return order_of(manifest.spec, manifest.storage) | {"toolchain": dict(manifest.toolchain)}


def _refuse_foreign(order: BuildJob) -> None:
    """A folder without an order must be empty, or hold nothing but shards of this very spec."""
    ours = {relative_path(order.spec, order.storage, *key) for key in shard_keys(order.spec)}
    for name in order.folder.names():
        if name == BUILDING:  # written since it was looked for: the claim will meet it and say whose it is
            continue
        if not (name in ours and _belongs(order, name)) and not (name == card.CARD and _is_card(order)):
            raise NcagenError(f"{order.folder} holds files that are not ours ({name}): use another --out")


def _is_card(order: BuildJob) -> bool:
    return order.spec.canonical().encode() in order.folder.read(card.CARD, SMALL_BYTES).to_pybytes()


def _belongs(order: BuildJob, name: str) -> bool:
    try:
        data = pa.BufferReader(order.folder.read(name, most_bytes(order)))
        if order.storage == "parquet":
            schema = pq.read_schema(data)
        else:
            with pa.ipc.open_file(data) as reader:
                schema = reader.schema
        return json.loads(schema.metadata[RECORD_KEY])["spec_sha256"] == order.spec.sha256
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return False


def _size(folder: Folder, name: str) -> int:
    """Bytes of a local file, 0 for one that another process has just removed."""
    try:
        return (folder.local / name).stat().st_size if folder.local else 0
    except OSError:
        return 0
