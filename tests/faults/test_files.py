"""Files that are damaged, stale, foreign or another order's, and clocks that are off."""

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import FLAGS, ROOT, Run, contents, make, run, spec_of

from faults.oracle import assert_recovered, hashes, watched
from faults.processes import shards, struck, temporary
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import build_of, read_manifest
from ncagen.errors import NcagenError
from ncagen.factory.claim import claim
from ncagen.factory.events import RowsMade
from ncagen.factory.make_shard import BuildJob, intact
from ncagen.factory.scheduler import build, threads

SHARD = "data/high/train-00001-of-00003"
CLOCK = Path(__file__).with_name("clock.c")
DAY = 24 * 60 * 60


def harm(path: Path, at: int) -> None:
    """Flips one bit and keeps size and time, as a failing disk does."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def begun(folder: Path, order: dict) -> Path:
    """Makes a finished folder one that is being built from this order."""
    (folder / "manifest.json").unlink()
    (folder / "building.json").write_text(json.dumps(order, indent=1) + "\n")
    return folder


def refused(folder: Path, line: str, *arguments, **changes) -> None:
    """An order is not carried out, and nothing is touched."""
    before = hashes(folder)
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of(**changes), *arguments)
    assert str(caught.value) == line
    assert hashes(folder) == before


# --- damaged shards ---


def without_its_footer(data: bytes, file_format: str) -> bytes:
    """The rows' bytes alone: the end of a file holds its footer, the footer's size and a word of the format's."""
    word = 4 if file_format == "parquet" else 6
    (footer,) = struct.unpack("<i", data[-4 - word : -word])
    return data[: -4 - word - footer]


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "damage",
    ["deleted", "emptied", "a byte less", "a byte more", "half", "no footer", "zeros", "a data bit", "a footer bit"],
)
def test_a_damaged_shard_is_made_again(copied, smoke, file_format, damage):
    folder = copied(file_format)
    path = folder / f"{SHARD}.{file_format}"
    data = path.read_bytes()
    match damage:
        case "deleted":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case "a byte less":
            path.write_bytes(data[:-1])
        case "a byte more":
            path.write_bytes(data + b"\0")
        case "half":
            path.write_bytes(data[: len(data) // 2])
        case "no footer":
            path.write_bytes(without_its_footer(data, file_format))
        case "zeros":
            path.write_bytes(bytes(len(data)))
        case "a data bit":
            harm(path, 8 * (len(data) // 2))
        case "a footer bit":
            harm(path, 8 * (len(data) - 300))
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p != path}
    made = []
    order = BuildJob(spec_of(), file_format, Folder(folder))
    with watched(folder, smoke(file_format)):
        build(order, threads(order, 2), made.append)
    assert_recovered(folder, smoke(file_format))
    assert sum(event.rows for event in made if isinstance(event, RowsMade)) == 70
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_no_flipped_bit_passes_for_intact(copied, file_format):
    spec, folder = spec_of(), copied(file_format)
    order = BuildJob(spec, file_format, Folder(folder))
    path = folder / f"{SHARD}.{file_format}"
    assert intact(order, "train", spec.bands[0], 1) is not None
    bits = 8 * path.stat().st_size
    chance = random.Random(0)
    for at in [chance.randrange(bits) for _ in range(60)] + [bits - 1 - chance.randrange(8 * 3000) for _ in range(60)]:
        harm(path, at)
        assert intact(order, "train", spec.bands[0], 1) is None, at
        harm(path, at)


def test_a_shard_in_anothers_place_is_made_again(copied, smoke):
    folder = copied()
    shutil.copy(folder / "data/medium/train-00001-of-00003.parquet", folder / f"{SHARD}.parquet")
    shutil.copy(folder / "data/high/train-00000-of-00003.parquet", folder / "data/high/train-00002-of-00003.parquet")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_shard_of_the_other_format_is_made_again(copied, smoke):
    folder = copied()
    shutil.copy(smoke("arrow") / f"{SHARD}.arrow", folder / f"{SHARD}.parquet")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_shard_of_another_seed_is_made_again(copied, smoke, tmp_path):
    folder = copied()
    make(tmp_path / "other", spec_of(seed=1))
    shutil.copy(tmp_path / "other" / f"{SHARD}.parquet", folder / f"{SHARD}.parquet")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


# --- stale and foreign files ---


def test_temporary_files_of_dead_writers_are_swept(copied, smoke):
    folder = copied()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = ".train-00001-of-00003.parquet~{}~{}~0123abcd.tmp"
    stale = folder / "data/high" / name.format(socket.gethostname(), gone.pid)
    mine = folder / "data/high" / name.format(socket.gethostname(), os.getpid())
    alive = folder / "data/high" / name.format(socket.gethostname(), os.getppid())
    elsewhere = folder / "data/high" / name.format("another-host", gone.pid)
    for path in (stale, mine, alive, elsewhere):
        path.write_bytes(b"half a shard")
    order = BuildJob(spec_of(), "parquet", Folder(folder))
    claim(order)
    assert sorted(temporary(folder)) == sorted([alive, elsewhere])
    make(folder, order.spec)
    assert temporary(folder) == [alive]
    alive.unlink()
    assert_recovered(folder, smoke())


@pytest.mark.parametrize("name", ["notes.txt", "data/high/train-00001-of-00003.parquet", ".hidden", "data/x/y.tmp"])
def test_a_new_folder_with_foreign_files_is_refused(tmp_path, name):
    path = tmp_path / "a" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not ours")
    refused(tmp_path / "a", f"{tmp_path / 'a'} holds unrelated files ({name}): use another --out")


def test_foreign_files_in_a_begun_folder_are_let_be(copied, smoke):
    folder = begun(copied(), build_of(spec_of(), "parquet"))
    (folder / f"{SHARD}.parquet").unlink()
    names = ("notes.txt", "data/high/train-00001-of-00003.parquet.part", "data/high/train-00003-of-00003.parquet")
    for name in names:
        (folder / name).write_bytes(b"not ours")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert all((folder / name).read_bytes() == b"not ours" for name in names)
    verified = run("verify", folder)
    assert verified.status == 1 and all(name in verified.err for name in names)
    for name in names:
        (folder / name).unlink()
    assert_recovered(folder, smoke())


# --- the manifest and the begun order ---


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff", b'{"manifest_version": 9}'])
def test_a_damaged_manifest_is_named_and_written_anew_once_deleted(copied, smoke, text):
    folder = copied()
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value).startswith(f"{folder}/manifest.json ")
    assert str(caught.value).endswith(": delete it and run the same build again to have it written anew")
    (folder / "manifest.json").unlink()
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


ANEW = "delete it and run the same build again to have it written anew"


def test_half_a_manifest_is_named(copied, smoke):
    folder = copied()
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: text.index('"storage"')])
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value).startswith(f"{folder}/manifest.json is damaged: Expecting property name")
    assert str(caught.value).endswith(f": {ANEW}")
    (folder / "manifest.json").unlink()
    make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_manifest_with_two_values_for_a_name_is_named(copied, smoke):
    folder = copied()
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"seed": 0', '"seed": 1, "seed": 0'))
    refused(folder, f"{folder}/manifest.json is damaged: 'seed' is in it twice: {ANEW}")
    (folder / "manifest.json").unlink()
    make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_manifest_beside_the_begun_order_ends_the_build(copied, smoke):
    """A build was stopped after its last but one step."""
    folder = copied()
    (folder / "building.json").write_text(json.dumps(build_of(spec_of(), "parquet"), indent=1) + "\n")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_beside_the_begun_order_a_damaged_manifest_is_written_anew(copied, smoke):
    folder = copied()
    text = (folder / "manifest.json").read_text()
    begun(folder, build_of(spec_of(), "parquet"))
    (folder / "manifest.json").write_text(text[: len(text) // 2])
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_finished_dataset_beside_the_begun_order_of_another_is_kept(copied, smoke, seed):
    """A build was killed in the moment in which it saw that another one had ended before its claim."""
    folder = copied()
    (folder / "building.json").write_text(json.dumps(build_of(spec_of(seed=1), "parquet"), indent=1) + "\n")
    line = f"{folder} holds a dataset and the started build of another (seed: 0 -> 1): delete its building.json"
    refused(folder, f"{line} to keep the dataset, or use another --out", seed=seed)
    (folder / "building.json").unlink()
    make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_the_manifest_of_another_dataset_is_kept(copied, tmp_path):
    folder = copied()
    make(tmp_path / "other", spec_of(seed=1))
    shutil.copy(tmp_path / "other/manifest.json", folder)
    refused(folder, f"{folder} holds another dataset (seed: 1 -> 0): use another --out or the same spec")


def test_a_copied_manifest_is_a_foreign_file(copied, smoke):
    folder = copied()
    copy = folder / "manifest (copy).json"
    shutil.copy(folder / "manifest.json", copy)
    make(folder, spec_of())
    verified = run("verify", folder)
    assert verified.status == 1 and copy.name in verified.err
    (folder / "manifest.json").unlink()
    refused(folder, f"{folder} holds unrelated files ({copy.name}): use another --out")
    copy.unlink()
    make(folder, spec_of())
    assert_recovered(folder, smoke())


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'{"spec": {"seed": 0'])
def test_a_damaged_begun_order_is_named_and_needless(copied, smoke, text):
    folder = copied()
    (folder / "manifest.json").unlink()
    (folder / "building.json").write_bytes(text)
    refused(folder, f"{folder}/building.json is damaged: delete it and run the same build again")
    (folder / "building.json").unlink()
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_a_begun_order_with_two_values_for_a_name_is_named(copied):
    folder = begun(copied(), build_of(spec_of(), "parquet"))
    text = (folder / "building.json").read_text()
    (folder / "building.json").write_text(text.replace('"seed": 0', '"seed": 1, "seed": 0'))
    refused(folder, f"{folder}/building.json is damaged: delete it and run the same build again")


def test_a_damaged_card_is_written_anew(copied, smoke):
    folder = copied()
    (folder / "README.md").write_bytes(b"\xff")
    with watched(folder, smoke()):
        make(folder, spec_of())
    assert_recovered(folder, smoke())


# --- another order ---


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("changes", "file_format", "difference"),
    [
        ({"seed": 1}, "parquet", "seed: 0 -> 1"),
        ({"tokens": "1M"}, "parquet", "tokens: 204800 -> 1000000"),
        ({}, "arrow", "format: parquet -> arrow"),
        ({"rows_per_shard": 71, "warmup": 9}, "parquet", "rows_per_shard: 70 -> 71; warmup: 10 -> 9"),
    ],
)
def test_another_order_is_refused(copied, changes, file_format, difference, finished):
    folder = copied() if finished else begun(copied(), build_of(spec_of(), "parquet"))
    line = f"{folder} holds another dataset ({difference}): use another --out or the same spec"
    refused(folder, line, file_format, **changes)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("package", ["ncagen", "pyarrow"])
def test_a_folder_of_another_toolchain_is_refused(copied, package, finished):
    folder = copied()
    manifest = json.loads((folder / "manifest.json").read_text())
    now, manifest["storage"]["toolchain"][package] = manifest["storage"]["toolchain"][package], "0.0.1"
    if finished:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    else:
        begun(folder, build_of(spec_of(), "parquet") | {"toolchain": manifest["storage"]["toolchain"]})
    refused(folder, f"{folder} holds another dataset ({package}: 0.0.1 -> {now}): use another --out or the same spec")


def test_another_version_of_the_package_is_refused(smoke, tmp_path):
    """The newer one is a copy of the package, as an update between two runs would put it there."""
    folder, newer, command = tmp_path / "a", tmp_path / "newer", ["build", *FLAGS, "--quiet", "--out", tmp_path / "a"]
    shutil.copytree(ROOT / "ncagen", newer / "ncagen", ignore=shutil.ignore_patterns("__pycache__"))
    version = newer / "ncagen/version.py"
    now = read_manifest(smoke()).toolchain["ncagen"]
    version.write_text(version.read_text().replace(f'"{now}"', '"999.0"'))
    with watched(folder, smoke()):
        killed = run(*command, env=struck("rename", on=r"\.parquet$", at=3))
        assert killed.status == -signal.SIGKILL
        before = contents(folder)
        line = f"{folder} holds another dataset (ncagen: {now} -> 999.0): use another --out or the same spec"
        assert run(*command, cwd=newer, env={**os.environ, "PYTHONPATH": str(newer)}) == Run(2, "", f"ncagen: {line}\n")
        assert contents(folder) == before
        assert run(*command) == Run(0, "", "")
    assert_recovered(folder, smoke())


# --- the time of day ---


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """clock(seconds): the environment of a process whose time of day is off."""
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler and LD_PRELOAD are needed")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, CLOCK, "-ldl"], check=True)
    return lambda seconds: {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(seconds)}


@pytest.mark.parametrize("off", [DAY, pytest.param(-DAY, marks=pytest.mark.slow)])
def test_a_clock_that_is_a_day_off_changes_nothing(smoke, tmp_path, clock, off):
    program = [sys.executable, "-c", "import time; print(time.time())"]
    there = subprocess.check_output(program, env=os.environ | clock(off))
    assert abs(float(there) - time.time() - off) < 60
    folder, command = tmp_path / "a", ["build", *FLAGS, "--quiet", "--out", tmp_path / "a"]
    with watched(folder, smoke()):
        killed = run(*command, env=struck("write", on=r"\.parquet$", at=5))
        assert killed.status == -signal.SIGKILL and 0 < shards(folder) < 8
        for path in folder.rglob("*"):
            os.utime(path, (time.time() - off, time.time() - off))
        assert run(*command, env=os.environ | clock(off)) == Run(0, "", "")
    assert_recovered(folder, smoke())
