"""Processes that are killed or asked to stop, at any step and at any moment, and shards that cannot be made."""

import os
import random
import signal
import time
from itertools import count

import pytest
from conftest import FLAGS, Run, make, run, spec_of, without_waiting

from faults.oracle import assert_recovered, watched
from faults.processes import (
    LONGER_FLAGS,
    LONGER_SHARDS,
    STOP_SECONDS,
    STOPPED,
    shards,
    start,
    struck,
    temporary,
    wait_for,
)

FOLDERS = ("^a$", "^high$")
SHARD = r"train-00001-of-00003\.parquet"

# The second of a shard's two bands; the first one's file is there.
AT_A_SHARD = [("generate", "train 1", 1)] + [(step, SHARD, 2) for step in ("write", "fsync", "rename", "record")]

# One moment for each other file; the rest are nightly.
AT_ANOTHER_FILE = [("rename", r"building\.json", 1), ("write", r"README\.md", 1), ("record", r"manifest\.json", 1)]
NIGHTLY = [
    (step, name, 1)
    for name in (r"building\.json", r"README\.md", r"manifest\.json")
    for step in ("write", "fsync", "rename", "record")
    if (step, name, 1) not in AT_ANOTHER_FILE
]
NIGHTLY += [("remove", r"^\.building\.json~", 1), ("remove", r"^building\.json$", 1)]
NIGHTLY += [("fsync", folder, 1) for folder in FOLDERS]

KILLED = -signal.SIGKILL


# --- killed ---


@pytest.mark.parametrize(
    ("step", "on", "at"),
    [
        *AT_A_SHARD,
        *(pytest.param(*each, marks=pytest.mark.slow) for each in AT_ANOTHER_FILE),
        *(pytest.param(*each, marks=pytest.mark.nightly) for each in NIGHTLY),
    ],
)
def test_killed_at_a_step_it_ends_the_same(smoke, tmp_path, step, on, at):
    folder, fault = tmp_path / "a", struck(step, on=on, at=at)
    with watched(folder, smoke()):
        assert run("build", *FLAGS, "--quiet", "--out", folder, env=fault) == Run(KILLED, "", "")
        assert temporary(folder) or step in ("generate", "record", "remove") or on in FOLDERS
        make(folder, spec_of())
    assert_recovered(folder, smoke())


def test_killed_again_and_again_it_ends_the_same(longer, tmp_path):
    chance = random.Random(2)
    folder, kills = tmp_path / "a", 0
    with watched(folder, longer):
        for attempt in count():
            assert attempt < 20
            process = start("build", *LONGER_FLAGS, "--out", folder)
            enough = shards(folder) + chance.randint(1, 8)
            wait_for(lambda enough=enough: shards(folder) >= enough, process)
            time.sleep(chance.random() * 0.05)
            process.kill()
            process.communicate()
            if process.returncode == 0:
                break  # it came to its end before the signal
            assert not (folder / "manifest.json").exists() or shards(folder) == LONGER_SHARDS
            kills += 0 < shards(folder) < LONGER_SHARDS
            if kills == 3:
                break
        assert kills >= 1
        assert run("build", *LONGER_FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, longer)


# --- asked to stop ---


def test_ctrl_c_leaves_a_folder_that_can_be_gone_on_with(longer, tmp_path):
    folder = tmp_path / "a"
    with watched(folder, longer):
        process = start("build", *LONGER_FLAGS, "--out", folder)
        wait_for(lambda: shards(folder) >= 3, process)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        out, err = process.communicate()
        assert time.monotonic() - begun < STOP_SECONDS
        assert Run(process.returncode, out, without_waiting(err)) == Run(130, "", STOPPED)
        assert temporary(folder) == [] and (folder / "building.json").is_file()
        assert 3 <= shards(folder) < LONGER_SHARDS
        line = f"ncagen: {folder} is not finished: run the same ncagen build again to complete it\n"
        assert run("verify", folder) == Run(2, "", line)
        assert run("build", *LONGER_FLAGS, "--out", folder).status == 0
    assert_recovered(folder, longer)


MOMENTS = [0.1, *(pytest.param(pause, marks=pytest.mark.nightly) for pause in (0, 0.001, 0.005, 0.01, 0.02, 0.05))]


@pytest.mark.parametrize("pause", MOMENTS)
def test_a_second_ctrl_c_changes_nothing(longer, tmp_path, pause):
    """The second comes while the first is being obeyed, or when the process is gone already."""
    folder = tmp_path / "a"
    with watched(folder, longer):
        process = start("build", *LONGER_FLAGS, "--out", folder)
        wait_for(lambda: shards(folder) >= 3, process)
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        out, err = process.communicate()
        assert time.monotonic() - begun < STOP_SECONDS
        assert Run(process.returncode, out, without_waiting(err)) == Run(130, "", STOPPED)
        assert run("build", *LONGER_FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, longer)


@pytest.mark.parametrize(
    "pause", [0.05, *(pytest.param(pause, marks=pytest.mark.nightly) for pause in (0.1, 0.2, 0.5))]
)
def test_a_machine_that_is_taken_away_asks_first_and_kills_then(longer, tmp_path, pause):
    folder = tmp_path / "a"
    with watched(folder, longer):
        process = start("build", *LONGER_FLAGS, "--out", folder)
        wait_for(lambda: shards(folder) >= 3, process)
        process.terminate()
        time.sleep(pause)
        process.kill()
        process.communicate()
        assert process.returncode in (130, KILLED)
        assert run("build", *LONGER_FLAGS, "--quiet", "--out", folder) == Run(0, "", "")
    assert_recovered(folder, longer)


def test_a_background_build_ends_on_sigterm(tmp_path):
    """A script's background processes ignore SIGINT."""
    folder = tmp_path / "a"
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    process = start("build", *LONGER_FLAGS, "--out", folder, preexec_fn=ignore)
    wait_for(lambda: shards(folder) >= 1, process)
    process.terminate()
    process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 130
    assert temporary(folder) == [] and shards(folder) < LONGER_SHARDS


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param([], marks=pytest.mark.nightly),
        pytest.param(["--seq-len=16k"], marks=pytest.mark.nightly),
        ["--band=medium", "--states=15", "--grid=64"],
    ],
)
def test_ctrl_c_within_a_shard_ends_the_build(flags, tmp_path):
    folder = tmp_path / "a"
    process = start("build", "--tokens=2B", "--band=high", *flags, "--out", folder)
    wait_for(lambda: (folder / "building.json").exists(), process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    err = process.communicate()[1]
    assert (process.returncode, err.splitlines()[-1][:15]) == (130, "ncagen: stopped")
    assert time.monotonic() - begun < STOP_SECONDS
    assert temporary(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5, *(pytest.param(n, marks=pytest.mark.nightly) for n in (2, 8, 11))])
def test_ctrl_c_while_kernels_compile_ends_the_build(seconds, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NCAGEN_KERNELS": "compile"}
    process = start("build", *FLAGS, "--out", tmp_path / "a", env=environment)
    time.sleep(seconds)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    err = process.communicate()[1]
    assert (process.returncode, err.splitlines()[-1][:15]) == (130, "ncagen: stopped")
    assert time.monotonic() - begun < STOP_SECONDS
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_ctrl_c_within_a_long_kernel_ends_the_build(tmp_path):
    process = start("build", *FLAGS, "--warmup=1000000", "--grid=128", "--out", tmp_path / "a")
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate()
    assert time.monotonic() - begun < STOP_SECONDS
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "ncagen: stopped; run the same command to resume"
    assert not (tmp_path / "a").exists()


# --- a shard that cannot be made ---


def test_a_poisoned_shard_is_named_when_the_others_are_made(smoke, tmp_path):
    folder, command = tmp_path / "a", ["build", *FLAGS, "--quiet", "--out", tmp_path / "a"]
    with watched(folder, smoke()):
        line = (
            "ncagen: shard 1 of train failed 3 times: RuntimeError: train 1 is poisoned;"
            " the others are made: run the same command to try it again\n"
        )
        assert run(*command, env=struck("generate", on="train 1", how="raise")) == Run(1, "", line)
        assert shards(folder) == 6 and temporary(folder) == [] and (folder / "building.json").is_file()
        assert run(*command) == Run(0, "", "")
    assert_recovered(folder, smoke())


@pytest.mark.slow
def test_a_shard_that_fails_once_is_tried_again(smoke, tmp_path):
    folder, mark = tmp_path / "a", tmp_path / "mark"
    with watched(folder, smoke()):
        fault = struck("generate", on="train 1", how="raise", mark=str(mark))
        assert run("build", *FLAGS, "--quiet", "--out", folder, env=fault) == Run(0, "", "")
    assert mark.exists()
    assert_recovered(folder, smoke())
