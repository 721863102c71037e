"""Every benchmark says what it measures and what it takes."""

import re
import sys

import pytest
from conftest import ROOT, run

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.fixture(params=BENCHMARKS, ids=lambda path: path.stem)
def benchmark(request):
    """A benchmark's file; the test is skipped where one needs Ray and there is none."""
    if "ncagen.factory.ray" in request.param.read_text("utf-8"):
        pytest.importorskip("ray")
    return request.param


def test_a_benchmark_has_help(benchmark):
    done = run("--help", program=[sys.executable, benchmark])
    assert (done.status, done.err) == (0, "")
    usage, summary = done.out.split("\n\n")[:2]
    assert usage.startswith(f"usage: {benchmark.name} [-h]") and re.fullmatch(r"[A-Z][^.]+\.", summary)


def test_a_wrong_flag_is_one_line(benchmark):
    done = run("--wrong", program=[sys.executable, benchmark])
    assert done.status == 2 and "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith(f"{benchmark.name}: error: ")
