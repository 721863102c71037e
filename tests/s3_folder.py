"""A store that speaks S3 and counts: it serves a folder's files for reading, whole or by range, from this process.

    with S3Folder(folder) as store:  # a folder in it is a bucket
        ...                          # anything that reads s3:// at store.endpoint
        store.take()                 # the requests since the last call

It answers GET and HEAD of an object, with one range or none, GET of a bucket as ListObjectsV2 does, and HEAD of a
bucket. Not covered: writing, credentials (nothing is checked), several ranges, conditions. `s3.Store` has the rest, but
holds objects in memory and is too slow to measure a whole epoch with.
"""

import os
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

_LIST_KEYS = 1000  # S3's most keys of one answer


class Request(NamedTuple):
    """key: bucket/name. start, bytes: the part of the object that was sent; 0 bytes for a HEAD or an error."""

    method: str
    key: str
    status: int
    start: int
    bytes: int
    seconds: float  # time.monotonic() when it arrived


class S3Folder:
    """A running server. Leave its context to stop it.

    delay: seconds from each request to its answer, as a store far away has.
    """

    def __init__(self, folder: Path, delay: float = 0.0):
        self.folder, self.delay = folder, delay
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "S3Folder":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> list[Request]:
        """The requests since the last call, in the order of their arrival, answered or being answered."""
        with self._lock:
            taken, self._requests = self._requests, []
        return sorted(taken, key=lambda request: request.seconds)

    def note(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that hangs up is no fault here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: S3Folder

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing: `take` has the requests."""

    def _answer(self) -> None:
        arrived = time.monotonic()
        time.sleep(self.store.delay)
        url = urllib.parse.urlsplit(self.path)
        key = urllib.parse.unquote(url.path).strip("/")
        path = self.store.folder / key
        if ".." not in key.split("/") and path.is_file():
            self._send_object(path, key, arrived)
        elif "/" not in key and path.is_dir():
            listed = _listed(path, dict(urllib.parse.parse_qsl(url.query)))
            self._send(200, listed, key, arrived)
        else:
            self._send(404, _error("NoSuchKey" if "/" in key else "NoSuchBucket"), key, arrived)

    def _send(self, status: int, body: bytes, key: str, arrived: float) -> None:
        """Sends a small answer."""
        self.store.note(Request(self.command, key, status, 0, 0, arrived))
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _send_object(self, path: Path, key: str, arrived: float) -> None:
        """Sends an object or a range of it, without reading it into this process."""
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            part = _range(self.headers.get("Range"), info.st_size)
            if part is None:
                return self._send(416, _error("InvalidRange"), key, arrived)
            start, size = part
            sent = size if self.command == "GET" else 0
            status = 206 if "Range" in self.headers else 200
            self.store.note(Request(self.command, key, status, start, sent, arrived))
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{info.st_mtime_ns:x}-{info.st_size:x}"')
            self.send_header("Last-Modified", self.date_time_string(int(info.st_mtime)))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{start + size - 1}/{info.st_size}")
            self.end_headers()
            if sent:
                self.wfile.flush()
                self.connection.sendfile(file, start, sent)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and bytes of what a Range header asks for of `size` bytes; None if there is no such range."""
    if header is None:
        return 0, size
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return (start, end - start) if start < end else None


def _listed(bucket: Path, query: dict[str, str]) -> bytes:
    """ListObjectsV2's answer: the keys of a prefix after a key, so many at most."""
    prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
    most = min(_LIST_KEYS, int(query.get("max-keys", _LIST_KEYS)))
    keys = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
    keys = [key for key in keys if key.startswith(prefix) and key > after]
    more = len(keys) > most
    found = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{(bucket / key).stat().st_size}</Size></Contents>"
        for key in keys[:most]
    )
    token = f"<NextContinuationToken>{escape(keys[most - 1])}</NextContinuationToken>" if more else ""
    cut = f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(keys[:most])}</KeyCount>"
    return f"<ListBucketResult><Name>{bucket.name}</Name>{cut}{token}{found}</ListBucketResult>".encode()


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
