"""Everything that this package uses of Ray without Ray promising it: the one file to read when Ray changes.

Tested with Ray 2.60.0 (`RAY_TESTED`); pyproject.toml allows 2.60 and later, and ends before 3. Ray promises what its
reference documents: `ray.init`, `remote`, `get`, `wait`, `nodes`, `shutdown`, the runtime context, scheduling
strategies and `ray.exceptions`; the rest of `factory/ray` uses nothing else. What stands here, and what happens where
a later Ray has it no more:

    find_head               Ray's own search for a cluster       one line that asks for HOST:PORT
    PROBE                   `GcsClient`                          no probe: `ray.init` says it, but later
    silence                 a switch of the driver's messages    Ray's reports of lost nodes reach stdout
    why_not                 the wording of errors                one line that quotes Ray
    LOCAL_ENVIRONMENT       variables that are not documented    they are ignored
    local_options           `_temp_dir`                          `ray.init` refuses it: one line
    kill_local              names of processes, and their folder  helpers of a local Ray end a minute later

Not covered: a later Ray that keeps a name and changes what it does. `tests/test_ray_private_api.py` removes each name
in turn, and the tests of builds on a cluster notice a change of meaning.
"""

import os
from contextlib import suppress
from typing import Any

from ncagen.errors import NcagenError

RAY_TESTED = "2.60.0"

# A node that cannot be one of several listens on the loopback device only; Ray thinks so of Windows and macOS.
# Ray starts its workers with niceness 15, so that one other busy program nearly stops a build.
LOCAL_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}

# Run as `python -c PROBE HOST:PORT SECONDS`. It prints nothing and ends with status 0 where a head lets it in or where
# Ray has no GcsClient, with status 1 and Ray's message where it is refused, and with status 1 alone when the time is
# over. In a process of its own, because what Ray prints of a stranger is many lines, and it waits for a silent one
# without end. The time begins after the import, which on a slow machine takes longer than any answer.
PROBE = """
import faulthandler, os, sys
try:
    from ray._raylet import GcsClient
except ImportError:
    sys.exit()
faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True, file=open(os.devnull, "w"))
GcsClient(address=sys.argv[1])
"""

_HEAD = "gcs_server"  # the name of a head's process


def find_head() -> str | None:
    """HOST:PORT of the head of the cluster that this machine belongs to, None where there is none.

    RAY_ADDRESS decides where it is set. Raises NcagenError where this Ray does not tell.
    """
    try:
        from ray._private.services import canonicalize_bootstrap_address
    except ImportError:
        if address := os.environ.get("RAY_ADDRESS"):
            return address
        import ray

        raise NcagenError(
            f"--ray auto finds no cluster with Ray {ray.__version__} (Ray {RAY_TESTED} is tested): use --ray HOST:PORT"
        ) from None
    try:
        return canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError):  # the one for none, the other for a RAY_ADDRESS without a port
        return None


def silence() -> None:
    """Switches off what Ray prints about nodes and workers that died, which `log_to_driver` does not."""
    import ray

    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False


def local_options(folder: str) -> dict[str, Any]:
    """Options of `ray.init` that keep a local Ray's files in this folder. Sockets lie in it, so its path is short."""
    return {"address": "local", "_temp_dir": folder}


def kill_local(folder: str, but_head: bool = False) -> None:
    """Ends the processes of the local Ray whose files are in this folder: they would outlive it by a minute.

    but_head: leaves the head, for which `ray.shutdown` waits.
    """
    try:
        import psutil  # Ray brings its own
    except ImportError:
        return
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended
            if folder not in " ".join(child.cmdline()) or (but_head and child.name() == _HEAD):
                continue
            for process in (child, *child.children(recursive=True)):
                with suppress(psutil.Error):
                    process.kill()


def why_not(address: str, error: str) -> str:
    """One line for what Ray says about a cluster that it cannot connect to."""
    if error.startswith("Version mismatch"):
        return f"the Ray cluster at {address} {_mismatch(error)}: use the same versions"
    if "uthentication" in error or "UNAUTHENTICATED" in error:
        return f"the Ray cluster at {address} asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    if address == "local":
        return f"Ray cannot be started: {(error.splitlines() or ['no reason is given'])[0]}"
    return not_a_head(address)


def not_a_head(address: str) -> str:
    """One line for a server that is something else."""
    return (
        f"what listens at {address} is not the head of a Ray cluster: use the address that ray start --head printed"
        " (its port is 6379 unless it was given another)"
    )


def _mismatch(error: str) -> str:
    """The versions in Ray's four indented lines: `Ray: ...` and `Python: ...` of the cluster, then of this process."""
    found = [line.split()[-1] for line in error.splitlines() if line.startswith("    ") and line.split()]
    if len(found) != 4:
        return "runs another Ray or Python than this process"
    ray, python, our_ray, our_python = found
    return f"runs Ray {ray} on Python {python}, and this process Ray {our_ray} on Python {our_python}"
