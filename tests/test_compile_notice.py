"""The line that kernels are compiled comes when they are, once a process, and not where they are cached."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NCAGEN, ROOT

from ncagen.compile_notice import COMPILING

LINE = COMPILING + "\n"


def said(cache: Path, *command: str) -> str:
    """What a process with its own cache of kernels says on standard error."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "NCAGEN_KERNELS": "compile"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_line_comes_where_numba_compiles_and_not_where_it_finds_its_cache(tmp_path):
    program = "from ncagen.deflate.lengths import gzip_length; print(gzip_length(bytes(40)))"
    assert said(tmp_path, sys.executable, "-c", program) == LINE
    assert said(tmp_path, sys.executable, "-c", program) == ""


def test_another_s_function_says_nothing(tmp_path):
    program = "import numba, ncagen.compile_notice as n; n.watch(); numba.njit(lambda x: x + 1)(1)"
    assert said(tmp_path, sys.executable, "-c", program) == ""


def test_logging_keeps_it_away(tmp_path):
    program = """
import logging
logging.getLogger("ncagen.compile_notice").setLevel(logging.ERROR)
from ncagen.deflate.lengths import gzip_length
gzip_length(bytes(40))
"""
    assert said(tmp_path, sys.executable, "-c", program) == ""


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--quiet", pytest.param("--json", marks=pytest.mark.nightly)])
def test_a_quiet_build_says_nothing(tmp_path, flag):
    order = ["build", "--tokens", "20K", "--validation", "0", "--band", "high", "--out", str(tmp_path / "a")]
    assert said(tmp_path / "cache", *NCAGEN, *order, flag) == ""


@pytest.mark.slow
def test_generate_says_it(tmp_path):
    program = "import ncagen; next(ncagen.generate({'tokens': '20K', 'band': 'high'}))"
    assert said(tmp_path, sys.executable, "-c", program) == LINE
    assert said(tmp_path, sys.executable, "-c", program) == ""
