"""docs/faults.md names every test of the matrix, and no test that there is not."""

import ast
import re

from conftest import ROOT

TESTS = ROOT / "tests"


def functions_of(name: str) -> set[str]:
    """The test functions of a file, as file::test."""
    tree = ast.parse((TESTS / name).read_text())
    found = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return {f"{name}::{function}" for function in found if function.startswith("test_")}


def test_the_table_names_every_test_and_no_other():
    rows = re.findall(r"^\|(.+)\|(.+)\|(.+)\|$", (ROOT / "docs/faults.md").read_text(), flags=re.M)
    named = [test for *_, tests in rows for test in re.findall(r"`(\S+::\S+)`", tests)]
    assert len(named) == len(set(named))
    matrix = {path.relative_to(TESTS).as_posix() for path in (TESTS / "faults").glob("test_*.py")}
    there = set().union(*map(functions_of, matrix - {"faults/test_oracle.py", "faults/test_table.py"}))
    elsewhere = {test for test in named if not test.startswith("faults/")}
    assert set(named) - elsewhere == there
    assert elsewhere <= set().union(*(functions_of(test.split("::")[0]) for test in elsewhere))
