"""Disks that are full, limited, failing or read-only, and folders that two builds have at the same time."""

import errno
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import FLAGS, NCAGEN, Run, make, run, spec_of, without_waiting

from faults.oracle import assert_recovered, hashes, watched
from faults.processes import LONGER_FLAGS, shards, start, struck, temporary, wait_for
from ncagen.errors import NcagenError

CLAIM = r"building\.json"
SHARD = "data/high/train-00001-of-00003.parquet"


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The small dataset with another seed."""
    folder = tmp_path_factory.mktemp("other") / "a"
    make(folder, spec_of(seed=1))
    return folder


# --- no room, no permission ---


def test_a_full_disk_is_one_line_and_the_build_goes_on_with_more_room(tiny_disk, smoke):
    folder = tiny_disk / "a"
    with watched(folder, smoke()):
        done = run("build", *FLAGS, "--out", folder)
        assert (done.status, done.out) == (2, "")
        assert re.fullmatch(
            rf"ncagen: no space left in {folder}: up to 0\.\d MB more are needed, 0\.\d MB are free;"
            r" make room and run the same command to resume\n",
            done.err,
        )
        assert temporary(folder) == [] and 0 < shards(folder) < 8
        subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True)
        assert run("build", *FLAGS, "--out", folder).status == 0
    assert_recovered(folder, smoke())


def test_a_file_size_limit_is_one_line_and_the_build_goes_on_without(smoke, tmp_path):
    folder = tmp_path / "a"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # noqa: E731
    with watched(folder, smoke()):
        done = run("build", *FLAGS, "--out", folder, preexec_fn=limit)
        line = (
            "ncagen: a shard of up to 0.1 MB exceeds the file size limit: raise it (ulimit -f)"
            " and run the same command to resume, or use another --out with fewer --rows-per-shard\n"
        )
        assert done == Run(2, "", line)
        assert temporary(folder) == []
        assert run("build", *FLAGS, "--out", folder).status == 0
    assert_recovered(folder, smoke())


def test_a_read_only_disk_is_one_line_and_left_alone(tiny_disk, smoke):
    subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True)
    folder = Path(shutil.copytree(smoke(), tiny_disk / "a"))
    (folder / SHARD).unlink()
    before = hashes(tiny_disk)
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    for out in (folder, tiny_disk / "b"):
        there = folder if out == folder else tiny_disk
        line = f"ncagen: {there} cannot be written (Read-only file system): use another --out\n"
        assert run("build", *FLAGS, "--out", out) == Run(2, "", line)
    assert hashes(tiny_disk) == before
    subprocess.run(["mount", "-o", "remount,rw", tiny_disk], check=True)
    with watched(folder, smoke()):
        assert run("build", *FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, smoke())


def test_a_write_error_that_is_nobodys_fault_names_the_file(copied, smoke):
    folder = copied()
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value).endswith(f": {os.strerror(errno.EISDIR)}")
    assert temporary(folder) == []
    (folder / SHARD).rmdir()
    make(folder, spec_of())
    assert_recovered(folder, smoke())


# --- a disk that fails ---


@pytest.mark.parametrize(
    "step", ["fsync", *(pytest.param(step, marks=pytest.mark.slow) for step in ("write", "rename"))]
)
def test_a_failing_disk_is_one_line_and_leaves_no_file_in_doubt(smoke, tmp_path, step):
    """What was not synced may not be there after a power cut: it never gets its final name."""
    folder = tmp_path / "a"
    with watched(folder, smoke()):
        done = run("build", *FLAGS, "--out", folder, env=struck(step, on=Path(SHARD).name, how="EIO"))
        assert done == Run(2, "", f"ncagen: {folder / SHARD}: {os.strerror(errno.EIO)}\n")
        assert temporary(folder) == [] and not (folder / SHARD).exists()
        assert run("build", *FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, smoke())


@pytest.mark.slow
def test_a_disk_that_fails_once_is_tried_again(smoke, tmp_path):
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()):
        fault = struck("fsync", on=Path(SHARD).name, how="EIO", mark=str(mark))
        assert run("build", *FLAGS, "--quiet", "--out", folder, env=fault) == Run(0, "", "")
    assert mark.exists()
    assert_recovered(folder, smoke())


# --- two builds in one folder ---


def both(*commands: tuple[object, ...], **options) -> list[Run]:
    """What commands that run at the same time did."""
    done = []
    for process in [start(*command, **options) for command in commands]:
        out, err = process.communicate(timeout=120)
        done.append(Run(process.returncode, out, without_waiting(err)))
    return done


def test_two_builds_of_one_spec_do_no_harm(longer, tmp_path):
    folder = tmp_path / "a"
    with watched(folder, longer):
        done = both(*[("build", *LONGER_FLAGS, "--quiet", "--out", folder)] * 2)
        assert done == [Run(0, "", "")] * 2
    assert_recovered(folder, longer)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", [0, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(1, 5))])
def test_two_builds_of_one_spec_that_begin_in_the_same_moment_do_no_harm(smoke, tmp_path, attempt):
    folder, meeting = tmp_path / "a", tmp_path / "meeting"
    meeting.mkdir()
    with watched(folder, smoke()):
        fault = struck("rename", on=CLAIM, how="meet", mark=str(meeting))
        done = both(*[("build", *FLAGS, "--quiet", "--out", folder)] * 2, env=fault)
        assert done == [Run(0, "", "")] * 2
    assert len(list(meeting.iterdir())) == 2
    assert_recovered(folder, smoke())


@pytest.mark.parametrize("attempt", [0, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(1, 10))])
def test_of_two_specs_that_begin_in_the_same_moment_one_wins(smoke, other, tmp_path, attempt):
    folder, meeting = tmp_path / "a", tmp_path / "meeting"
    meeting.mkdir()
    with watched(folder, smoke(), other):
        fault = struck("rename", on=CLAIM, how="meet", mark=str(meeting))
        command = ("build", *FLAGS, "--quiet", "--out", folder)
        done = both((*command, "--seed=0"), (*command, "--seed=1"), env=fault)
    assert len(list(meeting.iterdir())) == 2
    assert sorted(run.status for run in done) == [0, 2]
    winner = [run.status for run in done].index(0)
    difference = f"{folder} holds another dataset (seed: {winner} -> {1 - winner})"
    assert done[1 - winner] == Run(2, "", f"ncagen: {difference}: use another --out or the same spec\n")
    assert_recovered(folder, other if winner else smoke())


@pytest.mark.parametrize(
    ("seed", "step", "on"),
    [
        (1, "rename", CLAIM),
        pytest.param(0, "rename", CLAIM, marks=pytest.mark.slow),
        pytest.param(0, "write", Path(SHARD).name, marks=pytest.mark.slow),
        pytest.param(0, "rename", r"manifest\.json", marks=pytest.mark.slow),
    ],
)
def test_a_build_that_slept_while_another_ended_does_no_harm(smoke, other, tmp_path, seed, step, on):
    """It was held up when it had found the folder free and was about to claim it, in a shard, or at its own end."""
    folder, mark = tmp_path / "a", tmp_path / "mark"
    held = start(
        *("build", *FLAGS, "--quiet", f"--seed={seed}", "--out", folder),
        env=struck(step, on=on, how="hold", mark=str(mark)),
    )
    wait_for(mark.exists, held)
    with watched(folder, smoke(), claim=other):
        assert run("build", *FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
        mark.unlink()
        out, err = held.communicate(timeout=60)
    difference = f"{folder} holds another dataset (seed: 0 -> {seed})"
    refused = Run(2, "", f"ncagen: {difference}: use another --out or the same spec\n")
    assert Run(held.returncode, out, without_waiting(err)) == (refused if seed else Run(0, "", ""))
    assert_recovered(folder, smoke())


def test_a_build_of_another_host_whose_file_is_swept_ends_well(smoke, tmp_path):
    """Nobody here can tell whether its writer lives."""
    folder, mark = tmp_path / "a", tmp_path / "mark"
    elsewhere = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*elsewhere, "true"], capture_output=True).returncode:
        pytest.skip("another host name is not permitted")
    command = [*elsewhere, *NCAGEN, "build", *FLAGS, "--quiet", "--out", folder]
    fault = struck("rename", on=Path(SHARD).name, how="hold", mark=str(mark))
    held = subprocess.Popen(command, env=fault, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(mark.exists, held)
    (left,) = [path for path in temporary(folder) if Path(SHARD).name in path.name]  # its other worker goes on
    assert "~elsewhere~" in left.name
    with watched(folder, smoke()):
        assert run("build", *FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
        assert temporary(folder) == []
        mark.unlink()
        out, err = held.communicate(timeout=60)
    assert Run(held.returncode, out, without_waiting(err)) == Run(0, "", "")
    assert_recovered(folder, smoke())
