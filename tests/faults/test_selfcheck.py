"""Processes that compute wrong integers: by an entry of a table, a cell, or a gzip length. None of them makes a row."""

import sys

import pytest
from conftest import FLAGS, Run, contents, make, run, spec_of

from faults.processes import struck

WRONG = {
    "table": "its table of gumbel values is another",
    "kernel": "candidates 0 to 3 have other rows than the definition gives them",
    "score": "known tokens have other gzip lengths",
}
LINE = (
    "ncagen: this processor does not compute what ncagen defines: {}; no row was made here: use another machine, or"
    " delete the __pycache__ folders of ncagen and install ncagen[build] anew\n"
)


def faulty(what: str) -> dict:
    """The environment of a process that computes something else."""
    return struck("compute", on=what)


@pytest.mark.parametrize("what", WRONG)
def test_a_build_that_would_compute_other_rows_writes_nothing(what, tmp_path):
    folder = tmp_path / "a"
    assert run("build", *FLAGS, "--out", folder, env=faulty(what)) == Run(2, "", LINE.format(WRONG[what]))
    assert list(tmp_path.iterdir()) == []
    assert run("build", *FLAGS, "--quiet", "--out", folder).status == 0


def test_a_begun_folder_and_a_rebuild_are_left_as_they_are(smoke, tmp_path):
    folder = tmp_path / "a"
    make(folder, spec_of())
    next(folder.glob("data/high/train-00001-*")).unlink()
    before = contents(folder)
    line = LINE.format(WRONG["kernel"])
    assert run("build", *FLAGS, "--out", folder, env=faulty("kernel")) == Run(2, "", line)
    assert run("rebuild", smoke() / "manifest.json", "--out", folder, env=faulty("kernel")) == Run(2, "", line)
    receipt = tmp_path / "r"
    assert run("receipt", smoke(), "--out", receipt).status == 0
    assert run("rebuild", receipt, "--out", folder, env=faulty("kernel")) == Run(2, "", line)
    assert contents(folder) == before


def test_rows_without_files_are_not_yielded(tmp_path):
    program = """
import ncagen
try:
    next(ncagen.generate({"tokens": 102400, "band": "high"}))
except ncagen.NcagenError as error:
    print("ncagen:", error)
"""
    for what, wrong in WRONG.items():
        found = run("-c", program, program=(sys.executable,), env=faulty(what))
        assert found == Run(0, LINE.format(wrong), "")


def test_right_rows_are_not_called_wrong_by_a_verifier_that_is(smoke):
    line = LINE.format(WRONG["kernel"])
    assert run("verify", smoke(), "--regenerate=all", env=faulty("kernel")) == Run(2, "", line)


@pytest.mark.slow
def test_a_worker_of_a_cluster_that_would_compute_other_rows_makes_no_shard(tmp_path):
    """The command's own process is sound; what it starts is not."""
    pytest.importorskip("ray")
    program = """
import os, sys
from ncagen.__main__ import main
import ncagen.factory.ray.connection as connection
from ncagen.commands import build
sys.argv = ["ncagen", *sys.argv[1:]]
import ncagen.sources.nca.selfcheck
os.environ["FAULT"] = '{"step": "compute", "on": "kernel"}'  # for the processes that Ray starts
main()
"""
    env = faulty("kernel")
    env.pop("FAULT")
    arguments = ["build", *FLAGS, "--quiet", "--ray=local", "--workers=1", "--out", tmp_path / "a"]
    found = run("-c", program, *arguments, program=(sys.executable,), env=env)
    assert found.status == 2 and LINE.format(WRONG["kernel"]).removeprefix("ncagen: ") in found.err
    assert found.err.count("\n") == 1
    assert not list((tmp_path / "a").glob("data/*/*"))
