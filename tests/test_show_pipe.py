"""What `ncagen show` prints into a pipe: figures, and grids where they are asked for."""

import re

import pytest
from conftest import run

GRID = re.compile(r"[0-9]{12}( [0-9]{12})*")


def printed(*flags: object) -> tuple[list[str], list[str]]:
    """The lines of grids, and the others."""
    done = run("show", *flags)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    return [line for line in lines if GRID.fullmatch(line)], [line for line in lines if not GRID.fullmatch(line)]


def test_a_pipe_gets_figures_alone(smoke):
    grids, others = printed(smoke())
    assert grids == [] and any(line.startswith("dataset sha256 ") for line in others)
    assert not any(line.startswith("row 0 ") for line in others)


@pytest.mark.parametrize("flags", [("--grids",), ("--row", 0)])
def test_a_pipe_gets_grids_where_they_are_asked_for(smoke, flags):
    grids, others = printed(smoke(), *flags)
    assert sum(len(line.split()) for line in grids) == 27 * 12
    assert any(line.startswith("row 0 (high train): candidate ") for line in others)


def test_json_is_the_same_with_and_without_grids(smoke):
    assert run("show", smoke(), "--json").out == run("show", smoke(), "--json", "--grids").out
