"""Runs the work for every shard, in threads of this process, and writes the manifest when all are there.

Completion is what lies on disk: every shard is looked at before it is made, so a build that was stopped at any
moment goes on with the same command. What a shard is stands in `work`; this module only claims the folder, hands
out shard numbers and cleans up. The kernels hold no interpreter lock, so threads are as fast as processes.
"""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ncagen.dataset import card
from ncagen.dataset.manifest import (
    BUILDING,
    MANIFEST,
    SPLITS,
    File,
    Manifest,
    ManifestError,
    differences,
    order_of,
    read_manifest,
    shard_keys,
    toolchain,
    write_manifest,
)
from ncagen.dataset.shard import RECORD_KEY, Record, is_stale, is_temporary, relative_path, write
from ncagen.errors import NcagenError
from ncagen.factory.work import Order, Report, make

POLL_SECONDS = 0.2


class Stopped(Exception):
    """The build was asked to stop; the folder can be resumed."""


def build(order: Order, workers: int, report: Callable[[int, int], None]) -> Manifest:
    """Makes the dataset, or what is missing of it, and returns its manifest.

    report(rows, candidates) is called from the workers' threads after each batch.
    Raises NcagenError for a folder that cannot be used or a full disk, KeyboardInterrupt when the user stops it;
    after either the same call goes on where it ended.
    """
    claim(order)
    units = ((split, shard) for split in reversed(SPLITS) for shard in range(order.spec.shards(split)))
    stop = threading.Event()

    def report_or_stop(rows: int, candidates: int) -> None:
        if stop.is_set():
            raise Stopped
        report(rows, candidates)

    made: list[tuple[Record, File]] = []
    try:
        with ThreadPoolExecutor(workers, "ncagen") as pool:
            try:
                pending: set[Future] = set()
                while pending or (pending := _submit(pool, units, 2 * workers, order, report_or_stop)):
                    done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                    pending |= _submit(pool, units, len(done), order, report_or_stop)
                    for future in done:
                        made += future.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        return _finish(order, made)
    except OSError as error:
        raise _explain(order, error) from error
    finally:
        _sweep(order.folder)


def _submit(pool: ThreadPoolExecutor, units: Iterator, count: int, order: Order, report: Report) -> set[Future]:
    """Hands out the next few shard numbers; a few at a time, so that memory does not grow with the dataset."""
    return {pool.submit(make, order, split, shard, report) for split, shard in islice(units, count)}


def check(order: Order) -> bool:
    """Whether the folder holds this very order, begun or finished; False if it is new.

    Raises NcagenError if it holds anything else or cannot be written. Writes nothing.
    """
    try:
        return _check(order)
    except OSError as error:
        raise _explain(order, error) from error


def _check(order: Order) -> bool:
    there = _order_there(order.folder)
    if there is not None and (changed := differences(there, order_of(order.spec, order.storage))):
        raise NcagenError(
            f"{order.folder} holds another dataset ({'; '.join(changed)}): use another --out or the same order"
        )
    if there is None:
        _refuse_foreign(order)
    existing = next(path for path in (order.folder, *order.folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise NcagenError(f"{existing} is a file: use another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise NcagenError(f"{existing} cannot be written (Permission denied): use another --out")
    return there is not None


def claim(order: Order) -> None:
    """Makes the folder ours, or goes on with it where it is. Raises NcagenError as `check` does."""
    if check(order):
        _sweep(order.folder)
        return
    text = json.dumps(order_of(order.spec, order.storage), indent=1) + "\n"
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
        write(order.folder / BUILDING, pa.py_buffer(text.encode()))
    except OSError as error:
        raise _explain(order, error) from error


def _order_there(folder: Path) -> dict | None:
    """The order that the folder was begun or finished with, None for a new one."""
    path = folder / BUILDING
    # Another process may end its build meanwhile: it writes the manifest first, so this looks for that last.
    try:
        if path.is_file() and isinstance(there := json.loads(path.read_bytes()), dict):
            return there
        begun = path.is_file()
    except FileNotFoundError:
        begun = False
    except ValueError:
        begun = True
    if begun:
        raise NcagenError(f"{path} is damaged: delete it and run the same build again")
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        raise NcagenError(f"{error}: delete it and run the same build again to have it written anew") from None
    return order_of(manifest.spec, manifest.storage) | {"toolchain": dict(manifest.toolchain)}


def _refuse_foreign(order: Order) -> None:
    """A folder without an order must be empty, or hold nothing but shards of this very spec."""
    ours = {relative_path(order.spec, order.storage, *key) for key in shard_keys(order.spec)}
    for path in sorted(order.folder.rglob("*")):
        name = path.relative_to(order.folder).as_posix()
        if path.is_dir() or is_temporary(path) or (name == card.CARD and _is_card(path, order)):
            continue
        if name not in ours or not _belongs(path, order):
            raise NcagenError(f"{order.folder} holds files that are not ours ({name}): use another --out")


def _is_card(path: Path, order: Order) -> bool:
    return order.spec.canonical().encode() in path.read_bytes()


def _belongs(path: Path, order: Order) -> bool:
    try:
        if order.storage == "parquet":
            schema = pq.read_schema(path)
        else:
            with pa.ipc.open_file(path) as reader:
                schema = reader.schema
        return json.loads(schema.metadata[RECORD_KEY])["spec_sha256"] == order.spec.sha256
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return False


def _finish(order: Order, made: list[tuple[Record, File]]) -> Manifest:
    """Writes the card and then the manifest, unless the very same are there."""
    by_key = {(record.split, record.band, record.shard): (record, file) for record, file in made}
    records = tuple(by_key[key][0] for key in shard_keys(order.spec))
    paths = (relative_path(order.spec, order.storage, *key) for key in shard_keys(order.spec))
    stored = dict(zip(paths, (by_key[key][1] for key in shard_keys(order.spec)), strict=True))
    manifest = Manifest(order.spec, records, order.storage, toolchain(), stored)
    for name, text in ((card.CARD, card.text(manifest)), (MANIFEST, manifest.to_json())):
        path = order.folder / name
        if path.is_file() and path.read_bytes() == text.encode():
            continue
        if name == MANIFEST:
            write_manifest(order.folder, manifest)
        else:
            write(path, pa.py_buffer(text.encode()))
    (order.folder / BUILDING).unlink(missing_ok=True)
    return manifest


def _sweep(folder: Path) -> None:
    """Removes temporary files whose writers are gone."""
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path) and is_stale(path):
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file, 0 for one that another process has just removed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _explain(order: Order, error: OSError) -> NcagenError:
    """One clear line for what the disk said."""
    spec = order.spec
    shard = spec.shard_rows("train", 0) * spec.row_bytes
    if error.errno == errno.EFBIG:
        return NcagenError(
            f"a shard of up to {shard / 1e6:.1f} MB is over the limit of a file's size here: raise it (ulimit -f)"
            " and run the same command to go on, or use another --out with fewer --rows-per-shard"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        rows = len(spec.bands) * sum(spec.rows(split) for split in SPLITS)
        missing = max(rows * spec.row_bytes - sum(map(_size, order.folder.rglob("*"))), shard)
        free = shutil.disk_usage(order.folder).free
        return NcagenError(
            f"no space left in {order.folder}: up to {missing / 1e6:.1f} MB more are needed,"
            f" {free / 1e6:.1f} MB are free; make room and run the same command to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NcagenError(f"{error.filename or order.folder} cannot be written ({error.strerror}): use another --out")
    return NcagenError(f"{error.filename or order.folder}: {error.strerror or error}")
