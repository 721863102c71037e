"""Fetches a remote dataset's row groups by range: a shard's footer first, then the row groups that are wanted.

Neighbours that are wanted together are one request. Each range is compared with its hash: a footer with the manifest's,
a row group with its footer's. `RemoteShards.prefetch` fetches in background threads. Safe to use from several threads,
and after a fork. Not covered: files without a footer in the manifest, which `reader` reads whole.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue

import pyarrow as pa

from ncagen.dataset.cache import DiskCache
from ncagen.dataset.folder import Folder
from ncagen.dataset.lru import LruCache
from ncagen.dataset.manifest import Manifest
from ncagen.dataset.promise import Promise, tell_of_forks
from ncagen.dataset.shard import DamagedShard, Record
from ncagen.dataset.shard_file import ShardFile, Span, check_size

# Opened footers, of some ten thousand bytes each.
HELD_FOOTERS = 1024

# Requests in the background at the same time, in each process.
THREADS = 8


class RemoteShards:
    """The shards of a part of a dataset in a store that is not mapped. records: the part's. cache: on disk, if any."""

    def __init__(self, folder: Folder, manifest: Manifest, records: Sequence[Record], cache: DiskCache | None):
        self._folder, self._manifest, self._records, self._cache = folder, manifest, records, cache
        self._lock = threading.Lock()
        self._files: LruCache[int, ShardFile] = LruCache(HELD_FOOTERS)
        self._parts = OrderedDict[tuple[int, int], Promise[pa.Buffer]]()
        tell_of_forks(self)

    def has_footer(self, shard: int) -> bool:
        """Whether the manifest describes the shard's footer, so that it can be read by range."""
        return self._manifest.files[self._path(shard)].footer_bytes is not None

    def file(self, shard: int) -> ShardFile:
        """A shard, opened from its footer. Raises DamagedShard, OSError, RangesIgnored."""
        return self._files.get(shard, partial(self._open, shard))

    def prefetch(self, shard: int, groups: Sequence[int], most: int) -> None:
        """Begins to fetch row groups that are not being fetched. most: fetched ones that are kept until they are used.

        The read that needs a row group raises the error of a fetch that it waited for, and tries again after an earlier
        one.
        """
        with self._lock:
            mine = self._promise(shard, groups)
            done = [key for key, promise in self._parts.items() if promise.is_done]
            for key in done[: max(0, len(self._parts) - most)]:
                del self._parts[key]
        if mine:
            _workers.run(partial(self._fill, shard, mine))

    def parts(self, shard: int, groups: Sequence[int]) -> list[pa.Buffer]:
        """The bytes of row groups, waited for if they are being fetched, else fetched. Raises DamagedShard, OSError."""
        with self._lock:
            mine = self._promise(shard, groups)
            promises = [self._parts[shard, group] for group in groups]
        if mine:
            self._fill(shard, mine)
        try:
            return [promise.get() for promise in promises]
        finally:
            with self._lock:
                for group in groups:
                    self._parts.pop((shard, group), None)

    def _promise(self, shard: int, groups: Sequence[int]) -> dict[int, Promise[pa.Buffer]]:
        """Promises of the row groups that nobody fetches yet, by number. One that failed earlier is tried again."""
        held = {group: self._parts.get((shard, group)) for group in groups}
        mine = {group: Promise[pa.Buffer]() for group, made in held.items() if made is None or made.has_failed}
        self._parts.update({(shard, group): promise for group, promise in mine.items()})
        return mine

    def _fill(self, shard: int, promises: Mapping[int, Promise[pa.Buffer]]) -> None:
        """Fetches row groups, or lets their promises raise why not."""
        try:
            spans = self.file(shard).spans
            parts = self._fetch(shard, [spans[group] for group in promises], "a row group does not match its hash")
        except BaseException as error:
            for promise in promises.values():
                promise.fail(error)
            if not isinstance(error, Exception):
                raise
        else:
            for promise, part in zip(promises.values(), parts, strict=True):
                promise.keep(part)

    def _open(self, shard: int) -> ShardFile:
        record, manifest = self._records[shard], self._manifest
        file = manifest.files[self._path(shard)]
        check_size(file.bytes, manifest.row_format, record)
        if file.footer_bytes is None or file.footer_sha256 is None:  # fetched ahead; the reader reads it whole
            raise DamagedShard("its footer is not in the manifest")
        span = Span(file.bytes - file.footer_bytes, file.footer_bytes, file.footer_sha256)
        (footer,) = self._fetch(shard, [span], "its footer does not match its hash")
        fetch = partial(self.parts, shard)
        return ShardFile(footer, manifest.file_format, manifest.row_format, record, hash_checked=True, fetch=fetch)

    def _fetch(self, shard: int, spans: Sequence[Span], otherwise: str) -> Sequence[pa.Buffer]:
        """The bytes of spans of a shard, from the cache or the store. otherwise: the error for other bytes."""
        fetch = partial(self._request, shard, otherwise)
        return fetch(spans) if self._cache is None else self._cache.get(spans, fetch)

    def _request(self, shard: int, otherwise: str, spans: Sequence[Span]) -> list[pa.Buffer]:
        found = []
        for run in _runs(spans):
            start, size = run[0].start, sum(span.size for span in run)
            data = self._folder.read_range(self._path(shard), start, size)
            found += [data[span.start - start :][: span.size] for span in run]
        for span, part in zip(spans, found, strict=True):
            if hashlib.sha256(part).hexdigest() != span.sha256:
                raise DamagedShard(otherwise)
        return found

    def _path(self, shard: int) -> str:
        return self._manifest.path(self._records[shard])

    def after_fork(self) -> None:
        """Keeps what was fetched; threads that fetched the rest are gone, and the lock that they may have held."""
        held = [(key, promise.in_fork()) for key, promise in self._parts.items()]
        self._parts = OrderedDict((key, promise) for key, promise in held if promise is not None)
        self._lock = threading.Lock()


def _runs(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans that follow one another without a gap, together."""
    runs: list[list[Span]] = []
    for span in spans:
        if runs and runs[-1][-1].start + runs[-1][-1].size == span.start:
            runs[-1].append(span)
        else:
            runs.append([span])
    return runs


class _Workers:
    """Threads of this process that run jobs, which must not raise. They do not keep the interpreter from ending."""

    def __init__(self) -> None:
        self.after_fork()
        tell_of_forks(self)

    def after_fork(self) -> None:
        """Begins without threads and jobs."""
        self._lock, self._threads, self._jobs = threading.Lock(), 0, SimpleQueue[Callable[[], None]]()

    def run(self, job: Callable[[], None]) -> None:
        """Runs a job soon; at once where there can be no thread."""
        with self._lock:
            if self._threads < THREADS:
                try:
                    threading.Thread(target=self._work, name="ncagen-fetch", daemon=True).start()
                    self._threads += 1
                except RuntimeError:  # the interpreter is ending, or there are too many
                    pass
        if self._threads:
            self._jobs.put(job)
        else:
            job()

    def _work(self) -> None:
        while True:
            self._jobs.get()()


_workers = _Workers()
