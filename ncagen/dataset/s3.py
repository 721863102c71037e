"""Stores in a bucket of S3, or of another service with the same protocol, through botocore.

Endpoint, region and credentials come from where AWS's tools take them, the environment and its files, and never from a
URL; without credentials requests are not signed, which is enough for a public bucket. Every error that a user can act
on is one line.

An object is sent with one PUT, so it is stored complete or not at all, and an interrupted PUT leaves nothing behind. It
is read with one GET, all of it or a range. Not covered: objects of more than 5 GB, which one PUT cannot send.
"""

import errno
import os
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from ncagen.dataset.atomic_write import is_temporary
from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import RangesIgnored, WritableStore, check_size, create_by_looking, exactly
from ncagen.errors import NcagenError
from ncagen.hints import needed_by

# A connection: no more than about a minute until a store that does not answer is given up.
TRIES = 4
CONNECT_SECONDS, SILENT_SECONDS = 5.0, 10.0

# More than any machine has workers; botocore logs a warning for each connection beyond.
CONNECTIONS = 512

# A part of a body that is in memory twice for a moment.
READ_BYTES = 2**20

# HTTP's status where there is such an object already, and where another is writing it at this moment.
CONDITION_FAILED = (412, 409)

# HTTP's status of a store that speaks S3 without conditional writes.
CONDITION_UNKNOWN = 501

S3_OPTIONS = ("endpoint_override", "region", "scheme")

# What an answer says of the credentials, by S3's code for it.
_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is not known there: check AWS_ACCESS_KEY_ID or AWS_PROFILE",
    "SignatureDoesNotMatch": "the secret key is not the access key's: check AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
    "ExpiredToken": "the session of these credentials has expired: renew it, or use others",
}


class S3Store(WritableStore):
    """A folder in a bucket.

    Raises FileNotFoundError; NcagenError for what the user has to change (missing bucket, wrong credentials); and
    OSError, with a `strerror`, for faults that may be temporary: ConnectionError if the store cannot be reached.
    """

    def __init__(self, url: str):
        super().__init__(url)
        place, _, query = url.removeprefix("s3://").partition("?")
        self._bucket, _, prefix = place.partition("/")
        if not self._bucket:
            raise NcagenError(f"{url} has no bucket: use s3://bucket/folder")
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._endpoint, self._region = self._options(dict(urllib.parse.parse_qsl(query)))

    def has(self, name: str) -> bool:
        """Asks for the first byte: unlike the answer to a HEAD, a refusal has a reason."""
        try:
            with self._errors("read", name):
                self._client.get_object(**self._key(name), Range="bytes=0-0")["Body"].read()
        except FileNotFoundError:
            return False
        except _NoSuchRange:  # of an empty object
            pass
        return True

    def read(self, name: str, max_bytes: int, checked: bool) -> pa.Buffer:
        with self._errors("read", name):
            return self._read(name, lambda size: check_size(size, max_bytes))

    def read_range(self, name: str, start: int, size: int) -> pa.Buffer:
        def check(sent: int) -> None:
            if sent > size:
                raise RangesIgnored(self.path(name))

        try:
            with self._errors("read", name):
                found = self._read(name, check, Range=f"bytes={start}-{start + size - 1}")
        except _NoSuchRange:
            raise OSError(errno.EIO, f"it ends before byte {start}") from None
        return exactly(found, size, self.path(name))

    def names(self) -> list[str]:
        """Keys that end with a slash stand for folders, and are left out."""
        if not self.listable:
            return []
        with self._errors("listed", ""):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            keys = [found["Key"].removeprefix(self._prefix) for page in pages for found in page.get("Contents", ())]
        return sorted(key for key in keys if not (key.endswith("/") or not key or is_temporary(PurePosixPath(key))))

    @cached_property
    def listable(self) -> bool:
        try:
            with self._errors("listed", ""):
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except _Denied:
            return False
        return True

    def write(self, name: str, data: pa.Buffer) -> None:
        with self._errors("written", name):
            self._client.put_object(**self._key(name), Body=pa.BufferReader(data))

    def create(self, name: str, data: pa.Buffer) -> bool:
        """Writes on the condition that there is no such object, which the store checks when all of it has arrived.

        False also where another writes it at this moment, and where it was written but the answer was lost.
        """
        with self._errors("written", name):
            try:
                self._client.put_object(**self._key(name), Body=pa.BufferReader(data), IfNoneMatch="*")
            except _exceptions().ClientError as error:
                if _status(error.response) in CONDITION_FAILED:
                    return False
                if _status(error.response) != CONDITION_UNKNOWN:
                    raise
                return create_by_looking(self, name, data)
        return True

    def remove(self, name: str) -> None:
        with self._errors("deleted", name):
            self._client.delete_object(**self._key(name))

    def remove_stale(self, other_hosts: bool) -> None:
        """There are no temporary objects."""

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _read(self, name: str, check: Callable[[int], None], **request: str) -> pa.Buffer:
        """Reads a body, and requests it again if it breaks off; botocore retries all errors before that.

        check: raises OSError for a number of bytes that is not to be read.
        """
        of = _exceptions()
        for tries_left in reversed(range(TRIES)):
            answer = self._client.get_object(**self._key(name), **request)
            try:
                with closing(answer["Body"]) as stream:
                    check(answer["ContentLength"])
                    return _body(stream, answer["ContentLength"])
            except (of.IncompleteReadError, of.ReadTimeoutError, of.ResponseStreamingError):
                if not tries_left:
                    raise
        raise ValueError("TRIES must be 1 or more")

    @property
    def _client(self) -> Any:
        """This process's: after a fork, a connection must not be shared with the parent."""
        named = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
        try:
            return _client(os.getpid(), self._endpoint, self._region, (TRIES, SILENT_SECONDS), tuple(named))
        except ValueError as error:  # an endpoint that is no URL
            raise NcagenError(f"{self.name} cannot be used: {one_line(error)}") from None

    @contextmanager
    def _errors(self, done: str, name: str) -> Iterator[None]:
        """Converts botocore's errors to OSError or NcagenError."""
        of = _exceptions()
        try:
            yield
        except of.ClientError as error:
            raise self._answered(done, name, error.response) from None
        except (of.ConnectionError, of.HTTPClientError, of.IncompleteReadError) as error:
            raise ConnectionError(errno.EIO, f"{self._host} cannot be reached ({_reason(error)})") from None
        except of.BotoCoreError as error:
            raise NcagenError(f"{self.name} cannot be used: {one_line(error)}") from None

    def _answered(self, done: str, name: str, response: dict) -> Exception:
        """The error for an answer that is one, by S3's code and the status of HTTP."""
        code, status = response["Error"].get("Code", ""), _status(response)
        if code == "NoSuchBucket":
            why = f"there is no bucket {self._bucket}: make it first or use another"
            return NcagenError(f"{self.name} cannot be used: {why}")
        if code in _CREDENTIALS:
            return NcagenError(f"{self.name} cannot be used: {_CREDENTIALS[code]}")
        if status == 404:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if status == 403:
            return self._denied(done, name)
        if status == 416:
            return _NoSuchRange()
        return OSError(
            errno.EIO, f"{self._host} returned: {one_line(Exception(response['Error'].get('Message') or code))}"
        )

    def _denied(self, done: str, name: str) -> Exception:
        """Who may not list is not told whether there is such an object: then there is none as far as one may know."""
        if done == "read" and not self.listable:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return _Denied(
            f"{self.path(name)} cannot be {done}: access denied: use credentials with access, or another URL"
        )

    @property
    def _host(self) -> str:
        return urllib.parse.urlsplit(self._client.meta.endpoint_url).netloc

    def _options(self, options: dict[str, str]) -> tuple[str | None, str | None]:
        """Endpoint and region from the URL, None for those that the environment decides."""
        if unknown := sorted(options.keys() - set(S3_OPTIONS)):
            raise NcagenError(
                f"{self.name} has an option {unknown[0]}, which is not known: use {', '.join(S3_OPTIONS)}"
            )
        endpoint, scheme = options.get("endpoint_override"), options.get("scheme", "https")
        if "scheme" in options and not endpoint:
            raise NcagenError(f"{self.name} has a scheme without an endpoint_override: use both, or AWS_ENDPOINT_URL")
        if endpoint and "://" not in endpoint:
            endpoint = f"{scheme}://{endpoint}"
        return endpoint, options.get("region")


class _NoSuchRange(Exception):
    """The object has fewer bytes than requested."""


class _Denied(NcagenError):
    """These credentials may not do that."""


@lru_cache(maxsize=16)
def _client(process: int, endpoint: str | None, region: str | None, retry: tuple, environment: tuple) -> Any:
    """A client, which takes a twentieth of a second to make: one for each process and what decides how it is made."""
    import botocore
    from botocore.config import Config
    from botocore.session import Session

    session, (tries, timeout) = Session(), retry
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=timeout,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        signature_version=None if session.get_credentials() else botocore.UNSIGNED,
        # Checksums beyond those of HTTPS and the manifest: not every store that speaks S3 takes them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.create_client(
        "s3", region_name=region or os.environ.get("AWS_REGION"), endpoint_url=endpoint, config=config
    )


def _status(response: dict) -> int:
    """HTTP's status of an answer."""
    return response["ResponseMetadata"]["HTTPStatusCode"]


def _exceptions() -> Any:
    """botocore's exceptions. Raises MissingPackage if it is not installed."""
    with needed_by("s3://"):
        from botocore import exceptions
    return exceptions


def _body(stream: Any, size: int) -> pa.Buffer:
    """All of a stream's bytes, in memory once."""
    data = pa.allocate_buffer(size)
    view, at = memoryview(data).cast("B"), 0
    while part := stream.read(READ_BYTES):
        view[at : at + len(part)] = part
        at += len(part)
    return data


def _reason(error: BaseException) -> str:
    """Why there is no connection: the system's message or else the library's."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        found = getattr(found, "kwargs", {}).get("error") or found.__cause__ or found.__context__
    return "no answer in time" if "Timeout" in type(error).__name__ else "the connection broke"
