"""The settings that an export prints fit a model of the dataset's training length, in every format."""

import re

import pytest
from conftest import run

from ncagen.export.formats import FORMATS, plan, settings

LENGTHS = {"megatron": 1024, "olmo": 1024, "hf": 1024, "litdata": 1025, "mds": 1025, "datatrove": 1025, "jsonl": 1025}


@pytest.mark.parametrize("to", FORMATS)
def test_windows_fit_the_training_length_or_a_line_says_how(smoke, tmp_path, to):
    lines = settings(plan(smoke(), "high", to), tmp_path)
    wanted = [f"# for a model of 1024 positions, export with --length {LENGTHS[to]}"] if to in LENGTHS else []
    assert [line for line in lines if "positions, export with" in line] == wanted
    if to in LENGTHS:
        assert wanted[0] not in settings(plan(smoke(), "high", to, LENGTHS[to]), tmp_path)
    else:
        assert {"block_size = 1024", "-t 1024"} & set(lines)


@pytest.mark.parametrize("name", ["nanoGPT", "NANOGPT", "nanogpt"])
def test_a_format_is_known_in_any_case(smoke, tmp_path, name):
    done = run("export", smoke(), "--band", "high", "--to", name, "--out", tmp_path / "a")
    assert (done.status, done.err) == (0, "")
    assert re.search("^block_size = 1024$", done.out, re.MULTILINE)
