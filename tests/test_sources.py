"""Every source passes the identity tests: the same rows by any workers, format, node, after any end, from a receipt.

And every command takes each of them: push, export, view, verify, audit, show and evaluate. SETTINGS has a row for each
source; a source without one fails here.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from conftest import make, run_here
from hub.site import site
from ray_cluster import ONE_AT_A_TIME

import ncagen
from ncagen.dataset.manifest import read_manifest
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.philox import STREAMS
from ncagen.sources import SOURCES, source_of
from ncagen.spec import BuildSpec

# What makes a few rows of each source in little time, beside what all have: by the source and a word for the case.
SETTINGS: dict[str, dict] = {
    "nca": {"band": ["high", "medium"], "facts": "oracle,lambda,period,changed,states,entropy"},
    "nca normalised": {"band_normalised": ["0.75-0.95", "0.3-0.5"], "states": 3},
    "nca new rule": {"band": ["high"], "control": "new-rule"},
    "nca shuffled": {"band": ["high"], "control": "shuffle-time"},
    "life": {"band_normalised": ["0.3-1.1"], "facts": "lambda,period"},
    "elementary": {"rule": "disjoint", "facts": "entropy"},
    "dyck": {"k": 8, "max_depth": 6, "band": ["0.1-0.3"]},
    "dyck words": {"uniform": True, "length": 16, "k": 3, "max_depth": 8},
    "procedural": {"task": "sort,addition", "symbols": 30, "input_length": 20},
    "text": {},  # and a corpus: `corpus` below
}
COMMON = {"tokens": 50 * 128, "validation": 10 * 128, "test": 9 * 128, "seq_len": 128, "rows_per_shard": 20}
SHARDS = {"train": 3, "validation": 1, "test": 1}
EXPORTS = ("nanogpt", "megatron", "mds", "jsonl", "hf")


CASES = [case for case in SETTINGS if case != "text" or importlib.util.find_spec("tokenizers")]

each = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory):
    """What rows of text are made of: files of Python's library, prepared once."""
    if "text" not in CASES:
        yield
        return
    from textdata import library, write_tokenizer

    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCAGEN_CORPORA", str(folder / "corpora"))
        prepared = ncagen.prepare_corpus(library(40), write_tokenizer(folder / "tokenizer.json"))
        patch.setitem(SETTINGS, "text", {"corpus": prepared.sha256})
        yield


@cache
def spec_of(case: str, **changes: int) -> BuildSpec:
    return from_settings({"source": case.split()[0], **COMMON, **SETTINGS[case], **changes})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """built(case): a finished dataset. Do not change it; copy it."""

    @cache
    def folder(case: str):
        place = tmp_path_factory.mktemp("source") / case.replace(" ", "-")
        make(place, spec_of(case), workers=1)
        return place

    return folder


def test_every_source_has_settings_here():
    assert {case.split()[0] for case in SETTINGS} >= set(SOURCES)


@each
def test_workers_and_formats_change_no_row(case, built, tmp_path):
    manifest = make(tmp_path / "a", spec_of(case), "arrow", workers=2)
    assert manifest.dataset_sha256 == read_manifest(built(case)).dataset_sha256
    assert {r.split: len(manifest.part(r.split, r.band)) for r in manifest.records} == SHARDS


@each
def test_a_row_depends_on_its_candidate_alone(case, built):
    """Not on the batch that it is made in, nor on the rows beside it."""
    source, dataset = source_of(spec_of(case)), ncagen.open(built(case), band=spec_of(case).bands[0].name)
    rows = dataset.rows([47, 3, 21])
    for i, candidate in enumerate(rows["candidate"]):
        alone = source.batch((0, STREAMS["train"]), np.array([candidate])).rows(np.array([0]))
        assert all(np.array_equal(alone[name][0], column[i]) for name, column in rows.items())


@each
def test_a_build_resumes_where_shards_are_missing_or_damaged(case, built, tmp_path):
    copy = shutil.copytree(built(case), tmp_path / "a")
    first, second, *_ = sorted(copy.glob("data/*/train-*"))
    wanted = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(wanted[1][:-9])
    make(copy, spec_of(case), workers=1)
    assert (first.read_bytes(), second.read_bytes()) == wanted
    assert (copy / "manifest.json").read_bytes() == (built(case) / "manifest.json").read_bytes()


@each
def test_a_killed_build_resumes(case, tmp_path):
    flags = {"rows_per_shard": 4, "seed": 1}
    spec, folder = spec_of(case, **flags), tmp_path / "a"
    process = os.fork()
    if not process:
        try:
            make(folder, spec, workers=2)
        finally:
            os._exit(0)
    while len(list(folder.glob("data/*/[!.]*-of-*"))) < 3 and not (folder / "manifest.json").exists():
        time.sleep(0.001)
    os.kill(process, 9)
    os.waitpid(process, 0)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("data/*/[!.]*-of-*")}
    assert 3 <= len(before) < len(spec.bands) * sum(map(spec.shards, SHARDS))
    manifest = make(folder, spec, workers=1)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert manifest.dataset_sha256 == make(tmp_path / "b", spec, workers=1).dataset_sha256
    assert verify(folder, share=1.0).problems == []


@each
def test_no_row_of_a_split_is_in_another(case, built):
    """Each split has a stream of Philox of its own, so its rules are drawn from other bits: see test_nca_source."""
    for band in spec_of(case).bands:
        parts = [ncagen.open(built(case), split, band.name) for split in SHARDS]
        rows = [{row["input_ids"].tobytes() for row in part} for part in parts]
        assert [len(part) for part in parts] == [50, 10, 9] and all(rows)
        assert not any(a & b for a, b in combinations(rows, 2))


@each
def test_a_receipt_makes_it_again(case, built, tmp_path):
    assert run_here("receipt", built(case), "--out", tmp_path / "r.zst").status == 0
    for place in (tmp_path / "r.zst", built(case) / "manifest.json"):
        out = tmp_path / place.stem
        done = run_here("rebuild", place, "--out", out, "--workers", 1)
        assert done.status == 0 and done.out.startswith(f"made {69 * len(spec_of(case).bands)} rows "), done
        assert read_manifest(out) == read_manifest(built(case))


@each
def test_it_is_verified_audited_shown_and_evaluated(case, built, tmp_path):
    folder = shutil.copytree(built(case), tmp_path / "a")
    spec = spec_of(case)
    rows, band = 69 * len(spec.bands), spec.bands[0].name
    done = run_here("verify", folder, "--regenerate", "all")
    assert done.status == 0 and f" {rows} rows, {rows} rebuilt" in done.out, done
    assert run_here("build", "--plan", "--source", case.split()[0], *flags_of(case)).status == 0
    done = run_here("audit", folder, "--rows", "all", "--json")
    checks = json.loads(done.out)["checks"]
    assert {name for name, check in checks.items() if check["verdict"] == "bad"} == set(), checks
    assert checks["leakage"]["verdict"] in ("ok", "look")
    shown = run_here("show", folder, "--row", 7, "--split", "test")
    assert shown.status == 0 and f"row 7 ({band} test): candidate " in shown.out
    assert {part["split"] for part in json.loads(run_here("show", folder, "--json").out)["parts"]} == set(SHARDS)
    done = run_here("evaluate", folder, "--rows", 4, "--rungs", "uniform,unigram,copy", "--band", band)
    assert done.status == 0 and f"{band} train, 4 rows: nats a " in done.out, done
    assert run_here("view", folder, "--save", tmp_path / "page.html").status == 0


def flags_of(case: str) -> list[str]:
    """The settings of a case as flags."""
    settings = COMMON | SETTINGS[case]
    pairs = [(name, value) for name, some in settings.items() for value in (some if isinstance(some, list) else [some])]
    return [f"--{name.replace('_', '-')}{'' if value is True else f'={value}'}" for name, value in pairs]


@each
def test_it_is_exported(case, built, tmp_path):
    spec = spec_of(case)
    for to in EXPORTS:
        done = run_here(
            "export", built(case), "--to", to, "--band", spec.bands[0].name, "--out", tmp_path / to, "--json"
        )
        assert done.status == 0, done
        assert json.loads(done.out)["rows"] == {"train": 50, "validation": 10, "test": 9}
    ids = np.fromfile(tmp_path / "nanogpt/test.bin", np.uint16)
    last = ncagen.open(built(case), "test", spec.bands[0].name)[8]["input_ids"]
    assert np.array_equal(ids[-len(last) :], last)


def test_each_is_pushed_and_opened(built, tmp_path):
    """In one process, since the Hub's library takes a second to import."""
    cases = [(str(built(case)), f"user/{case.replace(' ', '-')}", spec_of(case).bands[0].name) for case in CASES]
    program = f"""
import ncagen
from ncagen import cli
for folder, name, band in {cases!r}:
    assert cli._run(["push", folder, name, "--quiet"]) == 0
    print(name, len(ncagen.open(name, "test", band)))
"""
    with site(tmp_path) as at:
        assert at.python(program).splitlines() == [f"{name} 9" for _, name, _ in cases]
        for _, name, _ in cases:
            repo = at.hub.store.repo("dataset", name)
            card = at.hub.content(repo.at("main").files["README.md"]).decode()
            assert all(f"  - split: {split}\n" in card for split in SHARDS)


@pytest.mark.slow
@ONE_AT_A_TIME
def test_a_local_ray_makes_the_same_rows(built, tmp_path):
    """All sources on one Ray, which takes seconds to start."""
    specs = {case: spec_of(case).to_dict() for case in CASES}
    script = f"""
from ncagen.dataset.folder import Folder
from ncagen.factory import scheduler
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.ray.connection import joined
from ncagen.factory.ray.executor import Cluster, maker
from ncagen.spec import BuildSpec
with joined("local", 2) as address:
    for case, spec in {specs!r}.items():
        job = BuildJob(BuildSpec.from_dict(spec), "parquet", Folder({str(tmp_path)!r} + "/" + case.replace(" ", "-")))
        print(scheduler.build(job, Cluster(maker(job, "cpu"), address, 2, None)).dataset_sha256)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [read_manifest(built(case)).dataset_sha256 for case in CASES]


def test_every_source_has_a_case():
    assert {case.split()[0] for case in SETTINGS} == set(SOURCES)
