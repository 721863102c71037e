"""`ncagen push` with the real client against a Hub on this machine: whole or not at all, and nothing sent twice."""

import email.utils
import importlib.util
import io
import json
import random
import re
import shutil
import time
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import contents, make, spec_of
from hub import Call, Drop, Slow, Status
from hub.site import NAME, OTHER, TOKEN, Run, Site, site
from test_cli import terminal

import ncagen
from ncagen.dataset.card import CARD, PICTURE
from ncagen.dataset.manifest import read_manifest
from ncagen.hub.errors import requested_wait
from ncagen.hub.names import is_name

# The card shows rows where Pillow can draw them.
DRAWN = [PICTURE] if importlib.util.find_spec("PIL") else []


@pytest.fixture(params=["xet", pytest.param("lfs", marks=pytest.mark.slow)])
def either(request, tmp_path):
    """A Hub that stores large files in one way or the other."""
    with site(tmp_path, use_xet=request.param == "xet") as made:
        yield made


@pytest.fixture
def lfs(tmp_path):
    """One kind of file_format, where both would show the same."""
    with site(tmp_path) as made:
        yield made


def check_whole(at: Site, folder: Path, revision: str = "main") -> None:
    """The Hub has the folder's files, with a card of its own, and no branch is left."""
    found, wanted = at.published(revision), contents(folder)
    assert found.pop(CARD).startswith(b"---\n") and wanted.pop(CARD)
    assert found.pop(PICTURE, b"").startswith(b"\x89PNG") == bool(DRAWN)
    assert found == wanted
    assert not [branch for branch in at.repo.branches if branch.startswith("ncagen-")]


def shard_bytes(folder: Path) -> int:
    return sum(file.bytes for file in read_manifest(folder).files.values())


# --- what arrives ---


def test_a_push_arrives_whole_and_a_second_sends_nothing(either, smoke):
    done = either.push(smoke(), "--tag", "v1")
    sha256, head = read_manifest(smoke()).dataset_sha256, either.repo.branches["main"]
    sent, identity = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(rf"sent {10 + len(DRAWN)} files, 0\.8 MB in \d+\.\d s", sent)
    assert identity == f"{NAME}: 440 rows, sha256 {sha256}, revision {head}"
    check_whole(either, smoke())
    assert either.repo.tags == {"v1": head}
    assert [commit.title for commit in either.repo.history("main")] == ["ncagen push", "initial commit"]
    before, asked = either.hub.stored(), len(either.hub.requests)
    assert shard_bytes(smoke()) <= before <= 1.1 * shard_bytes(smoke())
    assert either.push(smoke(), "--tag", "v1") == Run(0, f"nothing to do: {NAME} is complete\n{identity}\n", "")
    assert either.hub.stored() == before
    changing = [r for r in either.hub.requests[asked:] if r.method != "GET" and "/tag/" not in r.path]
    assert changing == []


@pytest.mark.slow
def test_arrow_files_are_pushed_as_well(lfs, smoke):
    assert lfs.push(smoke("arrow"), "--quiet") == Run(0, "", "")
    check_whole(lfs, smoke("arrow"))


def test_another_dataset_takes_the_place_of_the_old_one_whole(lfs, smoke, tmp_path):
    make(tmp_path / "more", spec_of(tokens=300 * 1024, bands=["high"]))
    lfs.push(smoke())
    old, first, sent = lfs.published(), lfs.repo.branches["main"], lfs.hub.stored()
    result = json.loads(lfs.push(tmp_path / "more", "--json").out)
    assert (result["deleted"], result["revision"]) == (7, lfs.repo.branches["main"])
    check_whole(lfs, tmp_path / "more")
    assert lfs.published(first) == old  # who pinned it still has it
    assert lfs.hub.stored() - sent == shard_bytes(tmp_path / "more")


@pytest.mark.slow
def test_files_of_other_kinds_stay(lfs, smoke):
    lfs.push(smoke())
    files = dict(lfs.repo.at("main").files) | {"LICENSE": lfs.hub.store.small(b"MIT")}
    files["data/high/train-00007-of-00009.parquet"] = lfs.hub.store.small(b"of an older dataset")
    lfs.repo.add("main", "by hand", files, lfs.repo.branches["main"])
    assert "sent 0 files, 0.0 MB, and deleted 1 in" in lfs.push(smoke()).out
    assert lfs.published().keys() == {*contents(smoke()), *DRAWN, "LICENSE"}


def rows_by_the_card(at: Site) -> dict[tuple[str, str], list[int]]:
    """The candidates that whoever follows the card's patterns reads, as `datasets` does: by configuration and split."""
    files = at.published()
    metadata = yaml.safe_load(files[CARD].decode().split("---\n")[1])
    found = {}
    for config in metadata["configs"]:
        for part in config["data_files"]:
            paths = sorted(path for path in files if PurePosixPath(path).match(part["path"]))
            tables = [pq.read_table(io.BytesIO(files[path])) for path in paths]
            rows = [int(number) for table in tables for number in table["candidate"].to_numpy()]
            found[config["config_name"], part["split"]] = rows
    return found


def test_a_push_over_another_dataset_leaves_exactly_the_new_rows(lfs, smoke, tmp_path):
    """Its shards are fewer, or more, or as many, or of bands that the other has not."""
    made = {
        "fewer": spec_of(rows_per_shard=200),
        "more": spec_of(rows_per_shard=30),
        "as many": spec_of(seed=7),
        "one band": spec_of(bands=["low"], rows_per_shard=90),
    }
    for name, spec in made.items():
        lfs.publish(smoke())
        folder = tmp_path / name
        make(folder, spec)
        assert lfs.push(folder, "--quiet") == Run(0, "", "")
        check_whole(lfs, folder)
        wanted = {}
        for record in read_manifest(folder).records:
            rows = ncagen.open(folder, record.split, record.band)
            wanted[record.band, record.split] = [int(row["candidate"]) for row in rows]
        assert rows_by_the_card(lfs) == wanted, name


@pytest.mark.parametrize("name", ["train-extra.parquet", "train-x-of-00003.parquet", "validation-00000.parquet"])
def test_a_file_that_would_be_read_as_rows_is_refused(name, lfs, smoke):
    """By the patterns of a card, of this version or an older one; nothing was changed."""
    lfs.publish(smoke())
    files = dict(lfs.repo.at("main").files) | {f"data/high/{name}": lfs.hub.store.small(b"PAR1")}
    head = lfs.repo.add("main", "by hand", files, lfs.repo.branches["main"]).sha
    line = (
        f"{NAME} holds data/high/{name}, which is not a shard's name and would be read as rows: delete it there, or use"
        " another name"
    )
    assert lfs.fails("push", smoke(), NAME) == line
    assert lfs.fails("push", smoke(), NAME, "--dry-run") == line
    assert lfs.repo.branches == {"main": head}


@pytest.mark.slow
def test_a_branch_of_its_own_leaves_the_main_one(lfs, smoke):
    lfs.push(smoke(), "--revision", "next", "--tag", "v2")
    check_whole(lfs, smoke(), "next")
    assert lfs.published() == {}
    assert lfs.repo.tags["v2"] == lfs.repo.branches["next"]


@pytest.mark.slow
def test_a_private_push_makes_a_private_repository(lfs, smoke):
    assert lfs.push(smoke(), "--private", "--quiet") == Run(0, "", "")
    assert lfs.repo.private


def test_a_dry_run_says_what_would_be_sent_and_changes_nothing(lfs, smoke):
    assert lfs.push(smoke(), "--dry-run") == Run(0, f"to send to {NAME} (main): {10 + len(DRAWN)} files, 0.8 MB\n", "")
    assert lfs.hub.store.repos == {} and lfs.hub.stored() == 0
    lfs.push(smoke())
    assert lfs.push(smoke(), "--dry-run") == Run(0, f"to send to {NAME} (main): 0 files, 0.0 MB\n", "")


@pytest.mark.slow
def test_listings_of_several_pages_are_read_whole(tmp_path, smoke):
    with site(tmp_path, page=3) as paged:
        paged.push(smoke())
        check_whole(paged, smoke())
        assert paged.push(smoke()).out.startswith("nothing to do")


# --- faults ---

QUICK = [
    ("POST", "/commit/main", Drop(after=True)),
    ("POST", "/commit/ncagen", Status(503)),
    ("PUT", "/lfs/", Drop()),
]
OTHERS = [
    ("POST", "/commit/", Drop()),
    ("POST", "/commit/ncagen", Drop(after=True)),
    ("POST", "/commit/", Slow(1.0)),
    ("GET", "/tree/", Status(503)),
    ("GET", "/refs", Status(500)),
    ("GET", "/revision/main", Drop()),
    ("POST", "/preupload/", Status(429, {"Retry-After": "0"})),
    ("POST", "/branch/", Status(502)),
    ("POST", "/repos/create", Drop(after=True)),
    ("POST", "/tag/", Drop(after=True)),
    ("DELETE", "/branch/", Drop(after=True)),
    ("PUT", "/lfs/", Status(503)),
    ("POST", "/info/lfs/", Status(504)),
    ("POST", "/validate-yaml", Drop()),
    ("POST", "/paths-info/", Status(500)),
]
PASSING = [*QUICK, *(pytest.param(*fault, marks=pytest.mark.slow) for fault in OTHERS)]


@pytest.mark.parametrize(("method", "path", "fault"), PASSING)
def test_what_passes_is_waited_for(method, path, fault, lfs, smoke):
    lfs.hub.fault(method, path, fault)
    done = lfs.push(smoke(), "--tag", "v1")
    assert done.status == 0, done
    check_whole(lfs, smoke())
    assert lfs.repo.tags["v1"] == lfs.repo.branches["main"]
    assert lfs.hub.stored() <= shard_bytes(smoke())


def test_the_hub_says_how_long_to_wait_and_the_user_is_told(lfs, smoke):
    lfs.hub.fault("POST", "/commit/main", Status(429, {"Retry-After": "2"}))
    begun = time.monotonic()
    done = lfs.push(smoke())
    assert (done.status, done.err) == (0, "the Hub returned 429: retrying in 2 s\n")
    assert time.monotonic() - begun > 2


def test_a_wait_of_years_is_said_and_cut(lfs, smoke):
    """Asked for where the library itself would wait as long, and where it does not."""
    program = f"""
import sys, ncagen.hub.retry as retry
from ncagen.__main__ import main
retry.time = type("Clock", (), {{"sleep": lambda seconds: None}})
sys.argv = ["ncagen", "push", {str(smoke())!r}, {NAME!r}]
main()
"""
    lfs.hub.fault("POST", "/commit/main", Status(429, {"Retry-After": "999999999"}))
    lfs.hub.fault("POST", "/info/lfs/", Status(429, {"RateLimit": '"api";r=0;t=86400'}))
    lfs.hub.fault("GET", "/tree/", Status(503, {"Retry-After": "7200"}))
    done = lfs.run("-c", program)
    assert done.status == 0
    assert sorted(line for line in done.err.splitlines() if line.startswith("the Hub")) == [
        "the Hub returned 429 and requests a wait of 86400 s: retrying in 600 s",
        "the Hub returned 429 and requests a wait of 999999999 s: retrying in 600 s",
        "the Hub returned 503 and requests a wait of 7200 s: retrying in 600 s",
    ]
    check_whole(lfs, smoke())


@pytest.mark.slow
def test_a_commit_of_somebody_else_meanwhile_is_kept_below_ours(lfs, smoke):
    lfs.push(smoke())
    files = dict(lfs.repo.at("main").files)
    lfs.repo.add("main", "a shard less", {p: e for p, e in files.items() if "00001-of-" not in p}, None)

    def race() -> None:
        head = lfs.repo.at("main")
        lfs.repo.add("main", "by somebody", {**head.files, "NOTES.md": lfs.hub.store.small(b"mine")}, head.sha)

    lfs.hub.fault("POST", "/commit/main", Call(race), times=2)
    done = lfs.push(smoke())
    assert (done.status, done.err.count("the Hub returned 412: retrying in")) == (0, 2)
    assert lfs.published().keys() == {*contents(smoke()), *DRAWN, "NOTES.md"}
    assert [commit.title for commit in lfs.repo.history("main")][:3] == ["ncagen push", "by somebody", "by somebody"]


REFUSED = [
    ("POST", "/repos/create", 409, "{host} answers 409 for {name} (no)"),
    ("GET", "/refs", 401, "{host} does not take this login (no): run `hf auth login`, or set HF_TOKEN"),
    (
        *("POST", "/commit/main", 403),
        "{name} on {host} is not yours to write (no): use a name of your own, or a token that may write",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "status", "line"), REFUSED)
def test_what_does_not_pass_is_not_tried_again(method, path, status, line, lfs, smoke):
    if status == 401:
        lfs.push(smoke())
    before = len([r for r in lfs.hub.requests if (r.method, r.status) == (method, status)])
    lfs.hub.fault(method, path, Status(status, message="no"), times=9)
    assert lfs.fails("push", smoke(), NAME) == line.format(host=lfs.host, name=NAME)
    assert len([r for r in lfs.hub.requests if (r.method, r.status) == (method, status)]) == before + 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "999999999"}, 999999999),
        ({"Retry-After": "9" * 400}, 1e15),
        ({"Retry-After": "Thu, 01 Jan 99999 00:00:00 GMT"}, 0),
        ({"RateLimit": '"api";r=0;t=99999999999'}, 99999999999),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, 0),
    ],
)
def test_how_long_an_answer_asks_to_wait(headers, seconds):
    assert requested_wait(headers) == seconds
    assert 50 < requested_wait({"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)}) <= 60


@pytest.mark.slow
def test_a_refusal_of_xet_is_not_tried_again(smoke, tmp_path):
    """Its errors have no status, only words."""
    with site(tmp_path, use_xet=True) as at:
        at.hub.fault("GET", "xet-write-token", Status(403), times=9)
        line = f"{NAME} on {at.host} is not yours to write: use a name of your own, or a token that may write"
        assert at.fails("push", smoke(), NAME) == line
        assert len([r for r in at.hub.requests if "xet-write-token" in r.path]) == 1


# --- kills ---


def test_a_push_that_is_killed_between_commits_goes_on(either, tmp_path):
    """Of 70 shards in two groups, what was kept by a commit is not sent again."""
    folder = tmp_path / "many"
    make(folder, spec_of(tokens=65 * 1024, validation=5 * 1024, bands=["high"], rows_per_shard=1))
    running = []
    either.hub.fault("POST", "/commit/ncagen", Call(lambda: (running[0].kill(), time.sleep(0.5))), skip=1)
    running.append(either.start("push", folder, NAME))
    assert running[0].wait() == -9
    assert either.published() == {}
    sent = either.hub.stored()
    assert either.push(folder).status == 0
    check_whole(either, folder)
    again = either.hub.stored() - shard_bytes(folder)
    assert sent > 0 and again <= 0.1 * shard_bytes(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 6))])
def test_a_push_that_is_killed_at_any_moment_goes_on(seed, either, smoke, tmp_path):
    make(tmp_path / "more", spec_of(tokens=300 * 1024, bands=["high"]))
    either.push(tmp_path / "more")
    old, asked = either.published(), len(either.hub.requests)
    running: list = []
    skip = random.Random(seed).randrange(26)  # of about 30 requests
    either.hub.fault(".*", "", Call(lambda: (running[0].kill(), time.sleep(0.5))), skip=skip)
    running.append(either.start("push", smoke(), NAME))
    assert running[0].wait() == -9 and len(either.hub.requests) <= asked + skip + 8
    found = either.published()
    found.pop(CARD)
    found.pop(PICTURE, None)
    assert found in ({k: v for k, v in files.items() if k not in (CARD, PICTURE)} for files in (old, contents(smoke())))
    either.hub.faults.clear()
    assert either.push(smoke()).status == 0
    check_whole(either, smoke())


@pytest.mark.slow
def test_a_push_that_is_stopped_says_that_it_goes_on(either, smoke):
    running: list = []
    either.hub.fault("POST", "/commit/ncagen", Call(lambda: (running[0].stop(), time.sleep(3))))
    running.append(either.start("push", smoke(), NAME))
    assert running[0].wait() == 130
    assert running[0].err == "ncagen: stopped; run the same command to resume\n"
    assert either.push(smoke()).status == 0
    check_whole(either, smoke())


@pytest.mark.slow
def test_a_bar_counts_bytes_on_a_terminal(lfs, smoke, monkeypatch):
    for name, value in lfs.environment.items():
        monkeypatch.setenv(name, value)
    text = terminal("push", smoke(), NAME)
    assert re.search(r"100%\|.*\| 440/440 \[.*rows/s\]", text)
    assert re.search(r"100%\|.*\| 75\dk/75\dk \[.*B/s\]", text)
    assert "Processing Files" not in text


# --- mistakes ---


def test_a_name_that_is_none_is_refused(lfs, smoke):
    for name in (
        "nca",
        "user/nca/high",
        "user/",
        "-/x",
        "user/a..b",
        "user/x.git",
        "https://hf.co/u/x",
        "u/" + 95 * "x",
    ):
        assert not is_name(name), name
    for name in ("user/nca", "A-1/b_2.c", "user/0.35-0.45"):
        assert is_name(name), name
    line = "'user/nca/high' is not the name of a dataset on the Hub: use user/name, as in ada/nca-high"
    assert lfs.fails("push", smoke(), "user/nca/high") == line
    assert lfs.fails("pull", "user/nca/high") == line


def test_who_is_not_logged_in_is_told_how(lfs, smoke):
    line = f"not logged in to {lfs.host}: run `hf auth login`, or set HF_TOKEN"
    assert lfs.fails("push", smoke(), NAME, HF_TOKEN=None) == line
    line = f"{lfs.host} does not take this login (Invalid username or password.): run `hf auth login`, or set HF_TOKEN"
    assert lfs.fails("push", smoke(), NAME, HF_TOKEN="hf_wrong") == line
    assert lfs.hub.store.repos == {}


def test_a_repository_that_is_not_ours_is_left_alone(lfs, smoke):
    line = lfs.fails("push", smoke(), "other/nca")
    assert line == (
        f"other/nca on {lfs.host} is not yours to write (You don't have the rights to create a repo under this"
        " namespace): use a name of your own, or a token that may write"
    )
    lfs.push(smoke())
    line = lfs.fails("push", smoke(), NAME, "--tag", "v1", HF_TOKEN=OTHER)
    assert line == (
        f"{NAME} on {lfs.host} is not yours to write (You don't have the rights to write to this repository):"
        " use a name of your own, or a token that may write"
    )
    assert lfs.repo.tags == {}


@pytest.mark.slow
def test_a_repository_of_something_else_is_left_alone(lfs, smoke):
    repo = lfs.hub.store.create("dataset", NAME)
    repo.add("main", "mine", {**repo.at("main").files, "book.txt": lfs.hub.store.small(b"words")}, None)
    line = lfs.fails("push", smoke(), NAME)
    assert line == f"{NAME} holds files that are not a dataset of ncagen (book.txt): use another name"
    assert lfs.published() == {"book.txt": b"words"}


@pytest.mark.slow
def test_a_public_repository_is_not_taken_for_a_private_one(lfs, smoke):
    lfs.hub.store.create("dataset", NAME)
    line = lfs.fails("push", smoke(), NAME, "--private")
    assert line == f"{NAME} is public: make it private in its settings on the Hub, or leave --private out"


@pytest.mark.slow
def test_a_tag_is_never_moved(lfs, smoke, tmp_path):
    lfs.push(smoke(), "--tag", "v1")
    tagged, before = lfs.repo.tags["v1"], lfs.published()
    make(tmp_path / "other", spec_of(seed=1))
    line = lfs.fails("push", tmp_path / "other", NAME, "--tag", "v1")
    assert line == f"{NAME} has a tag 'v1' already, at commit {tagged[:12]}: use another --tag"
    assert (lfs.repo.tags, lfs.published()) == ({"v1": tagged}, before)


def test_a_folder_that_is_not_a_whole_dataset_is_not_pushed(lfs, smoke, tmp_path):
    assert lfs.fails("push", tmp_path, NAME) == f"{tmp_path} holds no dataset: there is no manifest.json in it"
    folder = tmp_path / "damaged"
    shutil.copytree(smoke(), folder)
    path = folder / "data/high/train-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "notes.txt").write_text("mine")
    size = path.stat().st_size
    assert lfs.fails("push", folder, NAME) == (
        f"{folder} was not pushed: data/high/train-00001-of-00003.parquet: it has {size} bytes, not {size + 1}"
        " (and 1 other problem); the same ncagen build repairs a shard"
    )
    assert lfs.hub.requests == [] and lfs.hub.store.repos == {}


@pytest.mark.slow
def test_a_file_that_changes_after_it_was_verified_is_not_published(lfs, smoke, tmp_path):
    folder = tmp_path / "changing"
    shutil.copytree(smoke(), folder)
    path = folder / "data/high/train-00001-of-00003.parquet"
    lfs.hub.fault("POST", "/repos/create", Call(lambda: path.write_bytes(b"other")))
    line = lfs.fails("push", folder, NAME)
    assert line == (
        "data/high/train-00001-of-00003.parquet has changed since it was verified: nothing was published; push again"
    )
    assert lfs.published() == {}


def test_without_a_network_one_line_says_so_at_once(lfs, smoke):
    begun = time.monotonic()
    line = lfs.fails("push", smoke(), NAME, HF_ENDPOINT="http://user:secret@127.0.0.1:9")
    assert re.fullmatch(
        r"127\.0\.0\.1:9 cannot be reached \(\[Errno 111\] Connection refused\):"
        r" look at the network, or at HF_ENDPOINT if it is set",
        line,
    )
    assert "secret" not in line and time.monotonic() - begun < 30
    line = lfs.fails("push", smoke(), NAME, HF_HUB_OFFLINE="1")
    assert line == f"{lfs.host} is not asked because HF_HUB_OFFLINE is set: unset it"


# --- secrets ---


@pytest.mark.parametrize("message", ["no", pytest.param(f"the token {TOKEN} may not do that", marks=pytest.mark.slow)])
def test_a_token_appears_nowhere(message, either, smoke, tmp_path):
    """Not in what is printed with all logging on, nor in any file that is left, nor in what was published."""
    either.hub.fault("POST", "/commit/main", Status(403, {"X-Error-Message": message}, message))
    logging = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug", "RUST_LOG": "debug", "HF_XET_LOG_LEVEL": "debug"}
    done = either.push(smoke(), **logging)
    assert done.status == 2 and "curl" in done.err
    ours = done.err.splitlines()[-1]
    assert ours.startswith(f"ncagen: {NAME} on {either.host} is not yours to write") and TOKEN not in ours
    if TOKEN not in message:  # the library's own log has what a server says
        assert TOKEN not in done.out + done.err
    left = contents(tmp_path)
    assert left and not [name for name, content in left.items() if TOKEN.encode() in content]
    assert either.push(smoke()).status == 0
    assert not [path for path, content in either.published().items() if TOKEN.encode() in content]
