"""Connects to a Ray cluster and disconnects from it, within seconds, whatever state the cluster is in.

`ray` is imported in this package alone, and only within functions. Nothing of this process's environment is sent to a
cluster: no `runtime_env`, and none that Ray would derive from `uv run`. Ray's own messages are switched off, so that a
command prints its own lines only. What is used of Ray's private interface is in `private_api`.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ncagen.errors import NcagenError
from ncagen.factory.ray import private_api
from ncagen.hints import needed_by

# A head that is there answers in a small part of each.
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 15.0
LEAVE_SECONDS = 5.0

# The least that Ray allows is 75 MiB. A build puts nothing into it.
OBJECT_STORE_BYTES = 80 * 2**20

_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


@contextmanager
def joined(where: str, workers: int | None) -> Iterator[str]:
    """A connection to the cluster at `where` ("auto", "local" or HOST:PORT), for as long as the context lasts.

    Yields how the cluster is named in a message. workers: of a local one. Raises NcagenError where there is no
    cluster, or one that cannot be used from here.
    """
    if "://" in where:
        raise NcagenError(
            f"--ray {where} is an address of Ray Client, which cannot run builds: use HOST:PORT of the head (its port"
            " is 6379 unless it was given another) on a node of the cluster, or submit the command with ray job submit"
        )
    os.environ.update(_ENVIRONMENT)
    with _local(workers) if where == "local" else _remote(where) as address:
        yield address


def reachable(address: str) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def _local(workers: int | None) -> Iterator[str]:
    """Ray on this machine alone: it listens on the loopback device only, and asks for this run's token."""
    # Not the system's temporary folder, which may be deep: the paths of Ray's sockets must be short.
    short = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.name == "posix" else None)
    folder = tempfile.mkdtemp(prefix="ncagen-ray-", dir=short)
    os.environ.update(private_api.LOCAL_ENVIRONMENT | {"RAY_AUTH_TOKEN": _token()})
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    options = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        with _initialized(folder, **private_api.local_options(folder), **options):
            yield "local"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _token() -> str:
    """The token of all local clusters of this process, since Ray reads it once in a process."""
    return secrets.token_hex(32)


@contextmanager
def _remote(where: str) -> Iterator[str]:
    address = _find() if where == "auto" else where
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise NcagenError(f"--ray {where} is not known: use auto, local, or HOST:PORT of a cluster's head")
    if not reachable(address):
        raise NcagenError(f"the Ray cluster at {address} cannot be reached: check the address, or use --ray local")
    _probe(address)
    with _initialized(None, address=address):
        yield address


def _probe(address: str) -> None:
    """Raises NcagenError where the server is no head, or refuses this process."""
    _import()
    try:
        command = [sys.executable, "-c", private_api.PROBE, address, str(PROBE_SECONDS)]
        subprocess.run(command, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        if not error.stderr:
            raise NcagenError(private_api.not_a_head(address)) from None
        raise NcagenError(private_api.why_not(address, error.stderr.decode(errors="replace"))) from None


def _find() -> str:
    """The address of the cluster that this machine belongs to."""
    _import()
    if "://" in (given := os.environ.get("RAY_ADDRESS", "")):
        raise NcagenError(f"RAY_ADDRESS is {given}: set it to HOST:PORT of the head, or use --ray HOST:PORT")
    address = private_api.find_head()
    if address is None:
        raise NcagenError("--ray auto finds no Ray cluster on this machine: use --ray local, or HOST:PORT of a head")
    return address


def _import() -> Any:
    with needed_by("--ray"):
        import ray
    return ray


@contextmanager
def _initialized(folder: str | None, **options: Any) -> Iterator[None]:
    """Within it `ray` is connected, and signals, stdout and stderr are as they were.

    folder: of a local Ray's files. An error leaves the connection as it is, so that the process ends as soon as it
    can: Ray waits for a head that is gone, and may abort the process while tasks run. A cluster stops the tasks of a
    process that has ended.
    """
    ray = _import()
    private_api.silence()
    try:
        try:
            with _own_signals():
                ray.init(log_to_driver=False, logging_level="CRITICAL", **options)
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise NcagenError(private_api.why_not(options["address"], reason)) from None
        yield
    except BaseException:
        if folder is not None:
            private_api.kill_local(folder)
        raise
    if folder is not None:
        private_api.kill_local(folder, but_head=True)  # a node takes more than a second to end by itself
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(LEAVE_SECONDS)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Restores the signal handlers: Ray replaces the one of SIGTERM."""
    mine = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if mine else {}
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
