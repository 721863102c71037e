"""What the tests share: compiled kernels, one small dataset in each format, and the command line run as a user does."""

import io
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


# For every process that a test starts.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

import ncagen  # noqa: E402
from ncagen.compile_notice import COMPILING  # noqa: E402
from ncagen.dataset.folder import Folder  # noqa: E402
from ncagen.dataset.manifest import Manifest  # noqa: E402
from ncagen.errors import NcagenError  # noqa: E402
from ncagen.factory.make_shard import BuildJob  # noqa: E402
from ncagen.factory.scheduler import build, threads  # noqa: E402
from ncagen.factory.settings import from_settings  # noqa: E402
from ncagen.spec import BuildSpec  # noqa: E402

# 200 rows in 3 shards and 20 in 1, for each of two bands. The flags and the settings are the same order.
SETTINGS = {"tokens": 200 * 1024, "validation": 20 * 1024, "bands": ["high", "medium"], "rows_per_shard": 70}
FLAGS = ["--tokens=204800", "--validation=20480", "--band=high", "--band=medium", "--rows-per-shard=70"]


class Run(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


NCAGEN = (sys.executable, "-m", "ncagen")


def run(*arguments: object, program: Sequence[str] = NCAGEN, **options) -> Run:
    """`python -m ncagen ARGUMENTS`, as a user types it."""
    command = [*program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    return Run(done.returncode, done.stdout, without_waiting(done.stderr))


def run_here(*arguments: object, cwd: Path | str = ".") -> Run:
    """What `run` gives, within this process: for commands that are refused, which are many and end at once.

    Without what cli.run does for signals and for a standard output that cannot be written.
    """
    from ncagen import cli

    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            status = cli._run([*map(str, arguments)])
        except Exception as error:
            status = cli._format_error(error)
    return Run(status, out.getvalue(), without_waiting(err.getvalue()))


# Root may read and write everything, so it becomes another user, who often can read neither the interpreter nor the
# package: whatever is needed is imported before.
NOBODY = 65534
AS_NOBODY = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"


def as_owner(folder: Path, call: Callable[[], object]) -> None:
    """Calls a function in a forked process of a user who is not root, and owns the folder."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        for above in folder.parents:
            above.chmod(above.stat().st_mode | 0o011)
    process = os.fork()
    if not process:
        status = 1
        try:
            if os.geteuid() == 0:
                exec(AS_NOBODY, {"os": os})
            call()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def error_of(call, *arguments, **options) -> str:
    """The line of the NcagenError that a call raises."""
    with pytest.raises(NcagenError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def hear_interrupts() -> None:
    """Undoes what a shell does to the commands that it runs in the background, this test run among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def without_waiting(err: str) -> str:
    """What a command says on stderr but for the line that it waits, which depends on the machine's speed alone."""
    return err.replace(COMPILING + "\n", "")


def without(missing: str) -> str:
    """The first lines of a program in which a package cannot be imported; without numba, no library is used either."""
    switch = 'os.environ["NCAGEN_KERNELS"] = "compile"' if missing in ("numba", "llvmlite") else ""
    return f"""
import os, sys
{switch}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def spec_of(**changes) -> BuildSpec:
    """The spec of the small dataset, with some settings changed."""
    return from_settings(SETTINGS | changes)


def make(folder: Path, spec: BuildSpec, file_format: str = "parquet", workers: int = 2) -> Manifest:
    """Builds a dataset in this process."""
    order = BuildJob(spec, file_format, Folder(folder))
    return build(order, threads(order, workers))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, by its name within the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """smoke("parquet") or smoke("arrow"): a finished dataset. Do not change it; copy it."""
    folders: dict[str, Path] = {}

    def folder(file_format: str = "parquet") -> Path:
        if file_format not in folders:
            folders[file_format] = tmp_path_factory.mktemp("smoke") / file_format
            make(folders[file_format], spec_of(), file_format)
        return folders[file_format]

    return folder


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 400 KB; the small dataset takes 750."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mount is not permitted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="session")
def head():
    """The head of a Ray cluster, which makes nothing. Each test adds its own nodes, and leaves none."""
    from ray_cluster import RayCluster  # tests without Ray do not need it

    with RayCluster() as cluster:
        yield cluster
        assert cluster.nodes == []


@pytest.fixture(scope="session")
def high(smoke):
    """200 rows in 3 shards; each row is known by its candidate."""
    return ncagen.open(smoke(), band="high")


@pytest.fixture(scope="session")
def medium(smoke):
    """Another 200, in Arrow files."""
    return ncagen.open(smoke("arrow"), band="medium")
