"""Whatever happens to a build, the same command ends with the very files of an undisturbed one."""

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conftest import FLAGS, NCAGEN, Run, contents, make, run, spec_of, without_waiting

from ncagen.automaton import cpu
from ncagen.automaton.rng import STREAMS
from ncagen.dataset.manifest import order_of, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import is_temporary
from ncagen.errors import NcagenError
from ncagen.factory.fleet import build
from ncagen.factory.work import Order, intact
from ncagen.factory.work import make as make_shard
from ncagen.spec import from_settings

# 31 shards, about two seconds of work.
LONGER = {"tokens": "8M", "validation": 0, "band": "high", "rows_per_shard": 256}
LONGER_FLAGS = ["--tokens=8M", "--validation=0", "--band=high", "--rows-per-shard=256", "--workers=2"]
SHARD = "data/high/train-00001-of-00003"


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """The longer dataset, built without a disturbance."""
    folder = tmp_path_factory.mktemp("longer") / "a"
    make(folder, from_settings(LONGER))
    return folder


@pytest.fixture
def copied(smoke, tmp_path):
    """A copy of the small dataset to do harm to."""
    return lambda storage="parquet": Path(shutil.copytree(smoke(storage), tmp_path / storage))


def hear_interrupts() -> None:
    """Undoes what a shell does to the commands that it runs in the background, this test run among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: object, **options) -> subprocess.Popen:
    command = [*NCAGEN, *map(str, arguments)]
    options = {"preexec_fn": hear_interrupts} | options
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def shards(folder: Path) -> int:
    return len(list(folder.glob("data/*/*-of-*")))


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    """Until the condition holds or the process has ended."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.002)


def temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_temporary(path)]


def harm(path: Path, at: int) -> None:
    """Flips one bit and keeps size and time, as a failing disk does."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


# --- stopped from outside ---


def test_killed_again_and_again_it_ends_the_same(longer, tmp_path):
    chance = random.Random(2)
    folder, kills = tmp_path / "a", 0
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
        assert not (folder / "manifest.json").exists() or shards(folder) == 31
        kills += 0 < shards(folder) < 31
        if kills == 3:
            break
    assert kills >= 1
    done = run("build", *LONGER_FLAGS, "--out", folder)
    assert (done.status, done.err) == (0, "")
    assert contents(folder) == contents(longer)


def test_ctrl_c_leaves_a_folder_that_can_be_gone_on_with(longer, tmp_path):
    folder = tmp_path / "a"
    process = start("build", *LONGER_FLAGS, "--out", folder)
    wait_for(lambda: shards(folder) >= 3, process)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate()
    assert time.monotonic() - begun < 2
    line = "ncagen: stopped; the same command goes on from here\n"
    assert Run(process.returncode, out, without_waiting(err)) == Run(130, "", line)
    assert temporary(folder) == [] and (folder / "building.json").is_file()
    assert 3 <= shards(folder) < 31
    line = f"ncagen: {folder} is not finished: run the same ncagen build again to complete it\n"
    assert run("verify", folder) == Run(2, "", line)
    assert run("build", *LONGER_FLAGS, "--out", folder).status == 0
    assert contents(folder) == contents(longer)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--seq-len=16k"], ["--band=medium", "--states=15", "--grid=64"]])
def test_ctrl_c_within_a_shard_takes_two_seconds_at_most(flags, tmp_path):
    folder = tmp_path / "a"
    process = start("build", "--tokens=2B", "--band=high", *flags, "--out", folder)
    wait_for(lambda: (folder / "building.json").exists(), process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    err = process.communicate()[1]
    assert (process.returncode, err.splitlines()[-1][:15]) == (130, "ncagen: stopped")
    assert time.monotonic() - begun < 2
    assert temporary(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 5, 8, 11])
def test_ctrl_c_while_kernels_compile_takes_two_seconds_at_most(seconds, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    process = start("build", *FLAGS, "--out", tmp_path / "a", env=environment)
    time.sleep(seconds)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    err = process.communicate()[1]
    assert (process.returncode, err.splitlines()[-1][:15]) == (130, "ncagen: stopped")
    assert time.monotonic() - begun < 2
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_ctrl_c_within_a_long_kernel_takes_two_seconds_at_most(tmp_path):
    process = start("build", *FLAGS, "--warmup=1000000", "--grid=128", "--out", tmp_path / "a")
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate()
    assert time.monotonic() - begun < 2
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "ncagen: stopped; the same command goes on from here"
    assert not (tmp_path / "a").exists()


def test_a_background_build_ends_on_sigterm(tmp_path):
    """A script's background processes ignore SIGINT."""
    folder = tmp_path / "a"
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    process = start("build", *LONGER_FLAGS, "--out", folder, preexec_fn=ignore)
    wait_for(lambda: shards(folder) >= 1, process)
    process.terminate()
    process.communicate(timeout=5)
    assert process.returncode == 130
    assert temporary(folder) == [] and shards(folder) < 31


def test_two_builds_of_the_same_folder_do_no_harm(longer, tmp_path):
    processes = [start("build", *LONGER_FLAGS, "--out", tmp_path / "a") for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, without_waiting(err)) == (0, "")
    assert contents(tmp_path / "a") == contents(longer)


# --- damaged files ---


@pytest.mark.parametrize("storage", ["parquet", "arrow"])
@pytest.mark.parametrize("damage", ["deleted", "emptied", "a byte less", "a byte more", "a data bit", "a footer bit"])
def test_a_damaged_shard_is_made_again(copied, smoke, storage, damage):
    folder = copied(storage)
    path = folder / f"{SHARD}.{storage}"
    size = path.stat().st_size
    match damage:
        case "deleted":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case "a byte less":
            path.write_bytes(path.read_bytes()[:-1])
        case "a byte more":
            path.write_bytes(path.read_bytes() + b"\0")
        case "a data bit":
            harm(path, 8 * (size // 2))
        case "a footer bit":
            harm(path, 8 * (size - 300))
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p != path}
    made = []
    build(Order(spec_of(), storage, folder), 2, lambda rows, candidates: made.append(rows if candidates else 0))
    assert contents(folder) == contents(smoke(storage))
    assert sum(made) == 70
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize("storage", ["parquet", "arrow"])
def test_no_flipped_bit_passes_for_intact(copied, storage):
    spec = spec_of()
    order = Order(spec, storage, copied(storage))
    path = order.path("train", spec.bands[0], 1)
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
    make(folder, spec_of())
    assert contents(folder) == contents(smoke())


def test_temporary_files_of_dead_writers_are_swept(copied, smoke):
    folder = copied()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = ".train-00001-of-00003.parquet~{}~{}~0123abcd.tmp"
    stale = folder / "data/high" / name.format(socket.gethostname(), gone.pid)
    alive = folder / "data/high" / name.format(socket.gethostname(), os.getppid())
    elsewhere = folder / "data/high" / name.format("another-host", gone.pid)
    for path in (stale, alive, elsewhere):
        path.write_bytes(b"half a shard")
    make(folder, spec_of())
    assert not stale.exists() and alive.exists() and elsewhere.exists()
    alive.unlink()
    elsewhere.unlink()
    assert contents(folder) == contents(smoke())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff", b'{"manifest_version": 9}'])
def test_a_damaged_manifest_is_named_and_written_anew_once_deleted(copied, smoke, text):
    folder = copied()
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value).startswith(f"{folder}/manifest.json ")
    assert str(caught.value).endswith(": delete it and run the same build again to have it written anew")
    (folder / "manifest.json").unlink()
    make(folder, spec_of())
    assert contents(folder) == contents(smoke())


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff"])
def test_a_damaged_begun_order_is_named_and_needless(copied, smoke, text):
    folder = copied()
    (folder / "manifest.json").unlink()
    (folder / "building.json").write_bytes(text)
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value) == f"{folder}/building.json is damaged: delete it and run the same build again"
    (folder / "building.json").unlink()
    make(folder, spec_of())
    assert contents(folder) == contents(smoke())


def test_a_damaged_card_is_written_anew(copied, smoke):
    folder = copied()
    (folder / "README.md").write_bytes(b"\xff")
    make(folder, spec_of())
    assert contents(folder) == contents(smoke())


@pytest.mark.parametrize(
    ("changes", "storage", "difference"),
    [
        ({"seed": 1}, "parquet", "seed: 0 -> 1"),
        ({"tokens": "1M"}, "parquet", "tokens: 204800 -> 1000000"),
        ({}, "arrow", "format: parquet -> arrow"),
        ({"rows_per_shard": 71, "warmup": 9}, "parquet", "rows_per_shard: 70 -> 71; warmup: 10 -> 9"),
    ],
)
def test_a_begun_folder_refuses_another_order(copied, changes, storage, difference):
    folder = copied()
    manifest = read_manifest(folder)
    (folder / "manifest.json").unlink()
    (folder / "building.json").write_text(json.dumps(order_of(manifest.spec, "parquet")))
    before = contents(folder)
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of(**changes), storage)
    expected = f"{folder} holds another dataset ({difference}): use another --out or the same order"
    assert str(caught.value) == expected
    assert contents(folder) == before


# --- no room ---


def test_a_full_disk_is_one_line_and_the_build_goes_on_with_more_room(tiny_disk, smoke):
    folder = tiny_disk / "a"
    done = run("build", *FLAGS, "--out", folder)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(
        rf"ncagen: no space left in {folder}: up to 0\.\d MB more are needed, 0\.\d MB are free;"
        r" make room and run the same command to go on\n",
        done.err,
    )
    assert temporary(folder) == [] and 0 < shards(folder) < 8
    subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True)
    assert run("build", *FLAGS, "--out", folder).status == 0
    assert contents(folder) == contents(smoke())


def test_a_file_size_limit_is_one_line_and_the_build_goes_on_without(smoke, tmp_path):
    folder = tmp_path / "a"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # noqa: E731
    done = run("build", *FLAGS, "--out", folder, preexec_fn=limit)
    line = (
        "ncagen: a shard of up to 0.1 MB is over the limit of a file's size here: raise it (ulimit -f)"
        " and run the same command to go on, or use another --out with fewer --rows-per-shard\n"
    )
    assert done == Run(2, "", line)
    assert temporary(folder) == []
    assert run("build", *FLAGS, "--out", folder).status == 0
    assert contents(folder) == contents(smoke())


# --- a dataset is a pure function of its spec ---


@pytest.mark.parametrize("storage", ["parquet", "arrow"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_makes_the_same_files(smoke, tmp_path, storage, workers):
    make(tmp_path / "a", spec_of(), storage, workers)
    assert contents(tmp_path / "a") == contents(smoke(storage))


def test_both_formats_hold_the_same_dataset(smoke):
    parquet, arrow = read_manifest(smoke("parquet")), read_manifest(smoke("arrow"))
    assert parquet.records == arrow.records
    assert parquet.dataset_sha256 == arrow.dataset_sha256


def test_any_order_of_completion_makes_the_same_files(smoke, tmp_path):
    order = Order(spec_of(), "parquet", tmp_path / "a")
    units = [(split, shard) for split in ("train", "validation") for shard in range(order.spec.shards(split))]
    random.Random(1).shuffle(units)
    for split, shard in units:
        make_shard(order, split, shard, lambda rows, candidates: None)
    make(order.folder, order.spec)
    assert contents(order.folder) == contents(smoke())


def hashes(folder: Path, band: str) -> list[str]:
    return [record.content_sha256 for record in read_manifest(folder).records if record.band == band]


@pytest.mark.parametrize("band", ["high", "medium"])
def test_a_band_has_the_same_rows_alone(smoke, tmp_path, band):
    make(tmp_path / "a", spec_of(bands=[band]))
    assert hashes(tmp_path / "a", band) == hashes(smoke(), band)
    alone, together = (
        [(r.tried, r.below, r.above) for r in read_manifest(folder).records if r.band == band]
        for folder in (tmp_path / "a", smoke())
    )
    assert alone == together


def test_a_shard_depends_on_its_number_alone(smoke, tmp_path):
    make(tmp_path / "a", spec_of(tokens=400 * 1024, validation=0))
    more, fewer = (
        [r for r in read_manifest(folder).records if (r.band, r.split) == ("high", "train")]
        for folder in (tmp_path / "a", smoke())
    )
    assert [r.rows for r in more] == [70] * 5 + [50] and [r.rows for r in fewer] == [70, 70, 60]
    assert [r.content_sha256 for r in more[:2]] == [r.content_sha256 for r in fewer[:2]]
    third, short = Dataset(tmp_path / "a", band="high").shard(2), Dataset(smoke(), band="high").shard(2)
    assert np.array_equal(third.candidate[:60], short.candidate)
    assert np.array_equal(third.input_ids[:60], short.input_ids)


def test_a_seed_and_a_split_have_rules_of_their_own(smoke):
    spec, candidates = spec_of(), np.arange(64, dtype=np.uint64)
    train, _ = cpu.sample(spec, STREAMS["train"], candidates)
    for other in (
        cpu.sample(spec, STREAMS["validation"], candidates)[0],
        cpu.sample(spec_of(seed=1), STREAMS["train"], candidates)[0],
    ):
        for mine, theirs in zip(train, other, strict=True):
            assert not (mine == theirs).reshape(len(candidates), -1).all(axis=1).any()
    rows = [
        {row["input_ids"].tobytes() for row in Dataset(smoke(), split, band)}
        for split in ("train", "validation")
        for band in ("high", "medium")
    ]
    assert len(set.union(*rows)) == 440


def test_a_write_error_that_is_nobodys_fault_names_the_file(tmp_path, smoke):
    folder = Path(shutil.copytree(smoke(), tmp_path / "a"))
    path = folder / f"{SHARD}.parquet"
    path.unlink()
    path.mkdir()
    with pytest.raises(NcagenError) as caught:
        make(folder, spec_of())
    assert str(caught.value).endswith(f": {os.strerror(errno.EISDIR)}")
    assert temporary(folder) == []
