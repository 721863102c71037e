"""Into a Ray cluster and out of it: found or started, and reached within seconds.

`ray` is imported in this package alone, and only within functions. Nothing of this process's environment is sent to a
cluster: no `runtime_env`, and none that Ray would make of a `uv run`. What Ray says for itself is switched off, so
that a command prints its own lines only.
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
from contextlib import contextmanager, suppress
from typing import Any

from ncagen.errors import NcagenError

# What is there answers within a small part of each.
CONNECT_SECONDS = 5.0
KNOCK_SECONDS = 15.0
LEAVE_SECONDS = 5.0

# Ray's own least is 75 MiB. Nothing is put into it.
OBJECT_STORE_BYTES = 80 * 2**20

HEAD = "gcs_server"  # a head's process

_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}

# Run by another process, since Ray's answer to a stranger is many lines, and to silence none.
# The time that it has begins when Ray is imported, which on a slow machine takes longer than any answer; at its end
# the process leaves without a word.
_KNOCK = """
import faulthandler, os, sys
from ray._raylet import GcsClient
faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True, file=open(os.devnull, "w"))
GcsClient(address=sys.argv[1])
"""


@contextmanager
def joined(where: str, workers: int | None) -> Iterator[str]:
    """A connection to the cluster at `where` ("auto", "local" or HOST:PORT), for as long as the context lasts.

    Yields how the cluster is named in a message. workers: of a local one. Raises NcagenError where there is no
    cluster, or one that cannot be used from here.
    """
    if "://" in where:
        raise NcagenError(
            f"--ray {where} is Ray Client's address, which is not for work: use HOST:PORT of the head (its port is 6379"
            " unless it was given another) on a node of the cluster, or submit the command with ray job submit"
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
    """Ray on this machine alone: its servers listen on the loopback device, and to who has this run's token."""
    folder = tempfile.mkdtemp(prefix="ncagen-ray-", dir="/tmp" if os.name == "posix" else None)  # sockets' paths: short
    # Ray binds to the loopback device where it thinks that it cannot be one of several nodes, and only there.
    alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # By itself it lets its workers yield to everything else, so that one other busy program nearly stops a build.
    alone |= {"RAY_worker_niceness": "0"}
    os.environ.update(alone | {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")})
    options = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        with _initialized(address="local", _temp_dir=folder, **options):
            yield "local"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _remote(where: str) -> Iterator[str]:
    address = _find() if where == "auto" else where
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise NcagenError(f"--ray {where} is not known: use auto, local, or HOST:PORT of a cluster's head")
    if not reachable(address):
        raise NcagenError(f"the Ray cluster at {address} cannot be reached: check the address, or use --ray local")
    _probe(address)
    with _initialized(address=address):
        yield address


def _probe(address: str) -> None:
    """Raises NcagenError where what listens is no head, or does not let us in."""
    _import()
    try:
        knock = [sys.executable, "-c", _KNOCK, address, str(KNOCK_SECONDS)]
        subprocess.run(knock, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        if not error.stderr:
            raise NcagenError(_not_a_head(address)) from None
        raise NcagenError(_why_not(address, Exception(error.stderr.decode(errors="replace")))) from None


def _find() -> str:
    """The address of the cluster that this machine belongs to."""
    _import()
    from ray._private.services import canonicalize_bootstrap_address

    if "://" in (given := os.environ.get("RAY_ADDRESS", "")):
        raise NcagenError(f"RAY_ADDRESS is {given}: set it to HOST:PORT of the head, or use --ray HOST:PORT")
    try:
        address = canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError):  # the one for none, the other for a RAY_ADDRESS without a port
        address = None
    if address is None:
        raise NcagenError("--ray auto finds no Ray cluster on this machine: use --ray local, or HOST:PORT of a head")
    return address


def _import() -> Any:
    try:
        import ray
    except ImportError as error:
        if error.name != "ray":
            raise
        raise NcagenError("--ray needs ray: pip install 'ncagen[ray]'") from None
    return ray


@contextmanager
def _initialized(**options: Any) -> Iterator[None]:
    """Within it `ray` is connected, and signals, stdout and stderr are as they were.

    An error leaves the connection as it is, to end with the process, as soon as that can be: Ray waits for a head that
    is gone, and may abort the process where units are at work. A cluster ends what a process began that is gone.
    """
    ray = _import()
    # Reports of nodes and workers that died; what they mean for a build is said by the build.
    ray._private.worker._worker_logs_enabled = False
    folder = options.get("_temp_dir")
    try:
        try:
            with _own_signals():
                ray.init(log_to_driver=False, logging_level="CRITICAL", **options)
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise NcagenError(_why_not(options["address"], error)) from None
        yield
    except BaseException:
        _kill(folder)
        raise
    _kill(folder, but=HEAD)  # which Ray waits for; a node takes more than a second to end by itself
    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(LEAVE_SECONDS)


def _kill(folder: str | None, but: str = "") -> None:
    """Ends the processes of a local cluster in this folder: a node's helpers would outlive it by a minute."""
    if folder is None:
        return
    import psutil  # Ray brings its own

    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended
            if folder not in " ".join(child.cmdline()) or child.name() == but:
                continue
            for process in (child, *child.children(recursive=True)):
                with suppress(psutil.Error):
                    process.kill()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Puts back what hears a signal: Ray takes SIGTERM for itself."""
    mine = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if mine else {}
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _why_not(address: str, error: Exception) -> str:
    """One line for what Ray says of a cluster that it cannot connect to."""
    text = str(error)
    if text.startswith("Version mismatch"):
        ray, python, our_ray, our_python = (line.split()[-1] for line in text.splitlines() if line.startswith("    "))
        return (
            f"the Ray cluster at {address} runs Ray {ray} on Python {python}, and this process Ray {our_ray} on Python"
            f" {our_python}: use the same versions"
        )
    if "uthentication" in text or "UNAUTHENTICATED" in text:
        return f"the Ray cluster at {address} asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    if address == "local":
        return f"Ray cannot be started: {text.splitlines()[0] if text else type(error).__name__}"
    return _not_a_head(address)


def _not_a_head(address: str) -> str:
    return (
        f"what listens at {address} is not the head of a Ray cluster: use the address that ray start --head printed"
        " (its port is 6379 unless it was given another)"
    )
