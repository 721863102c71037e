"""Folders in a bucket, through pyarrow's client.

Endpoint, region and credentials come from where AWS's own tools take them, the environment and its files, and never
from a URL. Every answer that a user can do something about is one line.
"""

import errno
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import Objects, put
from ncagen.errors import NcagenError

# A connection: no more than about a minute until a store that does not answer is given up.
TRIES = 4
CONNECT_SECONDS, SILENT_SECONDS = 5.0, 10.0

# What pyarrow sends at once; more goes in parts of this size, which become an object together.
PART_BYTES = 10 * 2**20

S3_OPTIONS = ("endpoint_override", "region", "scheme")

_AWS = re.compile(r"AWS Error (\w+)(?: \(HTTP status \d+\))? during \w+ operation: (.*)", re.DOTALL)


class S3(Objects):
    """A place in a bucket.

    Raises FileNotFoundError, NcagenError for what the user has to mend (no such bucket, wrong credentials), and
    OSError, with a `strerror`, for what may pass: ConnectionError where the store cannot be reached.

    A look is a HEAD, which needs no permission to list, and says nothing but 403 and 404. What is behind these is
    asked with one listing, when the first of them comes.
    """

    def __init__(self, url: str):
        self._url, self._place = url, url.partition("?")[0].rstrip("/")
        place, _, query = url.removeprefix("s3://").partition("?")
        self._bucket = place.split("/", 1)[0]
        if not self._bucket:
            raise NcagenError(f"{url} names no bucket: use s3://bucket/folder")
        options = self._options(dict(urllib.parse.parse_qsl(query)))
        super().__init__(fs.S3FileSystem(**options), place)
        try:
            self._at_once = fs.S3FileSystem(**options, allow_delayed_open=True)
        except TypeError:  # a pyarrow before 20 always sends parts
            self._at_once = self._filesystem

    def has(self, name: str) -> bool:
        try:
            with self._format_error("read", name), self._filesystem.open_input_file(self._path(name)):
                return True
        except FileNotFoundError:
            return False

    def read(self, name: str, most: int) -> pa.Buffer:
        with self._format_error("read", name):
            return super().read(name, most)

    def write(self, name: str, data: pa.Buffer) -> None:
        """One PUT for less than PART_BYTES."""
        with self._format_error("written", name):
            put(self._at_once if data.size < PART_BYTES else self._filesystem, self._path(name), data)

    def remove(self, name: str) -> None:
        with self._format_error("deleted", name):
            super().remove(name)

    @property
    def listable(self) -> bool:
        return self._unlisted is None or _code(self._unlisted) != "ACCESS_DENIED"

    def names(self) -> list[str]:
        with self._format_error("listed", ""):
            return super().names() if self.listable else []

    @contextmanager
    def _format_error(self, done: str, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if self._unlisted is not None and _code(self._unlisted) == "NO_SUCH_BUCKET":
                raise self._said(done, name, self._unlisted) from None
            raise
        except OSError as error:
            raise self._said(done, name, error) from None

    @cached_property
    def _unlisted(self) -> OSError | None:
        """What the store says against listing the place, if anything: unlike the answer to a HEAD, it has reasons."""
        try:
            self._filesystem.get_file_info(fs.FileSelector(self._root))
        except FileNotFoundError:
            return None
        except OSError as error:
            if _code(error) == "NETWORK_CONNECTION":  # to be asked again
                raise self._said("listed", "", error) from None
            return error
        return None

    def _said(self, done: str, name: str, error: OSError) -> Exception:
        """One line for an answer of the store; the error itself where it is no such answer."""
        code = _code(error)
        if code == "ACCESS_DENIED" and "No response body" in str(error) and self._unlisted is not None:
            if _code(self._unlisted) == code:
                return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # or it is: nobody may know
            return self._said(done, name, self._unlisted)
        if code == "ACCESS_DENIED":
            path = f"{self._url.partition('?')[0].rstrip('/')}/{name}"
            return NcagenError(f"{path} cannot be {done}: access denied: use credentials that may, or another place")
        if code == "NO_SUCH_BUCKET":
            why = f"there is no bucket {self._bucket}: make it first or use another"
        elif code == "INVALID_ACCESS_KEY_ID":
            why = "the access key is not known there: look at AWS_ACCESS_KEY_ID or AWS_PROFILE"
        elif code == "SIGNATURE_DOES_NOT_MATCH":
            why = "the secret key is not the access key's: look at AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
        elif code == "NETWORK_CONNECTION":
            return ConnectionError(errno.EIO, f"{self._endpoint or 'S3'} cannot be reached ({_details(error)})")
        else:
            return OSError(errno.EIO, f"{self._endpoint or 'S3'} says: {_details(error)}") if code else error
        return NcagenError(f"{self._url} cannot be used: {why}")

    def _options(self, options: dict[str, str]) -> dict:
        """What the client is made with. Asks AWS for the bucket's region where neither it nor an endpoint is given."""
        if unknown := sorted(options.keys() - set(S3_OPTIONS)):
            raise NcagenError(
                f"{self._url} has an option {unknown[0]}, which is not known: use {', '.join(S3_OPTIONS)}"
            )
        named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        scheme, _, endpoint = named.rpartition("://")
        if given := options.get("endpoint_override"):
            scheme, _, endpoint = given.rpartition("://")
        self._endpoint = endpoint
        region = options.get("region")
        if not region and endpoint:
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return {
            "region": region or self._region(),
            "scheme": options.get("scheme") or scheme or "https",
            "endpoint_override": endpoint or None,
            "connect_timeout": CONNECT_SECONDS,
            "request_timeout": SILENT_SECONDS,
            "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
        }

    def _region(self) -> str:
        try:
            return fs.resolve_s3_region(self._bucket)
        except OSError as error:
            if "not found" in str(error):
                raise NcagenError(
                    f"{self._url} cannot be used: there is no bucket {self._bucket}: make it first or use another"
                ) from None
            raise self._said("read", "", error) from None


def _code(error: OSError) -> str:
    found = _AWS.search(str(error))
    return found[1] if found else ""


def _details(error: OSError) -> str:
    """The words of an answer, without the number of the request."""
    found = _AWS.search(str(error))
    said = found[2] if found else str(error)
    said = said.rpartition("Details: ")[2].partition(" (Request ID")[0].strip()
    return one_line(OSError(said or (found[1] if found else "unknown")))
