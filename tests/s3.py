"""A store that speaks S3 on this machine: moto's server in a process of its own, and a proxy that breaks connections.

`Store` starts it, makes buckets and users, and looks at objects past the code under test. What the server cannot say
is how AWS itself differs from it.
"""

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pytest
import s3fs

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}

# Moto asks nobody who he is for as many requests as this.
_ALWAYS = 10**9

_REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP/1.1(?:\x1b\[[0-9;]*m)*" (\d+)')

_NOT_IMPLEMENTED = (
    b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 47\r\nConnection: close\r\n\r\n"
    b"<Error><Code>NotImplemented</Code></Error>     "
)

_SERVER = """
import logging, sys
logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(message)s")
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


MB = 2**20

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and limits as POSIX has them")


class Store:
    """A running server. Leave its context to stop it."""

    def __init__(self, folder: Path):
        self._log = folder / "requests.log"
        self._log.touch()
        environment = environment_of(INITIAL_NO_AUTH_ACTION_COUNT=str(_ALWAYS))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self._log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = next(line for line in self._process.stdout if line.strip().isdigit())
        self.port = int(line)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.client = self._client("s3")

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")

    def _client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def environment(self, endpoint: str | None = None, **more: str) -> dict[str, str]:
        """For a process that is to use this store, and nothing of this machine's own settings for another."""
        return environment_of(**{"AWS_ENDPOINT_URL": endpoint or self.endpoint, **KEYS, **more})

    def user(self, actions: Sequence[str]) -> dict[str, str]:
        """The keys of a new user who may do these things, as environment variables."""
        iam, name = self._client("iam"), f"user-{uuid.uuid4().hex[:12]}"
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def guard(self, on: bool) -> None:
        """Whether it asks who one is and what one may."""
        count = b"0" if on else str(_ALWAYS).encode()
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", count, headers, method="POST")
        urllib.request.urlopen(request).read()

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Every object below a prefix, by the rest of its name; the empty ones that stand for folders left out."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        names = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {name[len(prefix) :]: self.get(bucket, name) for name in names if not name.endswith("/")}

    def get(self, bucket: str, name: str) -> bytes:
        return self.client.get_object(Bucket=bucket, Key=name)["Body"].read()

    def put(self, bucket: str, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=name, Body=data)

    def requests(self) -> list[str]:
        """What was asked since the last call, such as "PUT /bucket/name 200"; ids of uploads left out."""
        text = self._log.read_text()
        os.truncate(self._log, 0)
        return [f"{re.sub('&?uploadId=[^&]*', '', asked)} {status}" for asked, status in _REQUEST.findall(text)]


def environment_of(**more: str) -> dict[str, str]:
    """This process' environment with nothing about AWS but what is given, and no files of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", **more}


def use(environment: dict[str, str], monkeypatch) -> None:
    """Makes this process use a store, with nothing about AWS but what is given."""
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps clients of earlier stores, whose addresses are not in its key
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def parts(url: str) -> tuple[str, str]:
    """Bucket and prefix."""
    return urlsplit(url).netloc, urlsplit(url).path.strip("/") + "/"


def buffer(size: int, seed: int = 0) -> pa.Buffer:
    """Random bytes that the seed decides."""
    return pa.py_buffer(random.Random(seed).randbytes(size))


def upload(store: Store, url: str, folder: Path) -> None:
    """Puts a folder's files there, past the code under test."""
    bucket, prefix = parts(url)
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(bucket, prefix + path.relative_to(folder).as_posix(), path.read_bytes())


class Proxy:
    """A way to a store that passes bytes on until it is told otherwise.

    break_after(size, times) lets so many more bytes of the client's through, and then none: it closes the connections
    that bring more, so many of them. break_answers_after does so with the store's bytes. stall: keep what comes.
    no_conditions: answer 501 to a PUT on a condition, as stores do that do not know them. no_ranges: hide requests for
    ranges, so that all of an object is sent. answered: bytes that the store sent, heads of answers included.
    """

    def __init__(self, port: int):
        self.stall = self.no_conditions = self.no_ranges = False
        self._sent, self._answered = Allowance(), Allowance()
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def break_after(self, size: int, times: int = 10**9) -> None:
        self._sent.set(size, times)

    def break_answers_after(self, size: int, times: int = 10**9) -> None:
        self._answered.set(size, times)

    @property
    def answered(self) -> int:
        return self._answered.taken

    @property
    def times(self) -> int:
        """How many more connections break in what the client sends."""
        return self._sent.times

    def refuse(self) -> None:
        """Takes no more connections, for good."""
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            store = socket.create_connection(("127.0.0.1", self._to))
            for ends in ((client, store, self._sent), (store, client, self._answered)):
                threading.Thread(target=self._copy, args=ends, daemon=True).start()

    def _copy(self, source: socket.socket, to: socket.socket, allowance: "Allowance") -> None:
        try:
            while data := source.recv(2**16):
                while self.stall and allowance is self._sent:
                    time.sleep(0.02)
                if self.no_conditions and b"If-None-Match" in data:
                    source.sendall(_NOT_IMPLEMENTED)
                    break
                if self.no_ranges:
                    data = data.replace(b"\r\nRange: ", b"\r\nOther: ")
                passing = allowance.take(len(data))
                to.sendall(data[:passing])
                if passing < len(data):
                    break
        except OSError:
            pass
        _close(source, to)


class Allowance:
    """How many bytes may pass before a connection breaks, and how many connections may break. taken: bytes so far."""

    def __init__(self):
        self._lock, self.taken = threading.Lock(), 0
        self.set(0, 0)

    def set(self, size: int, times: int) -> None:
        with self._lock:
            self._left, self.times = size, times

    def take(self, size: int) -> int:
        """How many of these bytes get through."""
        with self._lock:
            self.taken += size
            if not self.times:
                return size
            passing = min(size, self._left)
            self._left -= passing
            self.times -= passing < size
            return passing


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
