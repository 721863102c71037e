"""Experiments: several arms from one file, built, resumed, read and verified by the commands that users type."""

import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, contents, error_of, make, run, run_here
from faults.processes import struck
from test_cli import terminal
from test_second_source import Digits

import ncagen
from ncagen import sources
from ncagen.dataset.experiment import ExperimentManifest, read_experiment
from ncagen.dataset.experiment_files import EXPERIMENT, EXPERIMENT_BUILDING
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.factory.events import DatasetBegun, RowsMade
from ncagen.factory.experiment import experiment_from_settings
from ncagen.factory.plan import pilot
from ncagen.factory.settings import from_settings

# 100 rows in 3 shards and 10 in 1 of each arm.
SHARED = {"tokens": 100 * 1024, "validation": 10 * 1024, "rows_per_shard": 40, "name": "three", "vocabulary": "shared"}
ARMS = {
    "high": {"band": "high"},
    "medium": {"band": "medium", "tokens": 60 * 1024},
    "digits": {"source": "digits", "band": "all"},
}
SETTINGS = SHARED | {"arm": ARMS}

TOML = """
tokens = "60K"
validation = "10K"
rows_per_shard = 20
[arm.high]
band = "high"
[arm.medium]
band = "medium"
"""


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources.SOURCES, "digits", Digits)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, registered) -> Path:
    """The experiment of SETTINGS. Do not change it; copy it."""
    folder = tmp_path_factory.mktemp("experiment") / "a"
    ncagen.build_experiment(SETTINGS, folder, workers=2)
    return folder


@pytest.fixture
def copied(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "a"))


@pytest.fixture
def file(tmp_path) -> Path:
    """A TOML file with two arms of automata."""
    path = tmp_path / "two.toml"
    path.write_text(TOML)
    return path


def test_each_arm_is_the_dataset_that_a_build_of_its_own_makes(folder, tmp_path):
    shared = {key: SHARED[key] for key in ("tokens", "validation", "rows_per_shard")}
    for name, settings in ARMS.items():
        make(tmp_path / name, from_settings(shared | settings))
        assert contents(folder / name) == contents(tmp_path / name)
    assert {path.name for path in folder.iterdir()} == {*ARMS, EXPERIMENT}


def test_experiment_json_names_every_arm(folder):
    value = json.loads((folder / EXPERIMENT).read_bytes())
    assert (value["name"], value["experiment"]["vocabulary"]) == ("three", 11 + 2 * 10002)
    manifest = read_manifest(folder / "medium")
    assert value["experiment"]["arms"]["medium"] == {
        "path": "medium",
        "spec_sha256": manifest.spec.sha256,
        "dataset_sha256": manifest.dataset_sha256,
        "offset": 11 + 10002,
        "vocabulary": 10002,
        "rows": {"train": 60, "validation": 10},
        "tokens": {"train": 60 * 1024, "validation": 10 * 1024},
    }
    assert [arm["offset"] for arm in value["experiment"]["arms"].values()] == [0, 11, 11 + 10002]


def test_it_is_the_same_whatever_the_workers_and_the_order_of_the_arms(folder, tmp_path):
    other = SHARED | {"arm": dict(reversed(ARMS.items()))}
    ncagen.build_experiment(other, tmp_path / "b", workers=1)
    assert contents(tmp_path / "b") == contents(folder)


def test_the_hash_does_not_depend_on_the_file_format(folder, tmp_path):
    found = ncagen.build_experiment(SETTINGS, tmp_path / "b", file_format="arrow")
    assert found.experiment_sha256 == read_experiment(Folder(folder)).experiment_sha256
    assert (tmp_path / "b" / EXPERIMENT).read_bytes() == (folder / EXPERIMENT).read_bytes()


def test_arms_are_read_by_name_and_shifted_by_their_layout(folder):
    experiment = ncagen.open_experiment(folder)
    assert repr(experiment) == f"<ncagen.Experiment {folder}: arms digits, high, medium>"
    ids = []
    for name, arm in experiment.arms.items():
        rows = arm.open()
        assert (len(rows), rows.split) == (60 if name == "medium" else 100, "train")
        assert len(arm.open("validation")) == 10
        stream = ncagen.Stream(rows, batch_size=len(rows), layout=arm.layout(labels=None))
        ids.append(np.unique(next(iter(stream))["input_ids"]))
        assert ids[-1].min() - arm.offset == rows.rows(np.arange(len(rows)))["input_ids"][:, :1024].min()
    digits, high, medium = ids
    assert digits.max() == 10 < 11 <= high.min() and high.max() < 10013 <= medium.min()
    assert medium.max() < experiment.vocabulary == 20015
    assert repr(arm.layout()) == "Layout(token_offset=10013, vocab_size=20015)"
    assert repr(arm) == f"<ncagen.ExperimentDataset {folder / 'medium'}: ids from 10013 of 20015>"
    assert error_of(arm.layout, token_offset=1) == "token_offset is the experiment's, 10013: leave it out"


def test_with_ids_of_their_own_all_arms_begin_at_0(folder, tmp_path):
    out = shutil.copytree(folder, tmp_path / "b", ignore=shutil.ignore_patterns(EXPERIMENT))
    ncagen.build_experiment(SETTINGS | {"vocabulary": "own"}, out)
    experiment = ncagen.open_experiment(out)
    assert [(arm.offset, arm.vocabulary) for arm in experiment.arms.values()] == [(0, 10002)] * 3
    assert experiment.experiment_sha256 != ncagen.open_experiment(folder).experiment_sha256


def test_an_arm_that_is_there_already_is_kept(folder, tmp_path):
    """So that an experiment with one arm more costs that arm alone."""
    made: dict[str, int] = {}

    def progress(event):
        match event:
            case DatasetBegun(label, _):
                made[label] = 0
            case RowsMade(rows, _):
                made[list(made)[-1]] += rows

    shutil.copytree(folder / "high", tmp_path / "b" / "high")
    found = ncagen.build_experiment(SETTINGS, tmp_path / "b", progress=progress)
    assert made == {"arm 'digits'": 110, "arm 'high'": 0, "arm 'medium'": 70}
    assert found.document() == (folder / EXPERIMENT).read_bytes()


def test_what_was_stopped_in_the_second_arm_is_resumed(folder, tmp_path):
    class Enough(Exception):
        pass

    def progress(event):
        if event == DatasetBegun("arm 'medium'", experiment_from_settings(SETTINGS).arms[2].spec):
            raise Enough

    out = tmp_path / "b"
    with pytest.raises(Enough):
        ncagen.build_experiment(SETTINGS, out, progress=progress)
    assert {path.name for path in out.iterdir()} == {"digits", "high", EXPERIMENT_BUILDING}
    unfinished = f"{out} is not finished: run the same ncagen build again to complete it"
    assert error_of(ncagen.open_experiment, out) == error_of(ncagen.open, out) == unfinished
    changed = SETTINGS | {"tokens": 80 * 1024}
    assert error_of(ncagen.build_experiment, changed, out) == (
        f"{out} holds another experiment (arm 'digits' tokens: 102400 -> 81920; arm 'high' tokens: 102400 -> 81920):"
        " use another --out or the same file"
    )
    ncagen.build_experiment(SETTINGS, out)
    assert contents(out) == contents(folder)


@pytest.mark.slow
def test_killed_at_any_step_it_is_resumed_by_the_same_command(file, tmp_path):
    command = "build", file, "--out", tmp_path / "a"
    for step, on in (
        ("write", EXPERIMENT_BUILDING),
        ("record", "train-00001"),  # in the first arm
        ("generate", "validation"),  # in the second
        ("write", EXPERIMENT),
    ):
        assert run(*command, env=struck(step, on=on)).status == -9, (step, on)
    done = run(*command)
    assert (done.status, done.err) == (0, "")
    assert run("build", file, "--out", tmp_path / "b").status == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_command_prints_every_arm(file, tmp_path):
    out = tmp_path / "a"
    done = run_here("build", file, "--out", out)
    assert done.status == 0 and done.err == ""
    made, high, medium, total = done.out.splitlines()
    experiment = ncagen.open_experiment(out)
    assert made.startswith("made 138 rows from ")
    assert high == f"{out}/high: 69 rows, ids 0 to 10001, sha256 {experiment.arms['high'].dataset_sha256}"
    assert medium == f"{out}/medium: 69 rows, ids 0 to 10001, sha256 {experiment.arms['medium'].dataset_sha256}"
    assert total.startswith(f"{out}: 2 datasets, 138 rows, 0.2 MB, 10002 ids, sha256 {experiment.experiment_sha256}")
    again = run_here("build", file, "--out", out)
    assert again.out.splitlines()[0] == f"nothing to do: {out} is complete"
    found = json.loads(run_here("build", file, "--out", out, "--json").out)
    assert (found["experiment_sha256"], found["rows"], found["rows_made"]) == (experiment.experiment_sha256, 138, 0)
    assert found["arms"]["high"]["path"] == "high" and found["tests"] == {}


def test_a_terminal_shows_the_arm(file, tmp_path):
    shown = terminal("build", file, "--out", tmp_path / "a", columns=120)
    assert "\rarm 'high': " in shown and "\rarm 'medium': " in shown


def test_plan_sums_up_over_the_arms_and_writes_nothing(file, tmp_path):
    done = run_here("build", file, "--plan", "--workers", 2, "--out", tmp_path / "a")
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "") and not (tmp_path / "a").exists()
    tokens = "60,000 train and 10,000 validation tokens in rows of 1024"
    assert lines[0].startswith(f"arm 'high': {tokens}, kept: high 4")
    assert lines[1].startswith(f"arm 'medium': {tokens}, kept: medium ")
    assert lines[2:4] == ["rows         138 in 2 datasets", "shards       8 (8 files)"]
    found = json.loads(run_here("build", file, "--plan", "--json").out)
    assert found["total"]["rows"] == sum(found["arms"][name]["rows"] for name in ("high", "medium")) == 138


def test_an_arm_out_of_reach_is_one_line_and_nothing_is_written(file, tmp_path):
    file.write_text(TOML + "[arm.low]\nband = '0.9-1.0'\nstates = 3\n")
    low = from_settings({"tokens": "60K", "band": "0.9-1.0", "states": 3})
    for command in (["--out", tmp_path / "a"], ["--plan"]):
        done = run_here("build", file, *command)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err == f"ncagen: arm 'low': {error_of(pilot, low)}\n" and " scored 0.0" in done.err
    assert not (tmp_path / "a").exists()


def test_a_folder_with_something_else_is_refused(folder, smoke):
    assert error_of(ncagen.build_experiment, SETTINGS, smoke()) == (
        f"{smoke()} holds unrelated files (README.md): use another --out"
    )
    assert run_here("build", "--tokens", "60K", "--band", "high", "--out", folder).err == (
        f"ncagen: {folder} holds unrelated files (digits/README.md): use another --out\n"
    )
    other = SETTINGS | {"name": "other", "arm": {**ARMS, "digits": ARMS["high"], "low": {"band": "low"}}}
    del other["arm"]["high"]
    assert error_of(ncagen.build_experiment, other, folder) == (
        f"{folder} holds another experiment (name: three -> other; arm 'high' is left out; arm 'low' is new; arm"
        " 'digits' source: digits -> nca): use another --out or the same file"
    )


def test_verify_checks_every_arm_and_experiment_json(copied):
    sha256 = ncagen.open_experiment(copied).experiment_sha256
    done = run_here("verify", copied, "--regenerate", "all")
    counts = "3 datasets, 11 files, 290 rows, 290 rebuilt"
    assert done == (0, f"ok: {copied}: {counts}, sha256 {sha256}\n", "")
    (copied / "high/data/high/train-00000-of-00003.parquet").write_bytes(b"")
    (copied / "notes.txt").touch()
    shutil.rmtree(copied / "medium")
    done = run_here("verify", copied)
    assert (done.status, done.out) == (1, f"failed: {copied}: 3 problems\n")
    found = json.loads(run_here("verify", copied, "--json").out)
    assert found["problems"] == done.err.splitlines()
    size = done.err.partition(", not ")[2].partition("\n")[0]
    assert done.err.splitlines() == [
        f"high/data/high/train-00000-of-00003.parquet: it has 0 bytes, not {size}",
        f"medium: {copied}/medium holds no dataset: there is no manifest.json in it",
        "notes.txt: does not belong to the experiment",
    ]


def test_an_arm_that_was_replaced_is_found(copied):
    shutil.rmtree(copied / "high")
    make(copied / "high", from_settings({"tokens": "10K", "validation": 0, "band": "high"}))
    done = run_here("verify", copied)
    assert done.err == "high: it is not the dataset that experiment.json names\n"
    assert error_of(ncagen.open_experiment(copied).arms["high"].open) == (
        f"{copied}/high is not the dataset that experiment.json names: run the same ncagen build again"
    )


def test_it_is_made_again_from_experiment_json(folder, tmp_path):
    manifest = ncagen.open_experiment(folder).manifest
    assert ncagen.build_experiment(manifest, tmp_path / "a") == manifest
    assert contents(tmp_path / "a") == contents(folder)
    made = manifest.made | {"high": manifest.made["medium"]}
    line = error_of(ncagen.build_experiment, ExperimentManifest(manifest.spec, made), tmp_path / "b")
    assert line == (
        f"{tmp_path}/b/high is not the dataset that the given experiment.json names, which was altered or comes from"
        " another version of ncagen"
    )
    assert not (tmp_path / "b" / EXPERIMENT).exists()


def test_rebuild_takes_experiment_json(file, tmp_path):
    assert run_here("build", file, "--out", tmp_path / "a").status == 0
    copy = shutil.copy(tmp_path / "a" / EXPERIMENT, tmp_path / "two.json")
    done = run_here("rebuild", copy, "--out", tmp_path / "b")
    assert (done.status, done.err) == (0, "") and contents(tmp_path / "a") == contents(tmp_path / "b")
    Path(copy).write_text(Path(copy).read_text().replace('"tokens": 60000', '"tokens": 61000'))
    assert run_here("rebuild", copy, "--out", tmp_path / "c") == (
        2,
        "",
        f"ncagen: {copy} is damaged: its hash does not match what it says\n",
    )


def test_places_without_an_experiment(smoke, tmp_path, folder):
    assert error_of(ncagen.open_experiment, smoke()) == f"{smoke()} is one dataset, not an experiment: use ncagen.open"
    (tmp_path / "b").mkdir()
    assert error_of(ncagen.open_experiment, tmp_path / "b") == (
        f"{tmp_path}/b holds no experiment: there is no experiment.json in it"
    )
    named = f"ncagen: {folder} is an experiment of digits, high, medium: name one of its datasets, as in {folder}/ARM\n"
    export = ["export", "--to", "nanogpt", "--out", tmp_path / "c"]
    for command in (["show", "--row", 1], ["view"], ["receipt"], ["audit"], export):
        assert run_here(*command, folder) == (2, "", named), command


def test_show_prints_every_dataset(folder):
    sha256 = ncagen.open_experiment(folder).experiment_sha256
    tokens = "102,400 train and 10,240 validation tokens in rows of 1024"
    assert run_here("show", folder).out.splitlines() == [
        f"{folder}: experiment three, 3 datasets, sha256 {sha256}",
        "20015 ids (shared), seed 0",
        f"digits: digits, band all, {tokens}, ids 0 to 10",
        f"high: nca, band high, {tokens}, ids 11 to 10012",
        "medium: nca, band medium, 61,440 train and 10,240 validation tokens in rows of 1024, ids 10013 to 20014",
    ]
    assert json.loads(run_here("show", folder, "--json").out) == json.loads((folder / EXPERIMENT).read_text())


def test_the_code_of_the_page_runs(file, tmp_path):
    page = (ROOT / "docs" / "experiments.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    assert len(blocks) == 2 and run_here("build", file, "--out", tmp_path / "data" / "arms").status == 0
    with chdir(tmp_path):
        exec("\n".join(blocks), {})
