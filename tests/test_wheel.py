"""The wheel of a clean clone, installed alone in an empty environment, reads, and builds with its extra at once."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from ncagen import native, processor
from ncagen.cuda.program import FILES

ROOT = Path(__file__).parents[1]


def call(*command: object, **options) -> str:
    """What a command prints; it must succeed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], env=clean, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_of_a_clean_clone_builds_alone(tmp_path):
    if subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("this is no git clone")
    call("git", "clone", "--quiet", ROOT, tmp_path / "clone")
    if native.LIBRARIES.exists():  # so that kernels are compiled only where the clone's are others
        shutil.copytree(native.LIBRARIES, tmp_path / "clone" / "ncagen" / "native" / "library")
    call(sys.executable, "-m", "ncagen.native.compile", cwd=tmp_path / "clone")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, tmp_path / "clone")
    (wheel,) = tmp_path.glob("ncagen-*-py3-none-any.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]

    call(*install, wheel)
    installed = {package["name"] for package in json.loads(call(python, "-m", "pip", "list", "--format=json"))}
    assert installed <= {"ncagen", "numpy", "pyarrow", "pip", "setuptools"}
    done = subprocess.run([python, "-m", "ncagen", "build"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install -e '.[build]'" in done.stderr

    call(*install, f"{wheel}[build]")
    ncagen = tmp_path / "env" / "bin" / "ncagen"
    order = ROOT / "manifests" / "smoke.toml"
    built = json.loads(call(ncagen, "build", order, "--out", "smoke", "--json", cwd=tmp_path))
    receipt = json.loads((ROOT / "manifests" / "smoke.json").read_text())
    assert built["dataset_sha256"] == receipt["dataset_sha256"]
    assert call(ncagen, "verify", "smoke", "--regenerate", "all", cwd=tmp_path).startswith("ok: smoke: 6 files")
    assert len([*(tmp_path / "env").rglob(f"native/library/{processor.level()}.so")]) == 1
    assert not [*(tmp_path / "env").rglob("*.nbi")], "kernels were compiled"
    assert {path.name for path in (tmp_path / "env").rglob("ncagen/cuda/*.h")} == set(FILES), "the CUDA source"
    program = "import ncagen; d = ncagen.open('smoke', band='high'); print(len(d), d[0]['input_ids'][0])"
    assert call(python, "-c", program, cwd=tmp_path) == "489 10000\n"
