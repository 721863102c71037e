"""Has an engine make every shard of an order, and writes the manifest when all are there.

Completion is what lies in the folder, never an engine's word: every shard is looked at before it is made, so a build
that was stopped at any moment goes on with the same command. What a shard is stands in `work`, how several are made
at a time in `engine` and `cluster`, whose the folder is in `claim`; this module hands out units, decides what a
failure means, and ends the build.
"""

import errno
from collections import Counter, deque
from collections.abc import Iterable, Iterator

import pyarrow as pa

from ncagen.automaton.devices import backend
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
from ncagen.factory.engine import Engine, Lost, Made, Report, Threads, Unit
from ncagen.factory.work import Order, make
from ncagen.sources import selfcheck

POLL_SECONDS = 0.2

# Of one unit: failures of its own, machines that were lost with it, and units that failed for good before all end.
TRIES = 3
LOSSES = 30
FAILURES = 10

# What the user has to mend, so that trying again at once is of no use.
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


class ShardsFailed(NcagenError):
    """Shards that could not be made although all others could."""

    status = 1


def threads(order: Order, workers: int, report: Report, device: str = "cpu") -> Threads:
    """The engine of this process. Raises SelfCheckFailed where its device computes other rows than ncagen defines."""
    selfcheck.check(order.spec, backend(device))
    return Threads(lambda unit, report: make(order, *unit, report, device), workers, report)


def build(order: Order, engine: Engine) -> Manifest:
    """Makes the dataset, or what is missing of it, and returns its manifest.

    Raises NcagenError for a folder that cannot be used or a full disk, ShardsFailed where shards fail again and
    again, KeyboardInterrupt when the user stops it; after any of them the same call goes on where it ended.
    """
    claim(order)
    units = ((split, shard) for split in reversed(SPLITS) for shard in range(order.spec.shards(split)))
    try:
        with engine:
            made = [pair for _, pairs in run(engine, units) for pair in pairs]
        check(order)
        manifest = _finish(order, made)
        order.folder.sweep(strangers=True)
        return manifest
    except OSError as error:
        raise explain(order, error) from error
    finally:
        order.folder.sweep()


def run(engine: Engine, units: Iterable[Unit]) -> Iterator[tuple[Unit, Made]]:
    """What each unit came to, in the order of completion; a few at a time, so memory does not grow with the dataset.

    A unit that fails is tried again, TRIES times in all, one whose machine is lost LOSSES times; the others go on
    meanwhile. Raises ShardsFailed at the end, OSError and NcagenError at once.
    """
    waiting, again, at_work = iter(units), deque[Unit](), 0
    tries, losses, failed = Counter[Unit](), Counter[Unit](), dict[Unit, Exception]()
    while True:
        while at_work < max(1, 2 * engine.slots) and (unit := again.popleft() if again else next(waiting, None)):
            engine.start(unit)
            at_work += 1
        if not at_work:
            break
        for unit, outcome in engine.finished(POLL_SECONDS):
            at_work -= 1
            if not isinstance(outcome, Exception):
                yield unit, outcome
                continue
            (losses if isinstance(outcome, Lost) else tries)[unit] += 1
            if _is_hopeless(outcome):
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


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, NcagenError) or (isinstance(error, OSError) and error.errno in HOPELESS)


def _failed(failed: dict[Unit, Exception], state: str) -> ShardsFailed:
    (split, shard), error = next(iter(failed.items()))
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    reason = f": its machine was lost {LOSSES} times" if isinstance(error, Lost) else f" {TRIES} times: {reason}"
    more = f" and {len(failed) - 1} other shards" if len(failed) > 1 else ""
    it = "them" if more else "it"
    return ShardsFailed(
        f"shard {shard} of {split}{more} failed{reason}; {state}: run the same command to try {it} again"
    )


def _finish(order: Order, made: list[tuple[Record, File]]) -> Manifest:
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


def _holds(order: Order, name: str, text: bytes) -> bool:
    try:
        return order.folder.read(name, MOST_BYTES).to_pybytes() == text
    except FileNotFoundError:
        return False
