"""The commands as a user runs them: what they print, how they end, and the one line for every mistake."""

import errno
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest
from conftest import AS_NOBODY, FLAGS, Run, contents, run, run_here, spec_of

from ncagen.dataset.manifest import read_manifest
from ncagen.factory.settings import from_settings

SMALL = ["--tokens=20480", "--validation=0", "--band=high"]
ESCAPE = "\x1b["
COMMANDS = [
    "build",
    "verify",
    "show",
    "view",
    "export",
    "bench",
    "receipt",
    "rebuild",
    "push",
    "pull",
    "audit",
    "evaluate",
    "corpus",
    "recommend",
]


@pytest.fixture(scope="module", autouse=True)
def compiled(smoke):
    """Kernels in the cache, so that no command has to say that it compiles them."""
    smoke("parquet")


def fails(*arguments: object, **options) -> str:
    """The one line that a refused command prints, which prints nothing else. Only options need a process."""
    done = run(*arguments, **options) if options.keys() - {"cwd"} else run_here(*arguments, **options)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("ncagen: ") and done.err.count("\n") == 1 and done.err.endswith("\n")
    return done.err.removeprefix("ncagen: ").removesuffix("\n")


def terminal(*arguments: object, columns: int = 100) -> str:
    """What a command prints when it runs on a terminal."""
    command = [sys.executable, "-m", "ncagen", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment)
    os.close(other)
    pieces = []
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError as error:
            if error.errno == errno.EIO:  # how Linux says that nobody has the terminal open any more
                break
            raise
        if not piece:
            break
        pieces.append(piece)
    os.close(main)
    assert process.wait(60) == 0
    return b"".join(pieces).decode()


# --- build ---


def test_build_from_flags_makes_the_very_dataset(smoke, tmp_path):
    done = run("build", *FLAGS, "--out", tmp_path / "a", "--workers", 1)
    assert (done.status, done.err) == (0, "")
    sha256 = read_manifest(smoke()).dataset_sha256
    made, identity = done.out.splitlines()
    assert re.fullmatch(r"made 440 rows from [\d,]+ candidates in \d+\.\d s \(\d+\.\d\dM tokens/s\)", made)
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'a'))}: 440 rows, \d+\.\d MB, sha256 {sha256}", identity)
    assert contents(tmp_path / "a") == contents(smoke())


def test_build_from_an_order_makes_the_same(smoke, tmp_path):
    order = tmp_path / "spec.toml"
    order.write_text(
        f'tokens = 204800\nvalidation = "20480"\nbands = ["high", "medium"]\n'
        f'rows-per-shard = 70\nout = "{tmp_path}/a"\n'
    )
    done = run("build", order, "--format", "arrow", "--quiet")
    assert done == Run(0, "", "")
    assert contents(tmp_path / "a") == contents(smoke("arrow"))


def test_building_again_has_nothing_to_do(smoke, tmp_path):
    shutil.copytree(smoke(), tmp_path / "a")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    done = run("build", *FLAGS, "--out", tmp_path / "a")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"nothing to do: {tmp_path}/a is complete"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before


def test_build_prints_json_for_machines(tmp_path):
    done = run("build", *SMALL, "--out", tmp_path / "a", "--json")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    manifest = read_manifest(tmp_path / "a")
    assert result["dataset_sha256"] == manifest.dataset_sha256
    assert (result["folder"], result["rows"], result["rows_made"]) == (str(tmp_path / "a"), 20, 20)
    assert result["candidates"] >= sum(record.tried for record in manifest.records)
    assert result["bytes"] == sum(file.bytes for file in manifest.files.values())


def test_every_flag_reaches_the_spec(tmp_path):
    flags = """--tokens 3K --validation 1K --band 0.2-0.9 --seed 7 --preset paper --rows-per-shard 2 --states 5 --grid 8
        --patch 2 --seq-len 1k --warmup 3 --stride 2 --temperature 0.01 --identity-bias -0.5 --start categorical
        --no-channel-wrap --trajectories-per-rule 2 --format arrow --workers 1 --quiet"""
    assert run("build", *flags.split(), "--out", tmp_path / "a") == Run(0, "", "")
    settings = {
        "tokens": 3000,
        "validation": 1000,
        "band": "0.2-0.9",
        "seed": 7,
        "rows_per_shard": 2,
        "states": 5,
        "grid": 8,
        "patch": 2,
        "seq_len": 1024,
        "warmup": 3,
        "stride": 2,
        "temperature": 0.01,
        "identity_bias": -0.5,
        "start": "categorical",
        "channel_wrap": False,
        "trajectories_per_rule": 2,
    }
    manifest = read_manifest(tmp_path / "a")
    assert (manifest.spec, manifest.file_format) == (from_settings(settings), "arrow")


def test_build_shows_a_bar_on_a_terminal_only(tmp_path):
    text = terminal("build", *SMALL, "--out", tmp_path / "a")
    assert re.search(r"100%\|.*\| 20\.0/20\.0 .*M tokens/s, \d+\.\d% kept", text)
    assert "rows/s" not in terminal("build", *SMALL, "--out", tmp_path / "b", "--quiet")


def test_plan_says_what_a_build_takes_and_builds_nothing(tmp_path):
    done = run("build", "--tokens", "164M", "--band", "high", "--plan", "--out", tmp_path / "a", "--workers", 2)
    assert (done.status, done.err, list(tmp_path.iterdir())) == (0, "", [])
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert lines["rows"] == "161,134 of 1026 tokens"
    assert lines["shards"] == "41 (41 parquet files)"
    assert re.fullmatch(r"about [\d,]+ \(kept: high \d+\.\d%\)", lines["candidates"])
    assert re.fullmatch(r"about \d+ MB", lines["bytes"])
    assert re.fullmatch(r"about [\d.]+ (s|min|h) on 2 workers of this machine", lines["time"])
    assert re.fullmatch(
        r"below .*%, low .*%, medium .*%, upper .*%, high .*%; pure noise scores 0\.\d{3}", lines["bands"]
    )


def test_plan_estimates_what_the_build_then_takes(smoke):
    done = run("build", *FLAGS, "--plan", "--json")
    assert (done.status, done.err) == (0, "")
    plan = json.loads(done.out)
    assert (plan["rows"], plan["shards"], plan["files"]) == (440, 4, 8)
    manifest = read_manifest(smoke())
    for band in ("high", "medium"):
        records = [record for record in manifest.records if record.band == band]
        share = sum(record.rows for record in records) / sum(record.tried for record in records)
        assert abs(plan["acceptance"][band] - share) < 0.1
    size = sum(file.bytes for file in manifest.files.values())
    assert 0.8 < plan["bytes"] / size < 1.25


# --- verify ---


def test_verify_prints_one_verdict(smoke):
    done = run("verify", smoke())
    sha256 = read_manifest(smoke()).dataset_sha256
    assert done == Run(0, f"ok: {smoke()}: 8 files, 440 rows, sha256 {sha256}\n", "")


def test_verify_rebuilds_all_rows_or_some(smoke):
    sha256 = read_manifest(smoke("arrow")).dataset_sha256
    every = run("verify", smoke("arrow"), "--regenerate", "all")
    assert every == Run(0, f"ok: {smoke('arrow')}: 8 files, 440 rows, 440 rebuilt, sha256 {sha256}\n", "")
    some = run("verify", smoke(), "--regenerate", "1%", "--json")
    result = json.loads(some.out)
    assert (some.status, some.err, result["verdict"], result["problems"]) == (0, "", "ok", [])
    assert 8 <= result["rebuilt"] < 50  # one of each shard at least


def test_verify_fails_with_status_1_and_says_why(smoke, tmp_path):
    folder = tmp_path / "a"
    shutil.copytree(smoke(), folder)
    path = folder / "data/high/train-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    problem = f"data/high/train-00001-of-00003.parquet: it has {size} bytes, not {size + 1}"
    assert run("verify", folder) == Run(1, f"failed: {folder}: 1 problem\n", problem + "\n")
    (folder / "data/notes.txt").write_text("mine")
    assert run("verify", folder, "--quiet") == Run(1, f"failed: {folder}: 2 problems\n", "")
    done = run("verify", folder, "--json")
    result = json.loads(done.out)
    assert (done.status, done.err, result["verdict"], result["rows"]) == (1, "", "failed", 370)
    assert result["problems"] == [problem, "data/notes.txt: does not belong to the dataset"]


# --- show ---


def test_show_prints_figures_and_a_plain_trajectory(smoke):
    done = run("show", smoke(), "--row", 150)
    assert (done.status, done.err) == (0, "")
    manifest = read_manifest(smoke())
    assert ESCAPE not in done.out
    assert "27 grids of 12 x 12 in 10 states = 1026 tokens" in done.out
    assert manifest.dataset_sha256 in done.out
    assert re.search(r"\nrow 150 \(high train\): candidate \d+, gzip bytes \d+, gzip ratio 0\.\d{3}\n", done.out)
    grids = [line for line in done.out.splitlines() if re.fullmatch(r"[0-9]{12}( [0-9]{12})*", line)]
    assert sum(len(line.split()) for line in grids) == 27 * 12
    assert max(len(line) for line in grids) <= 80


def test_show_draws_the_row_it_names(smoke):
    import ncagen

    done = run(
        "show", smoke(), "--row", 3, "--split", "validation", "--band", "medium", env={**os.environ, "COLUMNS": "12"}
    )
    lines = done.out.splitlines()
    start = lines.index("t=10") + 1
    tokens = ncagen.open(smoke(), "validation", "medium")[3]["input_ids"].astype(int)
    first = tokens[1:7]  # the upper row of patches: cells a b / c d are a + 10 b + 100 c + 1000 d
    assert lines[start] == "".join(f"{t % 10}{t // 10 % 10}" for t in first)
    assert lines[start + 1] == "".join(f"{t // 100 % 10}{t // 1000 % 10}" for t in first)


def test_show_draws_in_colour_on_a_terminal(smoke):
    text = terminal("show", smoke())
    assert text.count("▀") == 27 * 6 * 12
    assert ESCAPE + "38;2;" in text
    widths = [len(re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\r")) for line in text.split("\n") if "▀" in line]
    assert max(widths) <= 100


@pytest.mark.slow
def test_show_draws_any_number_of_states(tmp_path):
    flags = "--tokens 1K --validation 0 --band 0-2 --states 100 --grid 9 --patch 1 --quiet"
    assert run("build", *flags.split(), "--out", tmp_path / "a").status == 0
    done = run("show", tmp_path / "a", "--grids")
    assert (done.status, done.err) == (0, "")
    assert sum(len(line) == 9 + 70 for line in done.out.splitlines()) > 0
    assert run("show", tmp_path / "a", "--grids", env={**os.environ, "PYTHONIOENCODING": "ascii"}).status == 0
    assert terminal("show", tmp_path / "a").count("▀") > 0


def test_show_prints_json(smoke):
    done = run("show", smoke(), "--json")
    figures = json.loads(done.out)
    assert (done.status, done.err) == (0, "")
    manifest = read_manifest(smoke())
    assert figures["dataset_sha256"] == manifest.dataset_sha256
    assert figures["spec"] == manifest.spec.to_dict()
    tried = sum(r.tried for r in manifest.records if (r.band, r.split) == ("high", "train"))
    part = {"band": "high", "split": "train", "rows": 200, "shards": 3, "tokens": 204800, "candidates": tried}
    assert figures["parts"][0] == part
    assert [(p["band"], p["split"]) for p in figures["parts"][1:3]] == [("high", "validation"), ("medium", "train")]


def test_show_says_what_there_is(smoke, tmp_path):
    assert fails("show", smoke(), "--row", 200) == "row 200 is out of range: use 0 to 199"
    assert run("show", smoke(), "--row", -1).status == 0
    expected = f"{smoke()} has no 'train' rows in band 'low': it has train, validation in high, medium"
    assert fails("show", smoke(), "--band", "low") == expected
    expected = f"{smoke()} has no 'test' rows in band 'high': it has train, validation in high, medium"
    assert fails("show", smoke(), "--split", "test") == expected


def test_a_closed_pipe_is_no_error_to_talk_about(smoke):
    command = f"{sys.executable} -m ncagen show {smoke()} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] in ("0", "141")


def test_a_full_standard_output_is_one_line(smoke):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ncagen", "verify", smoke()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "ncagen: cannot print: No space left on device\n")


FAILING = """
import click, os, sys
from ncagen import cli
@cli.main.command()
def fail():
    click.echo("about to fail")
    raise {error}
sys.exit(cli.run(["fail"]))
"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("ConnectionError(5, 'the store is gone')", "the store is gone"),
        ("ConnectionError('the store is gone\\nby and by')", "the store is gone"),
        ("BrokenPipeError(32, 'Broken pipe')", "Broken pipe"),
        ("OSError(28, 'No space left on device')", "No space left on device"),
        ("OSError(28, 'No space left on device', 'a/b')", "a/b: No space left on device"),
        ("OSError()", "OSError"),
    ],
)
def test_an_error_of_the_system_is_no_failure_to_print(error, line):
    """Whatever it is about, the line does not speak of standard output, and no status says that all is well."""
    done = subprocess.run([sys.executable, "-c", FAILING.format(error=error)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "about to fail\n", f"ncagen: {line}\n")


def test_help_and_long_output_into_a_full_device(smoke):
    for words in (["--help"], ["show", "--help"], ["--version"], ["show", smoke()], ["show", smoke(), "--json"]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "ncagen", *map(str, words)]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (2, "ncagen: cannot print: No space left on device\n"), words


def test_a_page_on_a_full_disk_is_one_line_and_no_file(smoke, tiny_disk):
    (tiny_disk / "fill").write_bytes(bytes(360 * 1024))
    line = f"{tiny_disk}/page.html: No space left on device"
    assert fails("view", smoke(), "--save", tiny_disk / "page.html") == line
    assert [path.name for path in tiny_disk.iterdir()] == ["fill"]


# --- bench, help, version ---


@pytest.mark.slow
def test_bench_prints_json():
    done = run("bench", "--tokens", "100K", "--rounds", 1, "--workers", 1, "--json")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    assert (result["rounds"], result["workers"], result["rows"]) == (1, 1, 98)
    assert result["ratio"] == pytest.approx(result["rows_per_second"] * result["zlib_microseconds"] / 1e6)
    assert set(result["stage_microseconds"]) >= {"rules", "rollout", "score", "write"}


@pytest.mark.slow
def test_bench_measures_what_is_asked_for():
    def kept(*flags):
        done = run("bench", "--tokens", "20K", "--rounds", 1, "--json", *flags)
        assert done.status == 0, done.err
        return json.loads(done.out)["acceptance"]

    default = kept()
    assert kept("--band", "0-2") == 1.0
    assert kept("--no-channel-wrap") != default
    assert kept("--warmup", 0) != default


def test_bench_refuses_a_band_out_of_reach():
    assert fails("bench", "--states", 2).startswith(
        "band high (0.5 to 1) is out of reach of 27 grids of 12 x 12 in 2 states: "
    )


def test_ncagen_alone_prints_its_help():
    alone, asked = run(), run("--help")
    assert (alone.status, asked.status) == (2, 0)
    assert alone.out == asked.out and alone.err == asked.err == ""
    assert asked.out.startswith("Usage: ncagen [OPTIONS] [COMMAND] [ARGS]...\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = run_here(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"Usage: ncagen {command} [OPTIONS]")
    assert f"\n  {command} " in run_here("-h").out


def test_version_is_the_packages():
    from importlib.metadata import version

    assert run("--version") == Run(0, version("ncagen") + "\n", "")


# --- what cannot be done: one line, status 2, nothing written ---


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refused_command_ends_its_process_with_one_line(command, tmp_path):
    """Every command as a user runs it; what each refuses, and how, the other tests try within their own process."""
    done = run(command, "--no-such-option", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"ncagen: No such option:? '?--no-such-option'?\.?.*\n", done.err)
    assert list(tmp_path.iterdir()) == []


BAD = [
    (
        "--tokens 12Q --band high",
        "tokens '12Q' is not a number of tokens: use digits and K, M, B or T, as in 164M",
    ),
    ("--tokens 0 --band high", "tokens '0' is too few: use 1 or more, as in 164M"),
    ("--tokens -5 --band high", "tokens '-5' is too few: use 1 or more, as in 164M"),
    ("--band high", "tokens is missing: say how many, as in --tokens 164M"),
    ("--tokens 1M", "no band is given: use --band high (web text, math), --band medium (code) or --for code"),
    (
        "--tokens 1M --band loud",
        "band 'loud' is not known: use low, medium, upper, high, or limits such as 0.35-0.45",
    ),
    (
        "--tokens 1M --band 0.5-0.5",
        "band '0.5-0.5' is empty: its first limit must be below its second, as in 0.35-0.45",
    ),
    (
        "--tokens 1M --band 0.5-0.3",
        "band '0.5-0.3' is empty: its first limit must be below its second, as in 0.35-0.45",
    ),
    ("--tokens 1M --for poems", "domain 'poems' is not known: use web, math, code"),
    ("--tokens 1M --band high --preset mine", "preset 'mine' is not known: use released or paper"),
    (
        "--tokens 1M --band high --grid 12 --patch 5",
        "grid 12 is not divisible by patch 5: use a patch of 1, 2, 3, 4, 6, 12",
    ),
    (
        "--tokens 1M --band high --patch 4",
        "vocabulary of states 10 to the power 16 (the cells of a patch), and 2, is over 4294967296:"
        " use fewer states or a smaller patch",
    ),
    ("--tokens 1M --band high --temperature -1", "temperature -1.0 is out of range: use 0 to 1"),
    ("--tokens 1M --band high --temperature hot", "Invalid value for '--temperature': 'hot' is not a valid float."),
    ("--tokens 1M --band high --seq-len 129k", "seq_len 132096 is out of range: use 64 to 131072"),
    ("--tokens 1M --band high --format csv", "Invalid value for '--format': 'csv' is not one of 'parquet', 'arrow'."),
    ("--tokens 1M --band high --workers 0", "Invalid value for '--workers': 0 is not in the range x>=1."),
    ("missing.toml", "spec file 'missing.toml' cannot be read: No such file or directory"),
]


@pytest.mark.parametrize(("flags", "line"), BAD, ids=[flags for flags, _ in BAD])
def test_bad_input_is_one_line_and_writes_nothing(flags, line, tmp_path):
    assert fails("build", *flags.split(), "--out", "made/here", cwd=tmp_path) == line
    assert list(tmp_path.iterdir()) == []


def test_a_band_out_of_reach_says_what_noise_scores_and_what_was_seen(tmp_path):
    line = fails("build", *SMALL, "--states", 2, "--out", tmp_path / "a")
    number = r"0\.\d{3}"
    assert re.fullmatch(
        rf"band high \(0\.5 to 1\) is out of reach of 27 grids of 12 x 12 in 2 states: pure noise scores {number} there"
        rf" \(at most {number}\), and \d+ candidates scored {number} to {number}, half of them {number} or more:"
        r" use a band within that",
        line,
    )
    noise, most, low, high, half = map(float, re.findall(number, line))
    assert low < half < high < most < 0.5 and 0.2 < noise < most
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_needed(tmp_path):
    assert fails("build", *SMALL, cwd=tmp_path) == "no folder is given: use --out, as in --out data/nca-high"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (["--seed", "1"], "seed: 0 -> 1"),
        (["--tokens", "300K"], "tokens: 204800 -> 300000"),
        (["--format", "arrow"], "format: parquet -> arrow"),
        (["--band", "low"], "bands: high+medium -> high+medium+low"),
        (
            ["--preset", "paper", "--stride", "2"],
            "start: categorical -> uniform; stride: 1 -> 2; temperature: 0.0001 -> 0.001",
        ),
    ],
)
def test_another_dataset_in_the_folder_is_kept(smoke, changes, difference):
    before = contents(smoke())
    line = fails("build", *FLAGS, *changes, "--out", smoke())
    assert line == f"{smoke()} holds another dataset ({difference}): use another --out or the same spec"
    assert contents(smoke()) == before


def test_a_folder_made_by_another_version_is_kept(smoke, tmp_path):
    shutil.copytree(smoke(), tmp_path / "a")
    path = tmp_path / "a/manifest.json"
    path.write_text(re.sub(r'"pyarrow": "[^"]*"', '"pyarrow": "1.0"', path.read_text()))
    before = contents(tmp_path / "a")
    line = fails("build", *FLAGS, "--out", tmp_path / "a")
    import pyarrow

    assert f"(pyarrow: 1.0 -> {pyarrow.__version__})" in line
    assert contents(tmp_path / "a") == before


@pytest.mark.parametrize("name", ["notes.txt", "README.md", "data/high/train-00000-of-00001.parquet", ".git/config"])
def test_foreign_files_are_kept(tmp_path, name):
    (tmp_path / "a" / name).parent.mkdir(parents=True)
    (tmp_path / "a" / name).write_text("mine")
    line = fails("build", *SMALL, "--out", tmp_path / "a")
    assert line == f"{tmp_path}/a holds unrelated files ({name}): use another --out"
    assert contents(tmp_path / "a") == {name: b"mine"}


def test_an_output_that_is_a_file_is_kept(tmp_path):
    (tmp_path / "a").write_text("mine")
    assert fails("build", *SMALL, "--out", tmp_path / "a") == f"{tmp_path}/a is a file: use another --out"
    assert fails("build", *SMALL, "--out", tmp_path / "a/b/c") == f"{tmp_path}/a is a file: use another --out"
    assert contents(tmp_path) == {"a": b"mine"}


AS_NOBODY_RUNS = f"""
import os, sys
import pyarrow.compute
from importlib import import_module
from pkgutil import iter_modules
from ncagen import cli, commands, factory
for package in (commands, factory):
    for module in iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)
from ncagen.factory import plan
from ncagen.factory.settings import from_settings
from ncagen.dataset import verify
from ncagen.sources.nca import noise_share
from ncagen.view import terminal
if "--workers=1" in sys.argv:  # the one that gets as far as to need kernels
    plan.pilot(from_settings({{"tokens": 1, "band": "high"}}))
{AS_NOBODY}
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.fixture
def shared():
    """A folder that every user can enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_without_permission_is_left_alone(shared, smoke):
    closed, secret, half = shared / "closed", shared / "secret", shared / "half"
    closed.mkdir(0o755)
    secret.mkdir(0o700)
    shutil.copytree(smoke(), half)
    (half / "data/high/train-00000-of-00003.parquet").unlink()
    half.chmod(0o777)
    before = contents(shared)
    denied = "cannot be written (Permission denied): use another --out"
    program = [sys.executable, "-c", AS_NOBODY_RUNS]
    for flags, place in ((SMALL, closed / "a"), (SMALL, secret / "a"), ([*FLAGS, "--workers=1"], half)):
        line = fails("build", *flags, "--out", place, program=program, cwd="/")
        assert re.fullmatch(rf"{shared}/(closed|secret/a/\S+|half/data/high\S*) {re.escape(denied)}", line)
    line = fails("verify", secret / "a", program=program, cwd="/")
    assert line == f"{secret}/a/manifest.json cannot be read: Permission denied"
    assert contents(shared) == before


GOOD_SPEC = 'tokens = "1M"\nband = "high"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD_SPEC + "sede = 1\n", "setting 'sede' is not known: did you mean 'seed'?"),
        (GOOD_SPEC + 'format = "csv"\n', "format 'csv' is not known: use parquet or arrow"),
        (GOOD_SPEC + 'format = ["arrow"]\n', "format ['arrow'] is not known: use parquet or arrow"),
        (GOOD_SPEC + 'seed = "x"\n', "seed 'x' is not a whole number"),
        (
            'tokens = "1M"\nband = 5\n',
            "band '5' is not known: use low, medium, upper, high, or limits such as 0.35-0.45",
        ),
        ("tokens = \n", "spec file 'spec.toml' is not TOML: Invalid value (at line 1, column 10)"),
    ],
)
def test_a_bad_spec_file_is_one_line_and_writes_nothing(tmp_path, text, line):
    (tmp_path / "spec.toml").write_text(text)
    assert fails("build", "spec.toml", "--out", "a", cwd=tmp_path) == line
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


def test_a_spec_file_and_flags_are_too_much(tmp_path):
    (tmp_path / "spec.toml").write_text('tokens = "1M"\nband = "high"\n')
    for flags, name in (("--seed 1", "--seed"), ("--for code", "--for"), ("--rows-per-shard 5", "--rows-per-shard")):
        line = fails("build", "spec.toml", *flags.split(), "--out", "a", cwd=tmp_path)
        assert line == f"{name} and the spec file 'spec.toml' are both given: use one, or edit a copy of the file"
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_folder_without_a_dataset_is_refused(command, tmp_path):
    assert fails(command, tmp_path) == f"{tmp_path} holds no dataset: there is no manifest.json in it"
    missing = tmp_path / "missing"
    assert fails(command, missing) == (
        f"{missing} does not exist: use a dataset's folder, a URL or user/name on the Hub"
    )
    (tmp_path / "building.json").write_text("{}")
    assert fails(command, tmp_path) == f"{tmp_path} is not finished: run the same ncagen build again to complete it"
    assert fails(command) == f"Missing argument 'FOLDER_OR_REPO'; see ncagen {command} --help"


def test_unknown_commands_and_options_are_refused():
    line = fails("biuld")
    assert line.startswith("No such command 'biuld'") and line.endswith("; see ncagen --help")
    assert fails("build", "--toknes", "5").startswith("No such option '--toknes'") or fails(
        "build", "--toknes", "5"
    ).startswith("No such option: --toknes")
    assert fails("build", "a", "b") == "Got unexpected extra argument (b)"


@pytest.mark.parametrize("share", ["0%", "101%", "1", "nan%", "some", "-1%", ""])
def test_a_share_that_is_none_is_refused(smoke, share):
    assert fails("verify", smoke(), f"--regenerate={share}") == f"--regenerate {share!r} is not a share: use 1% or all"


def test_the_flags_and_the_settings_of_these_tests_agree(smoke):
    assert read_manifest(smoke()).spec == spec_of()
