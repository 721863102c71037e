"""A store that speaks S3 on this machine: moto's server in a process of its own, and a proxy that breaks connections.

`Store` starts it, makes buckets and users, and looks at objects past the code under test. What the server cannot say
is how AWS itself differs from it.
"""

import json
import os
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

import boto3

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}

# Moto asks nobody who he is for as many requests as this.
_ALWAYS = 10**9

_REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*((?:GET|HEAD|PUT|POST|DELETE) \S+) HTTP/1.1(?:\x1b\[[0-9;]*m)*" (\d+)')

_SERVER = """
import logging, sys
logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(message)s")
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


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


class Proxy:
    """A way to a store that passes bytes on until it is told otherwise.

    break_after(size, times) lets so many more bytes of the client's through, and then none: it closes the connections
    that bring more, so many of them. stall: keep what comes.
    """

    def __init__(self, port: int):
        self.stall = False
        self._lock = threading.Lock()
        self.break_after(0, 0)
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def break_after(self, size: int, times: int = 10**9) -> None:
        with self._lock:
            self._left, self.times = size, times

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
            threading.Thread(target=self._up, args=(client, store), daemon=True).start()
            threading.Thread(target=_copy, args=(store, client), daemon=True).start()

    def _up(self, client: socket.socket, store: socket.socket) -> None:
        try:
            while data := client.recv(2**16):
                while self.stall:
                    time.sleep(0.02)
                passing = self._passing(len(data))
                store.sendall(data[:passing])
                if passing < len(data):
                    break
        except OSError:
            pass
        _close(client, store)

    def _passing(self, size: int) -> int:
        """How many of these bytes get through."""
        with self._lock:
            if not self.times:
                return size
            passing = min(size, self._left)
            self._left -= passing
            self.times -= passing < size
            return passing


def _copy(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(2**16):
            to.sendall(data)
    except OSError:
        pass
    _close(source, to)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
