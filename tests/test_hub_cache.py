"""The Hub's cache, which other programs write too: whatever is wrong with a file of it ends in forget and fetch."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import contents
from hub import Status
from hub.site import NAME, Run, Site, site

import ncagen
from ncagen.dataset.card import CARD
from ncagen.dataset.manifest import MANIFEST, read_manifest

SHARD = "data/high/train-00001-of-00003.parquet"

OPEN = """
import hashlib, ncagen
rows = ncagen.open("user/nca", band="high")
print(hashlib.sha256(b"".join(row["input_ids"].tobytes() for row in rows)).hexdigest())
"""


@pytest.fixture
def lfs(tmp_path):
    with site(tmp_path) as made:
        yield made


def sha256(folder: Path) -> str:
    """What OPEN prints for a dataset."""
    rows = ncagen.open(folder, band="high")
    return hashlib.sha256(b"".join(row["input_ids"].tobytes() for row in rows)).hexdigest() + "\n"


def cached(at: Site, name: str) -> Path:
    """A file's place in the cache, which is a link."""
    (found,) = Path(at.environment["HF_HOME"]).glob(f"hub/datasets--user--nca/snapshots/*/{name}")
    return found


def sent(at: Site, path: str) -> int:
    """How often a file's content was sent."""
    return len([r for r in at.hub.requests if r.method == "GET" and r.path.endswith(path) and "resolve" in r.path])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(b"x")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def with_one_bit(path: Path) -> None:
    """Another digit in a hash, where it is the manifest: it stays one that can be read."""
    content = path.read_bytes()
    at = content.rindex(b'"sha256": "') + 20 if content.startswith(b"{") else len(content) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


BLOB = {
    "one bit": with_one_bit,
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"xxxx"),
    "too short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": as_folder,
    "a pipe": as_pipe,
    "gone": Path.unlink,
}


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def of_another(path: Path) -> None:
    """A link to another shard's file, which is right."""
    snapshot = next(above for above in path.parents if above.parent.name == "snapshots")
    target = (snapshot / "data/high/train-00000-of-00003.parquet").resolve()
    path.unlink()
    path.symlink_to(os.path.relpath(target, path.parent))


def a_copy(path: Path) -> None:
    """A file where a link should be, with one byte more."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"x")


LINK = {"a circle": circle, "another's": of_another, "a file": a_copy}

QUICK = {"one bit", "too long", "a folder"}
FAULTS = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow, id=name) for name in [*BLOB, *LINK, "a way out"]
]


def spoil(at: Site, name: str, how: str, tmp_path: Path) -> None:
    """Does that to a file of the cache."""
    path = cached(at, name)
    if how == "a way out":
        (tmp_path / "mine").write_bytes(b"mine")
        path.unlink()
        path.symlink_to(tmp_path / "mine")
    elif how in LINK:
        LINK[how](path)
    else:
        BLOB[how](path.resolve())


@pytest.mark.parametrize("name", [SHARD, MANIFEST])
@pytest.mark.parametrize("how", FAULTS)
def test_a_wrong_file_is_fetched_again(how, name, lfs, smoke, tmp_path):
    lfs.publish(smoke())
    lfs.python(OPEN)
    content = cached(lfs, name).read_bytes()
    spoil(lfs, name, how, tmp_path)
    assert lfs.python(OPEN) == sha256(smoke())
    assert cached(lfs, name).read_bytes() == content == (smoke() / name).read_bytes()
    assert sent(lfs, name) == (2 if how in BLOB else 1)  # of a wrong link, the blob is still there
    spoil(lfs, name, how, tmp_path)
    assert lfs.run("pull", NAME, "--quiet") == Run(0, "", "")
    assert cached(lfs, name).read_bytes() == content
    spoil(lfs, name, how, tmp_path)
    assert lfs.run("pull", NAME, "--out", tmp_path / "out", "--quiet") == Run(0, "", "")
    assert contents(tmp_path / "out") == contents(smoke())
    assert how != "a way out" or (tmp_path / "mine").read_bytes() == b"mine"  # which is not the cache's to delete


def test_a_wrong_card_is_not_copied(lfs, smoke, tmp_path):
    """No manifest has its hash, but its link in the cache has."""
    lfs.publish(smoke())
    lfs.run("pull", NAME, "--out", tmp_path / "first", "--quiet")
    lfs.python(f"import huggingface_hub as h; h.hf_hub_download({NAME!r}, {CARD!r}, repo_type='dataset')")
    with_one_bit(cached(lfs, CARD).resolve())
    assert lfs.run("pull", NAME, "--out", tmp_path / "out", "--quiet") == Run(0, "", "")
    assert contents(tmp_path / "out") == contents(smoke())


UNREADABLE = """
import os, ncagen, ncagen.hub.folders, huggingface_hub.file_download, encodings.idna, encodings.ascii
os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a user who may not read all")
def test_a_file_that_may_not_be_read_is_fetched_again(lfs, smoke, tmp_path):
    lfs.publish(smoke())
    home = Path(lfs.environment["HF_HOME"])
    lfs.python(OPEN)
    for path in (home, *home.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for above in (home.parent, *home.parent.parents[:3]):
        above.chmod(above.stat().st_mode | 0o055)
    cached(lfs, SHARD).resolve().chmod(0)
    assert lfs.python(UNREADABLE + OPEN) == sha256(smoke())
    assert sent(lfs, SHARD) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a user who may not write all")
def test_a_wrong_file_that_may_not_be_deleted_is_named(lfs, smoke):
    lfs.publish(smoke())
    lfs.python(OPEN)
    home, path = Path(lfs.environment["HF_HOME"]), cached(lfs, SHARD)
    for above in (home, *home.parents[:4]):
        above.chmod(above.stat().st_mode | 0o055)
    for there in home.rglob("*"):
        there.chmod(0o755 if there.is_dir() else 0o644)
    path.resolve().write_bytes(b"x")
    program = UNREADABLE + "try: ncagen.open('user/nca', band='high').rows(range(200))\n"
    program += "except ncagen.NcagenError as error: print(error)"
    program = program.replace("rows(range(200))", "shard(1)")
    assert lfs.python(program) == (
        f"{path} is damaged and cannot be deleted (Permission denied): delete it, or set HF_HUB_CACHE to a writable"
        " folder\n"
    )


def test_a_cache_behind_a_link_is_healed_too(lfs, smoke, tmp_path):
    lfs.publish(smoke())
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    home = {"HF_HOME": str(tmp_path / "link")}
    lfs.python(OPEN, **home)
    (path,) = (tmp_path / "real").glob(f"hub/datasets--user--nca/snapshots/*/{SHARD}")
    BLOB["too long"](path.resolve())
    assert lfs.python(OPEN, **home) == sha256(smoke())
    assert path.read_bytes() == (smoke() / SHARD).read_bytes()


def test_readers_that_find_it_wrong_at_once_all_read_it(lfs, smoke):
    lfs.publish(smoke())
    lfs.python(OPEN)
    for _ in range(2):
        BLOB["one bit"](cached(lfs, SHARD).resolve())
        readers = [lfs.start("-c", OPEN) for _ in range(6)]
        assert [(reader.wait(), reader.out) for reader in readers] == [(0, sha256(smoke()))] * 6


@pytest.mark.slow
def test_a_file_that_came_by_xet_is_fetched_again(smoke, tmp_path):
    with site(tmp_path, use_xet=True) as at:
        at.push(smoke())
        at.python(OPEN)
        for how in ("one bit", "too long", "a folder"):
            spoil(at, SHARD, how, tmp_path)
            assert at.python(OPEN) == sha256(smoke())
            assert cached(at, SHARD).read_bytes() == (smoke() / SHARD).read_bytes()


def test_a_disk_that_is_full_is_one_line(lfs, smoke, tiny_disk):
    lfs.publish(smoke())
    line = lfs.fails("pull", NAME, "--out", tiny_disk / "out")
    assert re.fullmatch(
        rf"no space left in {tiny_disk}/out: 0\.\d MB are free; make room and run the same command to resume", line
    )
    assert not (tiny_disk / "out" / MANIFEST).exists()
    line = lfs.fails("pull", NAME, HF_HOME=str(tiny_disk / "home"))
    assert re.fullmatch(
        rf"{tiny_disk}/home/hub\S* cannot be written \(No space left on device\): set HF_HUB_CACHE to a writable"
        " folder",
        line,
    )


# --- a snapshot that the library downloaded ---

SNAPSHOT = """
import huggingface_hub, ncagen, pickle
path = huggingface_hub.snapshot_download("user/nca", repo_type="dataset")
for verify in ("first-use", "always", "never"):
    rows = pickle.loads(pickle.dumps(ncagen.open(path, band="high", verify=verify)))
    print(verify, len(rows), sum(int(row["candidate"]) for row in rows))
print(path)
"""


@pytest.mark.parametrize("use_xet", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_snapshot_is_opened(use_xet, smoke, tmp_path):
    """It is links alone, into the blobs of its repository and, with Xet, into those of all repositories."""
    with site(tmp_path, use_xet=use_xet) as at:
        assert at.push(smoke()).status == 0
        *lines, path = at.python(SNAPSHOT).splitlines()
        total = sum(int(row["candidate"]) for row in ncagen.open(smoke(), band="high"))
        assert lines == [f"{verify} 200 {total}" for verify in ("first-use", "always", "never")]
        identity = f"8 files, 440 rows, sha256 {read_manifest(smoke()).dataset_sha256}"
        assert at.run("verify", path) == Run(0, f"ok: {path}: {identity}\n", "")
        assert at.run("show", path, "--json").status == 0


# --- the commands take a name ---


def test_every_command_that_reads_takes_a_name(lfs, smoke, tmp_path):
    sha = lfs.publish(smoke(), tag="v1")
    shutil.copytree(smoke(), tmp_path / "nca")
    there = f"{NAME}@{sha[:12]}"
    for command in (
        ["verify"],
        ["show"],
        ["show", "--json"],
        ["audit", "--rows", "100"],
        ["view", "--save", tmp_path / "page.html"],
        ["receipt", "--out", tmp_path / "receipt"],
        ["export", "--to", "nanogpt", "--band", "high", "--json", "--out"],
    ):
        outs = [[tmp_path / "1/e"], [tmp_path / "2/e"]] if command[-1] == "--out" else [[], []]
        words, local = lfs.run(*command, *outs[0], NAME), lfs.run(*command, *outs[1], tmp_path / "nca")
        assert (words.status, words.err) == (local.status, "") == (0, ""), words
        seconds = re.compile(r'"seconds": [\d.]+|in [\d.]+ s')
        first = seconds.sub("", words.out.replace(there, "X").replace("/1/e", ""))
        assert first == seconds.sub("", local.out.replace(str(tmp_path / "nca"), "X").replace("/2/e", "")), command
    assert contents(tmp_path / "1/e") == contents(tmp_path / "2/e")
    assert lfs.run("verify", NAME, "--revision", "v1").status == 0
    line = f"user/nca on {lfs.host} has no revision 'v7': use a branch, a tag or a commit of it"
    for command in (["show"], ["verify"], ["view"], ["audit"], ["receipt", "--out", tmp_path / "r"]):
        assert lfs.fails(*command, NAME, "--revision", "v7") == line
    line = f"{smoke()} is not a dataset on the Hub: leave the revision 'v7' out, or use user/name"
    for command in (["show"], ["verify"], ["view"], ["audit"], ["receipt"]):
        assert lfs.fails(*command, smoke(), "--revision", "v7") == line
    line = f"{NAME} is not on this machine: use --out with the name of a file"
    assert lfs.fails("receipt", NAME) == line


def test_a_dataset_of_the_hub_is_pushed_under_another_name(lfs, smoke):
    sha = lfs.publish(smoke())
    copy = "user/copy"
    assert lfs.run("push", NAME, copy, "--from-revision", sha, "--quiet") == Run(0, "", "")
    files = lfs.hub.store.repo("dataset", copy).at("main").files
    found = {path: lfs.hub.content(entry) for path, entry in files.items() if path not in (CARD, "rows.png")}
    found.pop(".gitattributes")
    assert found == {path: content for path, content in contents(smoke()).items() if path != CARD}


def test_strays_on_the_hub_are_found_and_the_rest_is_the_repositorys(lfs, smoke):
    lfs.publish(smoke())
    files = dict(lfs.repo.at("main").files) | {"LICENSE": lfs.hub.store.small(b"MIT")}
    lfs.repo.add("main", "by hand", files, lfs.repo.branches["main"])
    assert lfs.run("verify", NAME).status == 0
    files["data/high/train-00009-of-00009.parquet"] = lfs.hub.store.small(b"PAR1")
    sha = lfs.repo.add("main", "by hand", files, lfs.repo.branches["main"]).sha
    name = "data/high/train-00009-of-00009.parquet: does not belong to the dataset\n"
    assert lfs.run("verify", NAME) == Run(1, f"failed: {NAME}@{sha[:12]}: 1 problem\n", name)
    done = lfs.run("verify", NAME, HF_HUB_OFFLINE="1")
    assert (done.status, done.err) == (
        0,
        f"{NAME}@{sha[:12]} may not be listed: whether there are other files in it is not known\n",
    )


# --- waits that a server asks for ---

WAITING = """
import huggingface_hub, ncagen.hub.retry as retry, ncagen
waits = []
retry.time = type("Clock", (), {"sleep": waits.append})
rows = ncagen.open("user/nca", band="high", stream=STREAM)
print(len([*rows]), waits)
"""


@pytest.mark.parametrize(
    ("stream", "method", "path"),
    [
        (False, "GET", "/resolve/main/manifest"),
        *(
            pytest.param(*some, marks=pytest.mark.slow)
            for some in ((False, "HEAD", "/resolve/"), (True, "GET", "/revision/"), (True, "GET", SHARD))
        ),
    ],
)
@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"Retry-After": "999999999"}, "999999999"),
        ({"RateLimit": '"api";r=0;t=99999999999'}, "99999999999"),
        ({"Retry-After": "9" * 40}, "1000000000000000"),
    ],
)
def test_a_wait_of_years_is_ten_minutes_and_is_told(stream, method, path, headers, asked, lfs, smoke):
    lfs.publish(smoke())
    lfs.hub.fault(method, path, Status(429, headers))
    done = lfs.run("-c", WAITING.replace("STREAM", str(stream)))
    assert (done.status, done.out) == (0, "200 [600.0]\n"), done
    assert f"the Hub returned 429 and requests a wait of {asked} s: retrying in 600 s\n" in done.err


def test_a_wait_within_the_bound_is_kept_and_logged_where_it_is_long(lfs, smoke):
    lfs.publish(smoke())
    lfs.hub.fault("GET", "/resolve/main/manifest", Status(429, {"Retry-After": "120"}))
    done = lfs.run("-c", WAITING.replace("STREAM", "False"))
    assert (done.status, done.out) == (0, "200 [120.0]\n"), done
    assert done.err == "the Hub returned 429: retrying in 120 s\n"
