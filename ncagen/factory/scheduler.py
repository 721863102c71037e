"""Has an executor make every shard of an order, and writes the manifest when all are there.

Completion is what lies in the folder, never an executor's word: every shard is looked at before it is made, so a build
that was stopped at any moment goes on with the same command. What a shard is stands in `work`, how several are made
at a time in `executor` and `cluster`, whose the folder is in `claim`; this module hands out units, decides what a
failure means, and ends the build.
"""

import errno
from collections import Counter, deque
from collections.abc import Iterable, Iterator

import pyarrow as pa

from ncagen.dataset import card
from ncagen.dataset.manifest import (
    BUILDING,
    MANIFEST,
    MOST_BYTES,
    SPLITS,
    File,
    Manifest,
    shard_keys,
    toolchain,
)
from ncagen.dataset.shard import Record
from ncagen.errors import NcagenError
from ncagen.factory.claim import check, claim, explain
from ncagen.factory.executor import Executor, NodeLost, Report, ShardResult, ShardTask, ThreadExecutor
from ncagen.factory.make_shard import BuildJob, make
from ncagen.sources.nca import selfcheck
from ncagen.sources.nca.devices import backend

POLL_SECONDS = 0.2

# Of one unit: failures of its own, machines that were lost with it, and units that failed for good before all end.
TRIES = 3
LOSSES = 30
FAILURES = 10

# What the user has to mend, so that trying again at once is of no use.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


class ShardsFailed(NcagenError):
    """Shards that could not be made although all others could."""

    status = 1


def threads(order: BuildJob, workers: int, report: Report, device: str = "cpu") -> ThreadExecutor:
    """The executor of this process. Raises SelfCheckFailed where its device computes other rows than ncagen defines."""
    selfcheck.check(order.spec, backend(device))
    return ThreadExecutor(lambda unit, report: make(order, *unit, report, device), workers, report)


def build(order: BuildJob, executor: Executor) -> Manifest:
    """Makes the dataset, or what is missing of it, and returns its manifest.

    Raises NcagenError for a folder that cannot be used or a full disk, ShardsFailed where shards fail again and
    again, KeyboardInterrupt when the user stops it; after any of them the same call goes on where it ended.
    """
    claim(order)
    units = ((split, shard) for split in reversed(SPLITS) for shard in range(order.spec.shards(split)))
    try:
        with executor:
            made = [pair for _, pairs in run(executor, units) for pair in pairs]
        check(order)
        manifest = _finish(order, made)
        order.folder.remove_stale(other_hosts=True)
        return manifest
    except OSError as error:
        raise explain(order, error) from error
    finally:
        order.folder.remove_stale()


def run(executor: Executor, units: Iterable[ShardTask]) -> Iterator[tuple[ShardTask, ShardResult]]:
    """What each unit came to, in the order of completion; a few at a time, so memory does not grow with the dataset.

    A unit that fails is tried again, TRIES times in all, one whose machine is lost LOSSES times; the others go on
    meanwhile. Raises ShardsFailed at the end, OSError and NcagenError at once.
    """
    waiting, again, at_work = iter(units), deque[ShardTask](), 0
    tries, losses, failed = Counter[ShardTask](), Counter[ShardTask](), dict[ShardTask, Exception]()
    while True:
        while at_work < max(1, 2 * executor.slots) and (unit := again.popleft() if again else next(waiting, None)):
            executor.start(unit)
            at_work += 1
        if not at_work:
            break
        for unit, outcome in executor.finished(POLL_SECONDS):
            at_work -= 1
            if not isinstance(outcome, Exception):
                yield unit, outcome
                continue
            (losses if isinstance(outcome, NodeLost) else tries)[unit] += 1
            if _is_fatal(outcome):
                raise outcome
            if tries[unit] < TRIES and losses[unit] < LOSSES:
                again.append(unit)
            elif isinstance(outcome, OSError):
                raise outcome
            else:
                failed[unit] = outcome
                if len(failed) == FAILURES:
                    raise _failed(failed, "the build ends here") from outcome
    if failed:
        raise _failed(failed, "the others are made") from next(iter(failed.values()))


def _is_fatal(error: Exception) -> bool:
    return isinstance(error, NcagenError) or (isinstance(error, OSError) and error.errno in FATAL)


def _failed(failed: dict[ShardTask, Exception], state: str) -> ShardsFailed:
    (split, shard), error = next(iter(failed.items()))
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    reason = f": its machine was lost {LOSSES} times" if isinstance(error, NodeLost) else f" {TRIES} times: {reason}"
    more = f" and {len(failed) - 1} other shards" if len(failed) > 1 else ""
    it = "them" if more else "it"
    return ShardsFailed(
        f"shard {shard} of {split}{more} failed{reason}; {state}: run the same command to try {it} again"
    )


def _finish(order: BuildJob, made: list[tuple[Record, File]]) -> Manifest:
    """Writes the card and then the manifest, unless the very same are there."""
    by_key = {(record.split, record.band, record.shard): (record, file) for record, file in made}
    pairs = [by_key[key] for key in shard_keys(order.spec)]
    records = tuple(record for record, _ in pairs)
    files = {order.name(record.split, record.band, record.shard): file for record, file in pairs}
    manifest = Manifest(order.spec, records, order.storage, toolchain(), files)
    for name, text in ((card.CARD, card.text(manifest)), (MANIFEST, manifest.to_json())):
        if not _holds(order, name, text.encode()):
            order.folder.write(name, pa.py_buffer(text.encode()))
    order.folder.remove(BUILDING)
    return manifest


def _holds(order: BuildJob, name: str, text: bytes) -> bool:
    try:
        return order.folder.read(name, MOST_BYTES).to_pybytes() == text
    except FileNotFoundError:
        return False
