"""What the tests share: compiled kernels, one small dataset in each format, and the command line run as a user does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


# For every process that a test starts.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

import ncagen  # noqa: E402
from ncagen.commands.console import COMPILING  # noqa: E402
from ncagen.dataset.folder import Folder  # noqa: E402
from ncagen.dataset.manifest import Manifest  # noqa: E402
from ncagen.errors import NcagenError  # noqa: E402
from ncagen.factory.make_shard import BuildJob  # noqa: E402
from ncagen.factory.scheduler import build, threads  # noqa: E402
from ncagen.spec import Spec, from_settings  # noqa: E402

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
    """The first lines of a program in which a package cannot be imported."""
    return f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def spec_of(**changes) -> Spec:
    """The spec of the small dataset, with some settings changed."""
    return from_settings(SETTINGS | changes)


def make(folder: Path, spec: Spec, storage: str = "parquet", workers: int = 2) -> Manifest:
    """Builds a dataset in this process."""
    order = BuildJob(spec, storage, Folder(folder))
    return build(order, threads(order, workers, lambda rows, candidates: None))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, by its name within the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """smoke("parquet") or smoke("arrow"): a finished dataset. Do not change it; copy it."""
    folders: dict[str, Path] = {}

    def folder(storage: str = "parquet") -> Path:
        if storage not in folders:
            folders[storage] = tmp_path_factory.mktemp("smoke") / storage
            make(folders[storage], spec_of(), storage)
        return folders[storage]

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
def high(smoke):
    """200 rows in 3 shards; each row is known by its candidate."""
    return ncagen.open(smoke(), band="high")


@pytest.fixture(scope="session")
def medium(smoke):
    """Another 200, in Arrow files."""
    return ncagen.open(smoke("arrow"), band="medium")
