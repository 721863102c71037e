"""What becomes of a build on Ray when a later Ray lacks what it never promised: one line, or no difference."""

import re
import subprocess
import sys
import types

import pytest
from conftest import ROOT

from ncagen.errors import NcagenError
from ncagen.factory.ray import private_api

ray = pytest.importorskip("ray")

MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.61.0
    Python: 3.12.1
This process on 10.0.0.1 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""
NOT_A_HEAD = (
    "what listens at head:6379 is not the head of a Ray cluster: use the address that ray start --head printed"
    " (its port is 6379 unless it was given another)"
)


def test_one_file_uses_what_ray_does_not_promise():
    used = re.compile(r"\bray\._|_raylet|psutil|_temp_dir|gcs_server|Version mismatch|uthentication|worker_niceness")
    files = [path for path in (ROOT / "ncagen").rglob("*.py") if used.search(path.read_text(encoding="utf-8"))]
    assert files == [ROOT / "ncagen/factory/ray/private_api.py"]


def test_without_its_search_for_a_cluster(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray._private.services", types.ModuleType("ray._private.services"))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert private_api.find_head() == "head:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(NcagenError) as caught:
        private_api.find_head()
    assert str(caught.value) == (
        f"--ray auto finds no cluster with Ray {ray.__version__} (Ray 2.60.0 is tested): use --ray HOST:PORT"
    )


def test_without_its_client_there_is_no_probe():
    program = "import sys, types; sys.modules['ray._raylet'] = types.ModuleType('ray._raylet')\n" + private_api.PROBE
    done = subprocess.run([sys.executable, "-c", program, "head:6379", "5"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_switch_of_its_messages(monkeypatch):
    monkeypatch.delattr(ray._private, "worker")
    private_api.silence()


def test_without_psutil_no_process_is_killed(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    private_api.kill_local("/tmp/ncagen-ray-none")


@pytest.mark.parametrize(
    ("address", "error", "line"),
    [
        (
            "head:6379",
            MISMATCH,
            "the Ray cluster at head:6379 runs Ray 2.61.0 on Python 3.12.1, and this process Ray 2.60.0 on Python"
            " 3.11.7: use the same versions",
        ),
        (
            "head:6379",
            "Version mismatch: 2.61.0 and 2.60.0",
            "the Ray cluster at head:6379 runs another Ray or Python than this process: use the same versions",
        ),
        (
            "head:6379",
            "RPC error: UNAUTHENTICATED",
            "the Ray cluster at head:6379 asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN",
        ),
        ("head:6379", "words that no Ray says today", NOT_A_HEAD),
        ("head:6379", "", NOT_A_HEAD),
        (
            "local",
            "Unknown keyword argument(s): _temp_dir\nmore",
            "Ray cannot be started: Unknown keyword argument(s): _temp_dir",
        ),
        ("local", "", "Ray cannot be started: no reason is given"),
    ],
)
def test_an_error_of_other_words_is_one_line_too(address, error, line):
    assert private_api.why_not(address, error) == line
