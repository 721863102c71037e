"""`ncagen.open("user/name")` and `ncagen pull` with the real client: checked bytes, one commit, and no network."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import contents, make, run, spec_of
from hub import Call, Drop, Slow, Status, Wrong
from hub.site import NAME, OTHER, Run, Site, site

import ncagen
from ncagen.dataset.manifest import MANIFEST, read_manifest
from ncagen.errors import NcagenError
from ncagen.hints import install

SHARD = "data/high/train-00001-of-00003.parquet"

# Prints the commit and a hash of all rows, after whatever else.
OPEN = """
import hashlib, ncagen, pickle
def show(rows):
    digest = hashlib.sha256(b"".join(row["input_ids"].tobytes() for row in rows)).hexdigest()
    print(rows.revision, digest)
rows = ncagen.open("user/nca", band="high", {options})
{then}
show(rows)
"""


@pytest.fixture
def lfs(tmp_path):
    with site(tmp_path) as made:
        yield made


def opened(options: str = "", then: str = "") -> str:
    return OPEN.format(options=options, then=then)


def shown(folder: Path, revision: str) -> str:
    """What `opened` prints for a dataset at a commit."""
    rows = ncagen.open(folder, band="high")
    return f"{revision} {hashlib.sha256(b''.join(row['input_ids'].tobytes() for row in rows)).hexdigest()}\n"


def refused(at: Site, program: str, **changes: str | None) -> str:
    """The NcagenError that a program ends with."""
    lines = ("from ncagen.errors import NcagenError", "try:", *(f"    {line}" for line in program.splitlines()))
    return at.python("\n".join([*lines, "except NcagenError as error:", "    print(error)"]), **changes).rstrip("\n")


def fetched(at: Site, path: str) -> int:
    """How often a file's content was sent."""
    return len([r for r in at.hub.requests if r.method == "GET" and r.path.endswith(path) and "resolve" in r.path])


def cache_file(at: Site, name: str) -> Path:
    (found,) = Path(at.environment["HF_HOME"]).glob(f"hub/datasets--user--nca/snapshots/*/{name}")
    return found


# --- open ---


def test_a_dataset_on_the_hub_is_opened_and_kept(lfs, smoke):
    sha = lfs.publish(smoke(), tag="v1")
    assert lfs.python(opened()) == shown(smoke(), sha)
    asked = len(lfs.hub.requests)
    again = opened("revision='v1'", "rows = pickle.loads(pickle.dumps(rows))")
    assert lfs.python(again) == shown(smoke(), sha)
    assert all(r.path.endswith((MANIFEST, "agent-harnesses")) for r in lfs.hub.requests[asked:])
    assert lfs.python("import ncagen; print(ncagen.open('user/nca', band='high'))") == (
        f"<ncagen.Dataset user/nca@{sha[:12]}: 200 train rows of band high>\n"
    )


def test_what_is_in_the_cache_needs_no_network(lfs, smoke):
    sha = lfs.publish(smoke())
    lfs.python(opened())
    assert lfs.python(opened(), HF_HUB_OFFLINE="1") == shown(smoke(), sha)
    assert lfs.python(opened(), HF_ENDPOINT="http://127.0.0.1:9") == shown(smoke(), sha)
    medium = "import ncagen; ncagen.open('user/nca', band='medium')[0]"
    assert refused(lfs, medium, HF_HUB_OFFLINE="1") == (
        f"{lfs.host} is not asked because HF_HUB_OFFLINE is set: unset it"
    )


def test_an_open_dataset_stays_at_its_commit(lfs, smoke, tmp_path):
    make(tmp_path / "other", spec_of(seed=1))
    sha = lfs.publish(smoke())
    ready, changed = tmp_path / "ready", tmp_path / "changed"
    wait = f"while not pathlib.Path({str(changed)!r}).exists(): time.sleep(0.02)"
    then = f"import pathlib, time\npathlib.Path({str(ready)!r}).touch()\n{wait}"
    command = lfs.start("-c", opened(then=then))
    while not ready.exists():
        time.sleep(0.02)
    lfs.publish(tmp_path / "other")
    changed.touch()
    assert (command.wait(), command.out) == (0, shown(smoke(), sha))
    assert lfs.python(opened(f"revision='{sha}'")) == shown(smoke(), sha)
    assert lfs.python(opened()) == shown(tmp_path / "other", lfs.repo.branches["main"])


def test_streaming_leaves_nothing_on_disk(lfs, smoke):
    sha = lfs.publish(smoke())
    assert lfs.python(opened("stream=True", "rows = pickle.loads(pickle.dumps(rows))")) == shown(smoke(), sha)
    assert not list(Path(lfs.environment["HF_HOME"]).rglob("*.parquet"))


def test_streamed_wrong_bytes_are_never_seen(lfs, smoke):
    sha = lfs.publish(smoke())
    lfs.hub.fault("GET", SHARD, Wrong(), times=99)
    line = refused(lfs, opened("stream=True"))
    assert line == f"hf://datasets/user/nca@{sha}/{SHARD}: its footer does not match its hash"


CACHED = """
import ncagen
for _ in range(2):
    rows = ncagen.open("user/nca", band="high", stream=True, cache_dir={folder!r})
    rows.rows(range(len(rows)))
"""


def test_streaming_fetches_each_row_group_once(lfs, smoke, tmp_path):
    """By range, in two opened datasets with a cache; of each shard of one row group the footer and the row group."""
    lfs.publish(smoke())
    lfs.python(CACHED.format(folder=str(tmp_path / "cache")))
    shards = [r for r in lfs.hub.requests if "/resolve/" in r.path and r.path.endswith(".parquet")]
    manifest = read_manifest(smoke())
    paths = [manifest.path(record) for record in manifest.part("train", "high")]
    assert [r.status for r in shards] == [206] * 2 * len(paths)
    assert sum(r.answered for r in shards) < 1.05 * sum(manifest.files[path].bytes for path in paths)


@pytest.mark.parametrize(
    "fault",
    [
        Wrong(),
        Status(503),
        *(pytest.param(f, marks=pytest.mark.slow) for f in (Status(429, {"Retry-After": "1"}), Drop(), Slow(1))),
    ],
)
def test_a_fault_on_the_way_is_not_seen(fault, lfs, smoke):
    sha = lfs.publish(smoke())
    lfs.hub.fault("GET", SHARD, fault)
    done = lfs.run("-c", opened())
    assert (done.status, done.out) == (0, shown(smoke(), sha)), done


def test_wrong_bytes_that_stay_are_given_up_on(lfs, smoke):
    sha = lfs.publish(smoke())
    lfs.hub.fault("GET", SHARD, Wrong(), times=99)
    line = refused(lfs, opened())
    assert line == f"user/nca@{sha[:12]}/{SHARD}: its bytes do not match their hash, after 3 downloads"
    assert fetched(lfs, SHARD) == 3


@pytest.mark.parametrize("name", [SHARD, MANIFEST])
@pytest.mark.parametrize("damage", ["changed", *(pytest.param(d, marks=pytest.mark.slow) for d in ("cut", "gone"))])
def test_a_bad_file_of_the_cache_is_fetched_again(name, damage, lfs, smoke):
    sha = lfs.publish(smoke())
    lfs.python(opened())
    path = cache_file(lfs, name).resolve()
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content.replace(content[90:99], b"#########"))
    before = fetched(lfs, name)
    assert lfs.python(opened()) == shown(smoke(), sha)
    assert fetched(lfs, name) == before + 1
    assert cache_file(lfs, name).read_bytes() == content


@pytest.mark.slow
def test_a_bad_file_that_came_by_xet_is_fetched_again(smoke, tmp_path):
    """Its place in the cache is two links away, and is shared between repositories."""
    with site(tmp_path, use_xet=True) as at:
        at.push(smoke())
        sha = at.repo.branches["main"]
        assert at.python(opened()) == shown(smoke(), sha)
        path = cache_file(at, SHARD).resolve()
        path.write_bytes(b"x" * path.stat().st_size)
        assert at.python(opened()) == shown(smoke(), sha)
        assert cache_file(at, SHARD).read_bytes() == (smoke() / SHARD).read_bytes()


def test_a_bad_file_of_the_cache_is_not_read_without_a_network_either(lfs, smoke):
    lfs.publish(smoke())
    lfs.python(opened())
    path = cache_file(lfs, SHARD).resolve()
    path.write_bytes(b"x" * path.stat().st_size)
    line = refused(lfs, opened(), HF_HUB_OFFLINE="1")
    assert line == f"{lfs.host} is not asked because HF_HUB_OFFLINE is set: unset it"


def test_a_folder_that_is_not_there_is_named_where_one_could_be(lfs, tmp_path):
    (tmp_path / "data").mkdir()
    program = f"import os; os.chdir({str(tmp_path)!r})\nimport ncagen\nncagen.open('data/high')"
    assert refused(lfs, program) == (
        f"there is no folder data/high, and on the Hub: data/high is not on {lfs.host}, or is private and not for this"
        " login: look at the name, or run `hf auth login`, or set HF_TOKEN"
    )


def test_a_streams_state_names_the_commit(lfs, smoke):
    """Whoever resumes opens that commit, whatever the branch has come to since."""
    sha = lfs.publish(smoke())
    program = f"""
import json, ncagen
rows = ncagen.open({NAME!r}, band="high")
stream = ncagen.Stream(rows, 32, seed=1)
next(iter(stream))
print(json.dumps(stream.state_dict()))
"""
    state = json.loads(lfs.python(program))
    assert (state["position"], state["revisions"]) == (32, [sha])
    stream = ncagen.Stream(ncagen.open(smoke(), band="high"), 32, seed=1)
    stream.load_state_dict(state)  # the same rows, from a folder
    assert next(iter(stream))["candidate"].shape == (32,)
    assert "revisions" not in stream.state_dict()


# --- pull ---


def test_the_cards_picture_comes_along(lfs, smoke, tmp_path):
    image = pytest.importorskip("PIL.Image")
    assert lfs.push(smoke()).status == 0
    out = tmp_path / "out"
    assert lfs.run("pull", NAME, "--out", out).status == 0
    assert "![Rows 0 to 11 of band high](rows.png)" in (out / "README.md").read_text()
    with image.open(out / "rows.png") as drawn:
        assert drawn.size == (27 * 39 - 3, 12 * 39 - 3)
    assert lfs.run("verify", out).status == 0


def test_a_pull_makes_the_same_folder(lfs, smoke, tmp_path):
    sha = lfs.publish(smoke())
    out = tmp_path / "out"
    done = lfs.run("pull", NAME, "--out", out)
    sha256 = read_manifest(smoke()).dataset_sha256
    assert done == Run(0, f"8 files, 0.8 MB, are in {out}\n{NAME}: 440 rows, sha256 {sha256}, revision {sha}\n", "")
    assert contents(out) == contents(smoke())
    before = fetched(lfs, ".parquet")
    again = json.loads(lfs.run("pull", NAME, "--out", out, "--json").out)
    assert (again["revision"], again["folder"], again["files"], again["rows"]) == (sha, str(out), 8, 440)
    assert fetched(lfs, ".parquet") == before == 8


def test_a_pull_into_the_cache_is_for_later(lfs, smoke):
    sha = lfs.publish(smoke())
    assert lfs.run("pull", NAME).out.startswith("8 files, 0.8 MB, are in the cache\n")
    assert lfs.python(opened(), HF_HUB_OFFLINE="1") == shown(smoke(), sha)


def test_a_pull_that_is_killed_goes_on(lfs, smoke, tmp_path):
    lfs.publish(smoke())
    running, out = [], tmp_path / "out"
    lfs.hub.fault("GET", SHARD, Call(lambda: (running[0].kill(), time.sleep(0.5))))
    running.append(lfs.start("pull", NAME, "--out", out))
    assert running[0].wait() == -9
    assert not (out / MANIFEST).exists()
    before = fetched(lfs, ".parquet")
    assert lfs.run("pull", NAME, "--out", out, "--quiet") == Run(0, "", "")
    assert contents(out) == contents(smoke())
    assert before + fetched(lfs, ".parquet") > 0 and fetched(lfs, "train-00000-of-00003.parquet") == 2


def test_a_pull_repairs_and_never_takes_wrong_bytes(lfs, smoke, tmp_path):
    sha = lfs.publish(smoke())
    out = tmp_path / "out"
    lfs.hub.fault("GET", SHARD, Wrong(), times=3)
    line = lfs.fails("pull", NAME, "--out", out)
    assert line == f"user/nca@{sha[:12]}/{SHARD}: its bytes do not match their hash, after 3 downloads"
    assert not (out / MANIFEST).exists() and not (out / SHARD).exists()
    lfs.hub.fault("GET", SHARD, Wrong())
    assert lfs.run("pull", NAME, "--out", out, "--quiet") == Run(0, "", "")
    (out / SHARD).write_bytes(b"spoiled")
    assert lfs.run("pull", NAME, "--out", out, "--quiet") == Run(0, "", "")
    assert contents(out) == contents(smoke())


def test_a_folder_of_something_else_is_left_alone(lfs, smoke, tmp_path):
    lfs.publish(smoke())
    make(tmp_path / "other", spec_of(seed=1))
    before = contents(tmp_path / "other")
    there = read_manifest(tmp_path / "other").dataset_sha256
    line = lfs.fails("pull", NAME, "--out", tmp_path / "other")
    assert line == f"{tmp_path}/other holds another dataset (sha256 {there}): use another --out"
    assert contents(tmp_path / "other") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    line = lfs.fails("pull", NAME, "--out", tmp_path / "mine")
    assert line == f"{tmp_path}/mine holds unrelated files (notes.txt): use another --out"


def test_the_hubs_own_files_do_not_disturb_verify(smoke, tmp_path):
    shutil.copytree(smoke(), tmp_path / "a")
    (tmp_path / "a/.gitattributes").write_text("*.parquet filter=lfs\n")
    (tmp_path / "a/.cache/huggingface/download").mkdir(parents=True)
    (tmp_path / "a/.cache/huggingface/download/x.metadata").write_text("x")
    assert run("verify", tmp_path / "a").status == 0
    (tmp_path / "a/.cache/other").write_text("x")
    assert run("verify", tmp_path / "a").err == ".cache/other: does not belong to the dataset\n"


# --- mistakes ---


def test_what_is_not_there_is_one_line(lfs, smoke, tmp_path):
    nowhere = (
        f"user/nca is not on {lfs.host}, or is private and not for this login: look at the name, or run"
        " `hf auth login`, or set HF_TOKEN"
    )
    assert lfs.fails("pull", NAME) == refused(lfs, opened()) == refused(lfs, opened("stream=True")) == nowhere
    lfs.publish(smoke(), private=True)
    assert lfs.fails("pull", NAME, HF_TOKEN=OTHER) == nowhere
    line = f"user/nca on {lfs.host} has no revision 'v7': use a branch, a tag or a commit of it"
    assert lfs.fails("pull", NAME, "--revision", "v7") == refused(lfs, opened("revision='v7'")) == line
    lfs.repo.add("main", "empty", {}, None)
    line = f"user/nca on {lfs.host} holds no dataset of ncagen: there is no manifest.json in it"
    assert lfs.fails("pull", NAME) == line


@pytest.mark.slow  # the library itself tries for 23 seconds
def test_without_a_network_one_line_says_so(lfs):
    line = lfs.fails("pull", NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert re.fullmatch(r"127\.0\.0\.1:9 cannot be reached.*: look at the network, or at HF_ENDPOINT if it .*", line)


def test_revision_and_stream_are_for_the_hub(smoke):
    line = f"{smoke()} is not a dataset on the Hub: leave revision and stream out, or use user/name"
    for option in ({"revision": "main"}, {"stream": True}):
        with pytest.raises(NcagenError, match=f"^{re.escape(line)}$"):
            ncagen.open(str(smoke()), band="high", **option)


def test_a_folder_that_is_there_comes_before_the_hub(smoke, tmp_path, monkeypatch):
    shutil.copytree(smoke(), tmp_path / "user/nca")
    monkeypatch.chdir(tmp_path)
    rows = ncagen.open("user/nca", band="high")
    assert rows.revision is None
    assert np.array_equal(rows[5]["input_ids"], ncagen.open(smoke(), band="high")[5]["input_ids"])


def test_without_the_library_a_line_says_what_to_install(tmp_path):
    program = """
import sys
sys.modules["huggingface_hub"] = None
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "huggingface_hub":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
del sys.modules["huggingface_hub"]
sys.meta_path.insert(0, Blocker())
"""
    opening = program + "import ncagen\ntry: ncagen.open('user/nca')\nexcept ncagen.NcagenError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", opening], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (
        f"there is no folder user/nca; reading it from the Hub needs huggingface_hub: {install('huggingface_hub')}\n",
        "",
    )
    for words in (["push", "a", "user/nca"], ["pull", "user/nca"]):
        pushing = program + f"sys.argv = ['ncagen', *{words}]\nfrom ncagen.__main__ import main\nmain()"
        done = subprocess.run([sys.executable, "-c", pushing], capture_output=True, text=True, cwd=tmp_path)
        line = f"ncagen: huggingface_hub is not installed: {install('huggingface_hub')}\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


READ_ONLY = """
import os
import ncagen, ncagen.hub.folders, huggingface_hub.file_download, encodings.idna, encodings.ascii
if os.geteuid() == 0:  # another user often cannot read the interpreter, so what is needed is imported before
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    ncagen.open("user/nca", band="high")[0]
    print("read")
except ncagen.NcagenError as error:
    print(error)
"""


def test_a_cache_that_cannot_be_written_is_named_and_can_be_read(lfs, smoke):
    lfs.publish(smoke())
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        cache = home / "hub"
        cache.mkdir(mode=0o555)
        changes = {"HF_HOME": str(home), "HF_HUB_CACHE": str(cache), "HOME": name}
        line = lfs.python(READ_ONLY, **changes)
        assert re.fullmatch(
            rf"{cache}\S* cannot be written \(Permission denied\): set HF_HUB_CACHE to a writable folder\n", line
        )
        cache.chmod(0o755)
        lfs.python("import os; os.umask(0o022)\n" + opened(), **changes)
        for path in [cache, *cache.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o555)
        assert lfs.python(READ_ONLY, **changes) == "read\n"
        for path in [cache, *cache.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
